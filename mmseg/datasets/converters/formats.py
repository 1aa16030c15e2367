"""Where the files of one photograph go in each format, and what a format needs besides."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmseg.structures import LESIONS
from mmseg.utils.errors import UserError

__all__ = ["FORMATS", "Format"]

Outputs = dict[str, str]
"""Paths below the output folder, and what they hold; see :func:`~mmseg.datasets.converters.files.write_output`."""


@dataclass(frozen=True)
class Format:
    """A folder layout.

    Args:
        outputs: the files of one record in one split, in which order they are written: the photograph last, so that none
            stands there without its masks.
        check_folder: raises a UserError where the output folder cannot be named so.
        check_images: raises a UserError where these image files do not fit together.
        extras: JSON files of the whole, by name, from the data set's name and the image names of every split.
    """

    outputs: Callable[[dict[str, Any], str], Outputs]
    check_folder: Callable[[Path], None] = lambda folder: None
    check_images: Callable[[Sequence[Path]], None] = lambda images: None
    extras: Callable[[str, Mapping[str, Sequence[str]]], dict[str, Any]] = lambda name, images: {}


def _tidy(record: dict[str, Any], split: str) -> Outputs:
    """The photograph as it is; a mask where the release has one (from a label map: all)."""
    name, paths = record["image_id"], record.get("mask_paths", dict.fromkeys(LESIONS, "from a label map"))
    masks = {f"masks/{split}/{lesion}/{name}_{lesion}.png": lesion for lesion in LESIONS if paths[lesion]}
    return {**masks, f"images/{split}/{name}{_suffix(record)}": "copy"}


def _mmseg(record: dict[str, Any], split: str) -> Outputs:
    """mmsegmentation's folders, where the validation split is called 'val'."""
    folder = {"valid": "val"}.get(split, split)
    return {
        f"ann_dir/{folder}/{record['image_id']}.png": "index",
        f"img_dir/{folder}/{record['image_id']}{_suffix(record)}": "copy",
    }


def _check_mmseg(images: Sequence[Path]) -> None:
    suffixes = sorted({path.suffix.lower() for path in images})
    if len(suffixes) > 1:
        raise UserError(f"mmsegmentation takes one img_suffix a data set: got {', '.join(suffixes)}, expected images of one kind")


def _nnunet(record: dict[str, Any], split: str) -> Outputs:
    """nnU-Net v2: one lossless format for images and labels; it cuts the validation images from ``imagesTr`` itself."""
    part = "Ts" if split == "test" else "Tr"
    return {f"labels{part}/{record['image_id']}.png": "index", f"images{part}/{record['image_id']}_0000.png": "image"}


def _check_nnunet(folder: Path) -> None:
    if not re.fullmatch(r"Dataset\d{3}_\w+", folder.name):
        raise UserError(f"out: got {folder.name!r}, expected a name that nnU-Net knows, such as nnUNet_raw/Dataset501_IDRiD")


def _nnunet_extras(name: str, images: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    train, valid = list(images["train"]), list(images.get("valid", ()))
    about = dict(
        channel_names={"0": "R", "1": "G", "2": "B"},
        labels={"background": 0, **{lesion: i for i, lesion in enumerate(LESIONS, start=1)}},
        numTraining=len(train) + len(valid),
        file_ending=".png",
        name=name,
        description="Lesions overlap; where they do, the smaller kind is kept: MA, then SE, HE, EX.",
    )
    # A list of one fold: for nnUNet_preprocessed/<this data set>/, where nnU-Net looks for it.
    return {"dataset.json": about, **({"splits_final.json": [dict(train=train, val=valid)]} if valid else {})}


def _suffix(record: dict[str, Any]) -> str:
    return Path(record["img_path"]).suffix.lower()


FORMATS = {
    "tidy": Format(_tidy),
    "mmseg": Format(_mmseg, check_images=_check_mmseg),
    "nnunet": Format(_nnunet, check_folder=_check_nnunet, extras=_nnunet_extras),
}
"""This project's own folders; mmsegmentation's ``img_dir/ann_dir``; nnU-Net's raw data."""
