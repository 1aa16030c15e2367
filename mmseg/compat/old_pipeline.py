"""The pipelines of 0.x configurations: what of them belongs to a data set, and what to the batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from mmseg.compat.notes import Notes
from mmseg.utils.errors import UserError

__all__ = ["Pipeline", "read_pipeline"]

_FORMAL = {
    "DefaultFormatBundle": "samples are tensors from the start", "ImageToTensor": "samples are tensors from the start",
    "Collect": "samples carry what is needed", "LoadImageFromFile": "data sets read their images",
}


@dataclass
class Pipeline:
    """What a pipeline says.

    Attributes:
        size: box ``(width, height)`` into which images are scaled, None where it says nothing.
        affine: arguments of :class:`~mmseg.compat.BatchLegacyAffine`; empty in testing.
        distortion: arguments of :class:`~mmseg.compat.BatchLegacyDistortion`, or None.
        mean: of R, G, B.
        std: of R, G, B.
        reduce_zero_label: of the data set.
        flips: mirror images to average over in testing.
        others: steps that are passed on, because only the registry can say whether they exist.
    """

    size: tuple[int, int] | None = None
    affine: dict[str, Any] = field(default_factory=dict)
    distortion: dict[str, Any] | None = None
    mean: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    std: list[float] = field(default_factory=lambda: [1.0, 1.0, 1.0])
    reduce_zero_label: bool = False
    flips: list[str] = field(default_factory=list)
    others: list[dict[str, Any]] = field(default_factory=list)

    def of_the_batch(self) -> dict[str, Any]:
        """What is the same for all data sets that are mixed in a batch."""
        return dict(mean=self.mean, std=self.std, flips=self.flips, transforms=self.transforms())

    def transforms(self) -> list[dict[str, Any]]:
        """``train_transforms`` of the data preprocessor."""
        affine = dict(self.affine)
        if "crop_size" not in affine and self.size is not None:
            affine["crop_size"] = self.size[::-1]
        steps = [dict(type="BatchLegacyAffine", **affine)] if "crop_size" in affine else []
        if self.distortion is not None:
            steps.append(dict(type="BatchLegacyDistortion", **self.distortion))
        return steps + self.others


def read_pipeline(steps: Sequence[dict[str, Any]], where: str, notes: Notes) -> Pipeline:
    """Understand a pipeline, for training or testing.

    Raises:
        UserError: a step asks for what is not possible here.
    """
    found = Pipeline()
    for i, step in enumerate(steps):
        arguments = {key: value for key, value in step.items() if key != "type"}
        place = f"{where}.{i}:{step['type']}"
        if step["type"] in _FORMAL:
            notes.dropped(f"{where}.{step['type']}", _FORMAL[step["type"]])
        elif step["type"] in _READERS:
            _READERS[step["type"]](found, arguments, place, notes)
            for key in arguments:
                notes.dropped(f"{place}.{key}", "no counterpart")
        else:
            found.others.append(dict(step))
            notes.became(place, "data_preprocessor.train_transforms, as it is")
    return found


def _annotations(found: Pipeline, step: dict[str, Any], where: str, notes: Notes) -> None:
    found.reduce_zero_label = step.pop("reduce_zero_label", False)
    notes.became(where, "the data set" + (".reduce_zero_label" if found.reduce_zero_label else ""))


def _resize(found: Pipeline, step: dict[str, Any], where: str, notes: Notes) -> None:
    scale, ratio = step.pop("img_scale", None), step.pop("ratio_range", None)
    if step.pop("keep_ratio", True) is False:
        raise UserError(f"{where}.keep_ratio: got False, expected True: images keep their shape here")
    if isinstance(scale, list):
        if len(scale) != 1:
            raise UserError(f"{where}.img_scale: got {len(scale)} sizes, expected one, with a ratio_range")
        scale = scale[0]
    step.pop("multiscale_mode", None)
    if scale is not None:
        found.size = (int(scale[0]), int(scale[1]))
        notes.became(f"{where}.img_scale", "size of the data set (a box of width and height)")
    if ratio is not None:
        found.affine["scale"] = (float(ratio[0]), float(ratio[1]))
        notes.became(f"{where}.ratio_range", "BatchLegacyAffine.scale")


def _crop(found: Pipeline, step: dict[str, Any], where: str, notes: Notes) -> None:
    size = step.pop("crop_size")
    found.affine["crop_size"] = (size, size) if isinstance(size, int) else tuple(size)
    if (most := step.pop("cat_max_ratio", 1.0)) != 1:
        found.affine["cat_max_ratio"] = most
    notes.became(where, "BatchLegacyAffine.crop_size, cat_max_ratio")


def _flip(found: Pipeline, step: dict[str, Any], where: str, notes: Notes) -> None:
    probability = step.pop("flip_ratio", step.pop("prob", None))
    direction = step.pop("direction", "horizontal")
    if probability is not None:
        found.affine["flip_prob"] = float(probability)
        if direction != "horizontal":
            found.affine["flip_direction"] = direction
        notes.became(where, "BatchLegacyAffine.flip_prob, flip_direction")
    else:
        notes.dropped(where, "without a probability it does nothing")


def _rotate(found: Pipeline, step: dict[str, Any], where: str, notes: Notes) -> None:
    degree = step.pop("degree")
    found.affine["rotation"] = (-float(degree), float(degree)) if isinstance(degree, int | float) else tuple(degree)
    found.affine["rotation_prob"] = float(step.pop("prob"))
    if step.pop("auto_bound", False):
        raise UserError(f"{where}.auto_bound: got True, expected False: the crop keeps its size here")
    for key in [key for key in ("pad_val", "seg_pad_val", "center") if key in step]:
        del step[key]
        notes.dropped(f"{where}.{key}", "corners show the photograph; outside it images are black and counted in no loss")
    notes.became(where, "BatchLegacyAffine.rotation, rotation_prob")


def _distort(found: Pipeline, step: dict[str, Any], where: str, notes: Notes) -> None:
    known = ("brightness_delta", "contrast_range", "saturation_range", "hue_delta")
    found.distortion = {key: step.pop(key) for key in known if key in step}
    notes.became(where, "BatchLegacyDistortion")


def _normalise(found: Pipeline, step: dict[str, Any], where: str, notes: Notes) -> None:
    if not step.pop("to_rgb", True):
        raise UserError(f"{where}.to_rgb: got False, expected True: images are RGB here; turn mean, std and the first "
                        "convolution's weights about for a network of BGR")
    found.mean, found.std = list(step.pop("mean")), list(step.pop("std"))
    notes.became(where, "data_preprocessor.mean, std")


def _pad(found: Pipeline, step: dict[str, Any], where: str, notes: Notes) -> None:
    size = step.pop("size", None)
    if size is not None:
        found.affine.setdefault("crop_size", (size, size) if isinstance(size, int) else tuple(size))
    for key in ("pad_val", "seg_pad_val", "size_divisor"):
        step.pop(key, None)
    notes.dropped(where, "crops have their size; outside the photograph images are black and count in no loss (255)")


def _test_time(found: Pipeline, step: dict[str, Any], where: str, notes: Notes) -> None:
    scale = step.pop("img_scale", None)
    inner = read_pipeline(step.pop("transforms", ()), where, notes)
    found.mean, found.std, found.size = inner.mean, inner.std, inner.size
    found.others += inner.others
    if scale is not None:
        scales = dict(img_scale=scale)
        _resize(found, scales, where, notes)
    if step.pop("flip", False):
        direction = step.pop("flip_direction", "horizontal")
        found.flips = [direction] if isinstance(direction, str) else list(direction)
        notes.became(f"{where}.flip", "model.test_cfg.flips")
    step.pop("flip_direction", None)
    if step.get("img_ratios") in (None, 1.0, [1.0], (1.0,)):
        step.pop("img_ratios", None)
    else:
        notes.dropped(f"{where}.img_ratios", f"{step.pop('img_ratios')}: images are tested at one scale")


_READERS: dict[str, Callable[[Pipeline, dict[str, Any], str, Notes], None]] = {
    "LoadAnnotations": _annotations, "Resize": _resize, "RandomCrop": _crop, "RandomFlip": _flip, "RandomRotate": _rotate,
    "PhotoMetricDistortion": _distort, "Normalize": _normalise, "Pad": _pad, "MultiScaleFlipAug": _test_time,
}
