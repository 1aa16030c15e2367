"""Data sets of images with one index map each, in folders of mmsegmentation's layout."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmengine.dataset import BaseDataset
from mmengine.structures import PixelData

from mmseg.datasets.reading import check_mask_size, fit_size, read_image, read_index_map, to_input
from mmseg.registry import DATASETS
from mmseg.structures import IGNORE, SegDataSample
from mmseg.utils.errors import UserError, nearest

__all__ = ["BaseSegDataset", "drawn_palette"]


@DATASETS.register_module()
class BaseSegDataset(BaseDataset):
    """Images and index maps of any classes; names, arguments and records as in mmsegmentation 1.x.

    A subclass gives :attr:`METAINFO` (``classes``, ``palette``) and suffixes. For softmax heads
    (``data_preprocessor.target='index'``); lesions that overlap need a :class:`~mmseg.datasets.LesionDataset`.

    Without a ``pipeline`` a sample is the whole image with its map, and what is random happens to the batch, in the data
    preprocessor. A ``pipeline`` runs as in mmengine and must end with the same dictionary.

    Args:
        ann_file: text file with one image name (without suffix) a line; empty takes every image in the folder.
        img_suffix: ending of the images.
        seg_map_suffix: ending of the maps, in the place of ``img_suffix``.
        metainfo: overrides of :attr:`METAINFO`; fewer ``classes`` select and reorder, the others are ignored.
        data_root: folder that ``ann_file`` and ``data_prefix`` lie in.
        data_prefix: folders of images (``img_path``) and maps (``seg_map_path``).
        ignore_index: value of the maps that counts for nothing, beside 255.
        reduce_zero_label: 0 counts for nothing, and every other value is one less.
        backend_args: accepted where it is None: files are read from the disk.
        size: box ``(width, height)`` in pixels into which images are scaled, their shape kept; None keeps their size.
        **kwargs: of :class:`mmengine.dataset.BaseDataset`, such as ``test_mode`` (the map stays at the image's own size).

    Raises:
        UserError: no images, or a class that is not in :attr:`METAINFO`.
    """

    METAINFO: dict = dict()

    def __init__(
        self, ann_file: str = "", img_suffix: str = ".jpg", seg_map_suffix: str = ".png", metainfo: dict | None = None,
        data_root: str | None = None, data_prefix: dict | None = None, ignore_index: int = IGNORE,
        reduce_zero_label: bool = False, backend_args: dict | None = None, size: tuple[int, int] | None = None, **kwargs: Any,
    ) -> None:
        if backend_args is not None:
            raise UserError(f"{type(self).__name__}: got backend_args={backend_args}, expected None: only the disk is read")
        self.backend_args = backend_args  # data sets of 1.x read it
        self.img_suffix, self.seg_map_suffix = img_suffix, seg_map_suffix
        self.ignore_index, self.reduce_zero_label = ignore_index, reduce_zero_label
        self.size = None if size is None else (int(size[0]), int(size[1]))
        self.label_map = self.get_label_map((metainfo or {}).get("classes"))
        super().__init__(
            ann_file, metainfo=metainfo, data_root=data_root or "",
            data_prefix=data_prefix or dict(img_path="", seg_map_path=""), **kwargs)

    @classmethod
    def get_label_map(cls, new_classes: Any = None) -> dict[int, int] | None:
        """From the values in the files to classes, where a user selects or reorders those of :attr:`METAINFO`; else None.

        Raises:
            UserError: a class that is not there.
        """
        old = cls.METAINFO.get("classes")
        if new_classes is None or old is None or list(new_classes) == list(old):
            return None
        unknown = [name for name in new_classes if name not in old]
        if unknown:
            raise UserError(f"{cls.__name__}: metainfo.classes: got {unknown[0]!r}, expected some of {', '.join(old)}"
                            f"{nearest(unknown[0], old)}")
        new = list(new_classes)
        return {value: new.index(name) if name in new else IGNORE for value, name in enumerate(old)}

    def load_data_list(self) -> list[dict[str, Any]]:
        """Records with ``img_path, seg_map_path, label_map, reduce_zero_label, seg_fields``, by path."""
        images = Path(self.data_prefix["img_path"])
        maps = self.data_prefix.get("seg_map_path")
        if self.ann_file and Path(self.ann_file).is_file():
            lines = (line.strip() for line in Path(self.ann_file).read_text().splitlines())
            names = [line + self.img_suffix for line in lines if line]
        elif self.ann_file:
            raise UserError(f"{self.ann_file}: no such list of images (ann_file of {type(self).__name__})")
        else:
            names = sorted(p.relative_to(images).as_posix() for p in images.rglob(f"*{self.img_suffix}"))
        if not names:
            raise UserError(f"{type(self).__name__}: no images named *{self.img_suffix} in {images.absolute()} "
                            f"({'an existing folder' if images.is_dir() else 'no such folder'}); set data_root and data_prefix")
        records = []
        for name in names:
            record: dict[str, Any] = dict(img_path=str(images / name), label_map=self.label_map,
                                          reduce_zero_label=self.reduce_zero_label, seg_fields=[])
            if maps is not None:
                record["seg_map_path"] = str(Path(maps, name.removesuffix(self.img_suffix) + self.seg_map_suffix))
            records.append(record)
        return records

    def prepare_data(self, idx: int) -> Any:
        """Decode one image with its map.

        Returns:
            ``inputs``: uint8 ``(3, h, w)``, RGB; ``data_samples``: with ``gt_sem_seg`` uint8 ``(1, H, W)``, the index map at
            the image's size, or in test mode at its own.

        Raises:
            UserError: a file cannot be read, or image and map differ in size.
        """
        info = self.get_data_info(idx)
        if self.pipeline.transforms:
            return self.pipeline(info)
        image = read_image(info["img_path"])
        height, width = image.shape[:2]
        size = fit_size(width, height, self.size)
        meta = dict(
            img_path=info["img_path"], image_id=Path(info["img_path"]).stem, sample_idx=idx, ori_shape=(height, width),
            img_shape=(size[1], size[0]), reduce_zero_label=info["reduce_zero_label"])
        sample = SegDataSample(metainfo=meta)
        if "seg_map_path" in info:
            labels = self._read_labels(info)
            check_mask_size(info["seg_map_path"], labels.shape, info["img_path"], (height, width))
            if not self.test_mode:
                labels = cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST_EXACT)  # at pixel centres
            sample.gt_sem_seg = PixelData(data=torch.from_numpy(labels)[None])
        return dict(inputs=to_input(image, size), data_samples=sample)

    def _read_labels(self, info: dict[str, Any]) -> np.ndarray:
        """The index map, uint8 ``(H, W)``, with what counts for nothing at 255."""
        table = np.arange(256)
        if info["reduce_zero_label"]:
            table = np.where((table == 0) | (table == IGNORE), IGNORE, table - 1)
        chosen = np.arange(256)
        for value, new in (info["label_map"] or {}).items():
            chosen[value] = new
        table = chosen[table]
        table[self.ignore_index] = IGNORE
        labels = table.astype(np.uint8)[read_index_map(info["seg_map_path"])]
        known, largest = self.metainfo.get("classes"), int(labels.max(initial=0, where=labels != IGNORE))
        if known is not None and largest >= len(known):
            raise UserError(f"{info['seg_map_path']}: got class {largest}, expected 0 to {len(known) - 1}, one for each of "
                            f"{', '.join(known)}; metainfo.classes, reduce_zero_label or ignore_index do not fit the maps")
        return labels

    @classmethod
    def _load_metainfo(cls, metainfo: Any = None) -> dict:
        """mmengine's, and a palette that follows selected classes, or is drawn with a fixed seed where there is none."""
        meta = dict(super()._load_metainfo(metainfo))
        classes, palette = meta.get("classes"), meta.get("palette")
        if classes is None or (metainfo or {}).get("palette") is not None:
            return meta
        if cls.METAINFO.get("palette") is not None and cls.METAINFO.get("classes") is not None:
            colours = dict(zip(cls.METAINFO["classes"], cls.METAINFO["palette"], strict=True))
            palette = [colours[name] for name in classes]
        if palette is None:
            palette = drawn_palette(len(classes))
        return copy.deepcopy({**meta, "palette": palette})


def drawn_palette(classes: int) -> list[list[int]]:
    """Colours for classes that have none, the same each time."""
    return np.random.RandomState(42).randint(0, 255, (classes, 3)).tolist()
