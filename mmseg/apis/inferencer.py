"""Segment photographs with a trained model."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch
from mmengine.config import Config
from mmengine.utils import ProgressBar
from torch import Tensor

from mmseg.apis.init import init_model
from mmseg.apis.inputs import find_inputs
from mmseg.apis.regions import Region, find_regions
from mmseg.datasets.reading import count_pages, fit_size, read_image, to_input
from mmseg.engine.dataset_info import working_size
from mmseg.models import SegDataPreProcessor
from mmseg.models.segmentors.base import BaseSegmentor
from mmseg.structures import SegDataSample, class_masks, enlarge, enlarged_classes, enlarged_masks
from mmseg.utils.device import exact_convolutions, has_native_bfloat16
from mmseg.utils.errors import UserError
from mmseg.utils.thresholds import with_thresholds

__all__ = ["LesionInferencer", "Segmentation", "inference_model"]

_ENLARGED = 2
"""How many times a photograph is enlarged for the network before it is told."""


@dataclass
class Segmentation:
    """What was found in one photograph.

    Attributes:
        path: of the photograph; None where an array was given.
        image: uint8 ``(H, W, 3)``, RGB, upright.
        working: float32 ``(C, h, w)``, probabilities, 0 to 1, at the size the network saw.
        masks: bool ``(C, H, W)``: each lesion above its threshold, in the order of ``classes``; lesions may overlap.
        index_map: uint8 ``(H, W)``: 0, or 1 + the likeliest lesion above its threshold.
        thresholds: by lesion; empty for a model with ``test_cfg.thresholds=None``, of which ``index_map`` is the likeliest
            class of every pixel, from 0 on, and ``masks`` where that is each class.
        classes: names of the lesions, or of all classes.
        palette: their colours, RGB.
    """

    path: Path | None
    image: np.ndarray
    working: np.ndarray
    masks: np.ndarray
    index_map: np.ndarray
    thresholds: dict[str, float]
    classes: tuple[str, ...]
    palette: list[tuple[int, int, int]]

    @cached_property
    def probabilities(self) -> np.ndarray:
        """float32 ``(C, H, W)``, 0 to 1, at the photograph's size; made when first asked for (195 MB at 4288x2848)."""
        return enlarge(torch.from_numpy(self.working), self.image.shape[:2]).numpy()

    @property
    def regions(self) -> dict[str, list[Region]]:
        """By lesion its 8-connected regions, the largest first; computed anew at each access."""
        return find_regions(self.probabilities, self.masks, self.classes)


class LesionInferencer:
    """Photographs in, lesions out, at the photograph's own resolution.

    It may be called from several threads, and several may share one model: nothing is written to the model.

    Args:
        checkpoint: written by ``tools/train.py``, or a model from :func:`init_model`, which stays on its device.
        config: None takes the one inside the checkpoint.
        device: such as 'cpu' or 'cuda:0'; None takes a GPU where there is one.
        thresholds: one for all lesions or by lesion, 0 to 1; those not named are the model's
            (:meth:`~mmseg.models.BaseSegmentor.lesion_thresholds`).
        dtype: in which the network computes: 'auto' is bfloat16 where the device does that itself (probabilities within about
            0.03, in 0.6 of the time, docs/performance.md), else 'float32', in which ``tools/test.py`` scores.

    Raises:
        UserError: a file is missing or faulty, or a threshold names no lesion.
        ValueError: another ``dtype``, or config or device together with a model.
    """

    def __init__(
        self,
        checkpoint: str | Path | BaseSegmentor,
        config: str | Path | Config | None = None,
        device: str | None = None,
        thresholds: float | dict[str, float] | None = None,
        dtype: str = "auto",
    ) -> None:
        if dtype not in ("auto", "bfloat16", "float32"):
            raise ValueError(f"LesionInferencer: got dtype={dtype!r}, expected 'auto', 'bfloat16' or 'float32'")
        if not isinstance(checkpoint, BaseSegmentor):
            self.model = init_model(config, checkpoint, device)
        elif config is None and device is None:
            self.model = checkpoint
        else:
            raise ValueError("LesionInferencer: got a model with a config or a device, expected them in init_model")
        native = has_native_bfloat16(next(self.model.parameters()).device.type)
        self.dtype = dtype if dtype != "auto" else "bfloat16" if native else "float32"
        self.classes, self.palette = self.model.shown_classes(self.model.dataset_meta)
        own = self.model.lesion_thresholds(self.classes)
        if self.model.is_argmax and thresholds not in (None, {}):
            raise UserError(f"thresholds: got {thresholds}, expected none: in this model every pixel is of its likeliest class "
                            "(test_cfg.thresholds=None); for thresholds set numbers there, which takes channel 0 as background")
        self.thresholds = with_thresholds(own, thresholds)

    @overload
    def __call__(self, images: np.ndarray, batch_size: int = ..., progress: bool = ...) -> Segmentation: ...

    @overload
    def __call__(self, images: str | Path, batch_size: int = ..., progress: bool = ...) -> Any: ...

    @overload
    def __call__(
        self, images: Sequence[str | Path | np.ndarray], batch_size: int = ..., progress: bool = ...
    ) -> Iterator[Segmentation]: ...

    def __call__(self, images: Any, batch_size: int = 1, progress: bool = True) -> Any:
        """Segment photographs.

        Args:
            images: a path, a uint8 ``(H, W, 3)`` RGB array, or several: a list of these, a folder, or a glob.
            batch_size: photographs that go through the network together.
            progress: show a bar with the time left on stderr, where there are several.

        Returns:
            one :class:`Segmentation` for one photograph; for several an iterator of them, in order, which segments a batch
            when its first result is asked for.

        Raises:
            UserError: an input names nothing, is no RGB array, or (when its turn comes) cannot be read.
        """
        if batch_size < 1:
            raise UserError(f"batch_size: got {batch_size}, expected 1 or more")
        inputs, single = gather(images)
        results = self._segment(inputs, batch_size, progress and len(inputs) > 1)
        return next(results) if single else results

    def _segment(self, inputs: list[Path | np.ndarray], batch_size: int, progress: bool) -> Iterator[Segmentation]:
        thresholds = dict(self.thresholds)
        bar = ProgressBar(len(inputs), file=sys.stderr) if progress else None
        for first in range(0, len(inputs), batch_size):
            batch = inputs[first : first + batch_size]
            arrays, unreadable = [], None
            for image in batch:
                try:
                    arrays.append(load_photograph(self.model, image))
                except UserError as error:  # told when those before it are done
                    unreadable = error
                    break
            for image, array, working in zip(batch, arrays, self._network(arrays) if arrays else (), strict=False):
                masks, index_map = self._decide(working, array.shape[:2], thresholds)
                yield Segmentation(
                    path=None if isinstance(image, np.ndarray) else image,
                    image=array, working=working.cpu().numpy(), masks=masks.cpu().numpy(), index_map=index_map.cpu().numpy(),
                    thresholds=thresholds, classes=self.classes, palette=self.palette,
                )
                if bar is not None:
                    bar.update()
            if unreadable is not None:
                raise unreadable
        if bar is not None:
            print(file=sys.stderr)

    def _decide(self, working: Tensor, size: tuple[int, int], thresholds: dict[str, float]) -> tuple[Tensor, Tensor]:
        """Masks bool ``(C, H, W)`` and index map uint8 ``(H, W)``, see :class:`Segmentation`."""
        if not self.model.is_argmax:
            return enlarged_masks(working, size, [thresholds[name] for name in self.classes])
        index = enlarged_classes(working, size)
        return class_masks(index[None], len(self.classes)), index

    def _network(self, arrays: Sequence[np.ndarray]) -> list[Tensor]:
        """Probabilities float32 ``(C, h, w)`` of each photograph at the working size."""
        device = next(self.model.parameters()).device.type
        with torch.autocast(device, torch.bfloat16, enabled=self.dtype == "bfloat16"):
            return [sample.probabilities.data for sample in predict(self.model, arrays, enlarged=False)]


def gather(images: Any) -> tuple[list[Path | np.ndarray], bool]:
    """What a user named, as paths of files and arrays, and whether it is one photograph rather than several.

    Raises:
        UserError: an input names nothing, or is no RGB array.
    """
    if isinstance(images, str | Path):
        return [*find_inputs([str(images)])], Path(images).is_file()
    if isinstance(images, np.ndarray):
        return [_checked(images)], True
    if not isinstance(images, Sequence):
        raise UserError(f"images: got a {type(images).__name__}, expected a path, an array, or a list of these")
    return [one for image in images for one in gather(image)[0]], False


def _checked(image: np.ndarray) -> np.ndarray:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise UserError(f"image: got an array {image.dtype} {image.shape}, expected uint8 (height, width, 3), RGB")
    return image


def _box(model: BaseSegmentor) -> tuple[int, int] | None:
    """As :func:`init_model` set it; of a model that was only given a ``cfg``, as in mmsegmentation, that of this."""
    return model.working_size if hasattr(model, "working_size") else working_size(model.cfg)


def load_photograph(model: BaseSegmentor, image: str | Path | np.ndarray) -> np.ndarray:
    """A photograph that a network can take, uint8 ``(H, W, 3)``, RGB, from a file or as it is.

    Raises:
        UserError: it cannot be read, is no RGB array, or is narrower than 8 pixels at the working size.
    """
    array = _checked(image) if isinstance(image, np.ndarray) else read_image(image)
    if not isinstance(image, np.ndarray) and (pages := count_pages(image)) > 1:
        print(f"note: {image}: has {pages} pages, of which the first is taken", file=sys.stderr)
    height, width = array.shape[:2]
    size = fit_size(width, height, _box(model))
    if min(size) < 8:
        name = "image" if isinstance(image, np.ndarray) else image
        raise UserError(f"{name}: got {width}x{height} pixels, which is {size[0]}x{size[1]} at the working size, expected 8 "
                        "or more a side; is it a photograph?")
    if size[0] > _ENLARGED * width:
        name = "the image" if isinstance(image, np.ndarray) else image
        print(f"note: {name}: has {width}x{height} pixels and is enlarged to {size[0]}x{size[1]}: small lesions are not in it; "
              "take the photograph as the camera wrote it", file=sys.stderr)
    return array


def predict(model: BaseSegmentor, images: Sequence[np.ndarray], enlarged: bool = True) -> list[SegDataSample]:
    """Run a model from :func:`init_model` on uint8 ``(H, W, 3)`` RGB arrays, scaled as its test images are.

    The results have the photographs' size, or without ``enlarged`` that of the scaled ones.
    """
    if isinstance(model.data_preprocessor, SegDataPreProcessor) and len({image.shape for image in images}) > 1:
        return [sample for image in images for sample in predict(model, [image], enlarged)]  # it takes one size at a time
    inputs, samples = [], []
    for image in images:
        height, width = image.shape[:2]
        size = fit_size(width, height, _box(model))
        picture = to_input(image, size)
        inputs.append(picture.flip(0) if getattr(model.data_preprocessor, "takes_bgr", False) else picture)
        shape = (size[1], size[0])
        samples.append(SegDataSample(metainfo=dict(ori_shape=(height, width) if enlarged else shape, img_shape=shape)))
    with torch.inference_mode(), exact_convolutions():
        return model.test_step(dict(inputs=inputs, data_samples=samples))


def inference_model(model: BaseSegmentor, img: Any) -> SegDataSample | list[SegDataSample]:
    """Segment one photograph or several; the name and form of mmsegmentation 1.x.

    Args:
        model: from :func:`init_model`.
        img: a path, a uint8 ``(H, W, 3)`` RGB array, or a sequence of these.

    Returns:
        one :class:`SegDataSample` or a list, with ``probabilities`` and ``pred_sem_seg`` at the photograph's resolution: 200 MB
        for each of 4288x2848. For many call :class:`LesionInferencer`, which gives one after the other.

    Raises:
        UserError: a photograph cannot be read, is too narrow, or is no RGB array.
    """
    several = isinstance(img, (list, tuple))
    given = list(img) if several else [img]
    samples = [sample for one in given for sample in predict(model, [load_photograph(model, one)])]
    return samples if several else samples[0]
