"""Segment photographs with a trained model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config

from mmseg.apis.init import init_model
from mmseg.datasets.reading import fit_size, read_image, to_input
from mmseg.models.segmentors.base import BaseSegmentor
from mmseg.structures import SegDataSample
from mmseg.utils.errors import UserError, nearest

__all__ = ["LesionInferencer", "Segmentation", "inference_model"]


@dataclass
class Segmentation:
    """What was found in one photograph.

    Attributes:
        path: of the photograph; None where an array was given.
        image: uint8 ``(H, W, 3)``, RGB, upright.
        probabilities: float32 ``(C, H, W)``, 0 to 1, lesions in the order of ``classes``.
        index_map: uint8 ``(H, W)``: 0, or 1 + the likeliest lesion above its threshold.
        thresholds: by lesion.
        classes: names of the lesions.
        palette: their colours, RGB.
    """

    path: Path | None
    image: np.ndarray
    probabilities: np.ndarray
    index_map: np.ndarray
    thresholds: dict[str, float]
    classes: tuple[str, ...]
    palette: list[tuple[int, int, int]]

    @property
    def masks(self) -> np.ndarray:
        """bool ``(C, H, W)``: each lesion above its threshold; lesions may overlap."""
        limits = np.array([self.thresholds[name] for name in self.classes], np.float32)
        return self.probabilities > limits[:, None, None]


class LesionInferencer:
    """Photographs in, lesions out, at the photograph's own resolution.

    Args:
        checkpoint: written by ``tools/train.py``.
        config: None takes the one inside the checkpoint.
        device: such as 'cpu' or 'cuda:0'; None takes a GPU where there is one.
        thresholds: by lesion, 0 to 1; those not named are the checkpoint's (0.5 if it has none).

    Raises:
        UserError: a file is missing or faulty, or a threshold names no lesion.
    """

    def __init__(
        self,
        checkpoint: str | Path,
        config: str | Path | Config | None = None,
        device: str | None = None,
        thresholds: dict[str, float] | None = None,
    ) -> None:
        self.model = init_model(config, checkpoint, device)
        self.classes: tuple[str, ...] = tuple(self.model.dataset_meta["classes"])
        self.palette = [tuple(colour) for colour in self.model.dataset_meta["palette"]]
        self.thresholds = dict.fromkeys(self.classes, 0.5) | self.model.checkpoint_meta.get("thresholds", {})
        for name, value in (thresholds or {}).items():
            if name not in self.classes:
                known = ", ".join(self.classes)
                raise UserError(f"--threshold: got {name!r}, expected one of {known}{nearest(name, self.classes)}")
            if not 0 <= value <= 1:
                raise UserError(f"--threshold: got {name}={value}, expected a probability from 0 to 1")
            self.thresholds[name] = float(value)
        self.model.test_cfg["thresholds"] = [self.thresholds[name] for name in self.classes]

    def __call__(self, images: Sequence[str | Path | np.ndarray]) -> Iterator[Segmentation]:
        """Segment a batch of photographs.

        Args:
            images: paths, or uint8 ``(H, W, 3)`` RGB arrays. They go through the network together.

        Yields:
            one :class:`Segmentation` a photograph, in order.

        Raises:
            UserError: a file cannot be read.
        """
        arrays = [image if isinstance(image, np.ndarray) else read_image(image) for image in images]
        samples = predict(self.model, arrays)
        for image, array, sample in zip(images, arrays, samples, strict=True):
            yield Segmentation(
                path=None if isinstance(image, np.ndarray) else Path(image),
                image=array,
                probabilities=sample.probabilities.data.cpu().numpy(),
                index_map=sample.pred_sem_seg.data[0].cpu().numpy(),
                thresholds=self.thresholds, classes=self.classes, palette=self.palette,
            )


def predict(model: BaseSegmentor, images: Sequence[np.ndarray]) -> list[SegDataSample]:
    """Run a model from :func:`init_model` on uint8 ``(H, W, 3)`` RGB arrays, scaled as its test images are."""
    box = _working_size(model.cfg)
    inputs, samples = [], []
    for image in images:
        height, width = image.shape[:2]
        size = fit_size(width, height, box)
        inputs.append(to_input(image, size))
        samples.append(SegDataSample(metainfo=dict(ori_shape=(height, width), img_shape=(size[1], size[0]))))
    with torch.inference_mode():
        return model.test_step(dict(inputs=inputs, data_samples=samples))


def inference_model(model: BaseSegmentor, img: Any) -> SegDataSample | list[SegDataSample]:
    """Segment one photograph or several; the name and form of mmsegmentation 1.x.

    Args:
        model: from :func:`init_model`.
        img: a path, a uint8 ``(H, W, 3)`` RGB array, or a sequence of these.

    Returns:
        one :class:`SegDataSample` or a list, with ``probabilities`` and ``pred_sem_seg`` at the photograph's resolution.
    """
    several = isinstance(img, (list, tuple))
    images = [i if isinstance(i, np.ndarray) else read_image(i) for i in (img if several else [img])]
    samples = predict(model, images)
    return samples if several else samples[0]


def _working_size(config: Config) -> tuple[int, int] | None:
    """The box into which the configuration scales its test images."""
    size = config.get("test_dataloader", {}).get("dataset", {}).get("size")
    return tuple(size) if size is not None else None
