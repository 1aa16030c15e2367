"""The base class of every data set of lesions: records in, decoded samples out."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import torch
from mmengine.dataset import BaseDataset
from mmengine.structures import PixelData

from mmseg.datasets.layouts import check_names
from mmseg.datasets.reading import check_mask_size, fit_size, read_image, read_index_map, read_mask, resize_mask, to_input
from mmseg.structures import LESIONS, SegDataSample
from mmseg.utils.errors import UserError, nearest

__all__ = ["LesionDataset"]


class LesionDataset(BaseDataset):
    """Photographs with one mask a lesion. A subclass gives :meth:`load_data_list` (records as in ``layouts.py``).

    There is no per-sample pipeline: a sample is the whole photograph, decoded and reduced; augmentation runs on the batch,
    on its device, in the data preprocessor.

    Args:
        data_root: folder of the data set.
        split: one of :attr:`SPLITS`.
        size: box ``(width, height)`` in pixels into which images are scaled, their shape kept; None keeps their size.
        test_mode: give the masks at the photograph's own resolution, as the metrics need them; else at the image's.
        metainfo: overrides of :attr:`METAINFO`; names and colours, not how many, nor in which order.
        indices: keep only these records (a number: the first so many).
        fold: None for the whole split, or which fold of it is left out: every choice can then be made without looking at the
            test images (docs/metrics.md).
        held_out: give the images of the fold instead of all others.
        num_folds: how many folds.
        fold_seed: of the order in which images are dealt out to the folds.

    Raises:
        UserError: no images, or no masks, where they are expected; no such split or fold; names or colours that do not fit.
    """

    METAINFO = dict(
        classes=LESIONS,
        palette=[(255, 64, 64), (64, 160, 255), (255, 220, 0), (0, 230, 150)],
    )
    SPLITS: tuple[str, ...] = ("train", "test")
    LABEL_MAP_CLASSES = ("EX", "HE", "SE", "MA")
    """Lesions of the values 1, 2, 3, 4 of a label map (M2MRF's coding)."""

    def __init__(
        self,
        data_root: str = "",
        split: str = "train",
        size: tuple[int, int] | None = None,
        test_mode: bool = False,
        metainfo: dict | None = None,
        indices: int | list[int] | None = None,
        fold: int | None = None,
        held_out: bool = False,
        num_folds: int = 5,
        fold_seed: int = 0,
    ) -> None:
        if split not in self.SPLITS:
            known = " or ".join(map(repr, self.SPLITS))
            raise UserError(f"{type(self).__name__}: got split={split!r}, expected {known}{nearest(split, self.SPLITS)}")
        if fold is not None and not 0 <= fold < num_folds:
            raise UserError(
                f"{type(self).__name__}: got fold={fold}, expected 0 to {num_folds - 1} (num_folds={num_folds}) or None"
            )
        own = list(self.METAINFO.get("classes", LESIONS))
        classes = (metainfo or {}).get("classes", own)
        if len(classes) != len(LESIONS):
            raise UserError(
                f"{type(self).__name__}: got metainfo.classes={list(classes)}, expected {len(LESIONS)} names, for the masks of "
                f"{', '.join(LESIONS)}; for other classes take a data set of index maps, BaseSegDataset"
            )
        if any(name in own and name != there for name, there in zip(classes, own, strict=False)):
            raise UserError(
                f"{type(self).__name__}: got metainfo.classes={list(classes)}, expected its own names in the order "
                f"{', '.join(map(str, own))}: they name the channels and do not exchange them; leave metainfo.classes out"
            )
        palette = (metainfo or {}).get("palette")
        if palette is not None and (len(palette) != len(LESIONS) or any(isinstance(c, str) or len(c) != 3 for c in palette)):
            raise UserError(f"{type(self).__name__}: got metainfo.palette={list(palette)}, expected {len(LESIONS)} colours "
                            "such as (255, 64, 64)")
        self.split, self.fold, self.held_out, self.num_folds, self.fold_seed = split, fold, held_out, num_folds, fold_seed
        self.size = None if size is None else (int(size[0]), int(size[1]))
        # Serialising is for workers that share a million records; it costs a garbage collection for each data set.
        super().__init__(
            data_root=data_root, metainfo=metainfo, indices=indices, test_mode=test_mode, serialize_data=False
        )

    def filter_data(self) -> list[dict[str, Any]]:
        """The records inside or outside the fold, in their own order; called by mmengine after :meth:`load_data_list`.

        Paths become strings, as which they are told, compared and stored.

        Raises:
            UserError: the fold is empty, or two photographs to be tested on have one name, by which results are told apart.
        """
        records = [_with_strings(record) for record in self.data_list]
        if self.test_mode:
            check_names([record["img_path"] for record in records], type(self).__name__)
        if self.fold is None:
            return records
        if self.num_folds > len(records):
            raise UserError(f"{type(self).__name__}: got num_folds={self.num_folds} for {len(records)} images of split="
                            f"{self.split!r}, expected no more folds than images")
        # RandomState, since its stream is frozen: a fold must be the same images in every version of numpy.
        order = np.random.RandomState(self.fold_seed).permutation(len(records))
        dealt = set(order[self.fold :: self.num_folds].tolist())
        return [record for i, record in enumerate(records) if (i in dealt) == self.held_out]

    def prepare_data(self, idx: int) -> dict[str, Any]:
        """Decode one photograph with its masks.

        Returns:
            ``inputs``: uint8 ``(3, h, w)``, RGB; ``data_samples``: with ``gt_sem_seg`` uint8 ``(4, H, W)`` in {0, 1}, at the
            image's size, or in test mode at the photograph's.

        Raises:
            UserError: a file cannot be read, or image and mask differ in size.
        """
        info = self.get_data_info(idx)
        image = read_image(info["img_path"])
        height, width = image.shape[:2]
        size = fit_size(width, height, self.size)
        masks = self._read_masks(info, (height, width), (width, height) if self.test_mode else size)
        sample = SegDataSample(
            gt_sem_seg=PixelData(data=torch.from_numpy(masks)),
            metainfo=dict(
                img_path=info["img_path"], image_id=info["image_id"], sample_idx=idx,
                ori_shape=(height, width), img_shape=(size[1], size[0]),
            ),
        )
        return dict(inputs=to_input(image, size), data_samples=sample)

    def _read_masks(self, info: dict[str, Any], shape: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
        """uint8 ``(4, h, w)`` in {0, 1} at ``size`` (width, height), from mask files or a label map."""
        masks = np.zeros((len(LESIONS), size[1], size[0]), np.uint8)
        if "label_path" in info:
            labels = read_index_map(info["label_path"])
            check_mask_size(info["label_path"], labels.shape, info["img_path"], shape)
            self.check_label(info["label_path"], int(labels.max(initial=0)))
            for value, lesion in enumerate(self.LABEL_MAP_CLASSES, start=1):
                masks[LESIONS.index(lesion)] = resize_mask((labels == value).astype(np.uint8), size)
            return masks
        for channel, lesion in enumerate(LESIONS):
            path = info["mask_paths"].get(lesion)
            if path is not None:
                mask = read_mask(path)
                check_mask_size(path, mask.shape, info["img_path"], shape)
                masks[channel] = resize_mask(mask, size)
        return masks

    def check_label(self, path: str, largest: int) -> None:
        """Raise a UserError where the largest value of a label map is no lesion's."""
        if largest > len(self.LABEL_MAP_CLASSES):
            known = "0 background, " + ", ".join(f"{i} {name}" for i, name in enumerate(self.LABEL_MAP_CLASSES, start=1))
            raise UserError(f"{path}: got the value {largest}, expected {known}")


def _with_strings(record: dict[str, Any]) -> dict[str, Any]:
    """A record whose paths are strings, or None."""

    def text(path: Any) -> Any:
        return path if path is None else os.fspath(path)

    paths: dict[str, Any] = {key: text(record[key]) for key in ("img_path", "label_path") if key in record}
    if "mask_paths" in record:
        paths["mask_paths"] = {lesion: text(path) for lesion, path in record["mask_paths"].items()}
    return {**record, **paths}
