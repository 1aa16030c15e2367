"""The base class of published data sets: a layout and a few facts, declared; what is found is held against them."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.logging import print_log

from mmseg.datasets.layouts import TIDY, Layout, find_records, index_records
from mmseg.datasets.lesion_dataset import LesionDataset
from mmseg.utils.errors import UserError

__all__ = ["MANIFEST", "ReleaseDataset"]

MANIFEST = "conversion.json"
"""Lies in the folder of a conversion from its start, and says of what it is one; ``complete`` when all is there."""


class ReleaseDataset(LesionDataset):
    """A published data set, read as it is unzipped, in the tidy layout, or as label maps.

    ``data_root`` may name the folder :attr:`FOLDER` of the release or one above it, a tidy folder (``images/ masks/``), or a
    folder of label maps (``images/ labels/``). Arguments: see :class:`LesionDataset`.

    Raises:
        UserError: no image with masks or labels in any of these layouts, or only a part of the release.
    """

    NAME: str
    LAYOUTS: tuple[Layout, ...]
    """In which the release is spread; the first that fits is taken."""
    FOLDER: str
    """The folder that the release is unzipped to."""
    ROOT_VARIABLE: str
    """The environment variable by which the shipped configurations find it."""
    RELEASE_COUNTS: Mapping[str, int] = {}
    """Images of each official split; other counts are a warning."""

    def load_data_list(self) -> list[dict[str, Any]]:
        """Records of the split, in the order of their names."""
        root = Path(self.data_root)
        _check_complete(root / MANIFEST)
        records, strays = find_records(root, self.split, TIDY)
        unnamed = strays
        if not records:
            records, strays = self.release_records(root)
        if not records:
            records, strays = index_records(root, self.split), []
        if not records:
            named = f"; {len(unnamed)} masks belong to no image ({unnamed[0]}, ...), expected <image>_MA.png" if unnamed else ""
            raise UserError(
                f"{self.NAME} ({self.split}): no images with masks in {root.absolute()!s} "
                f"({'an existing folder' if root.is_dir() else 'no such folder'}); expected {self.FOLDER!r} of the official "
                f"release or a folder with images/ and masks/; set the environment variable {self.ROOT_VARIABLE} to that folder"
                f"{named}"
            )
        self.compare(len(records), self.RELEASE_COUNTS.get(self.split, len(records)), strays)
        return records

    def release_records(self, root: Path) -> tuple[list[dict[str, Any]], list[Path]]:
        """Records of the split from the official release, and masks without a photograph; both empty where it is not there."""
        found = (find_records(root, self.split, layout) for layout in self.LAYOUTS)
        return next((of_layout for of_layout in found if of_layout[0]), ([], []))

    def compare(self, got: int, expected: int, strays: list[Path]) -> None:
        """Warn of a copy that is not the release: of a number of images, or of masks without one."""
        found = f"{self.NAME} ({self.split}): got {got} images in {self.data_root}, the release has {expected}"
        if strays:
            found += f"; {len(strays)} masks belong to no image ({strays[0]}{', ...' if len(strays) > 1 else ''})"
        if got != expected or strays:
            print_log(found, logger="current", level=logging.WARNING)


def _check_complete(manifest: Path) -> None:
    """Raise a UserError where a conversion was begun and not ended: files may be missing that would be taken for no lesion."""
    try:
        complete = json.loads(manifest.read_text(encoding="utf-8")).get("complete", True)
    except (AttributeError, OSError, ValueError):  # none, or somebody else's
        return
    if complete is False:
        raise UserError(f"{manifest.parent}: its conversion was not completed; run tools/dataset_converters/convert.py again: it "
                        "goes on where it stopped")
