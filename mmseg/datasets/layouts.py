"""Where data sets keep their files: one function a layout, each from a folder to a list of records.

A record is ``dict(img_path=str, image_id=str, mask_paths={lesion: path or None})`` or, for label maps,
``dict(img_path=str, image_id=str, label_path=str)``. A lesion without a file does not occur in that image.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmseg.datasets.reading import IMAGE_SUFFIXES
from mmseg.structures import LESIONS
from mmseg.utils.errors import UserError

__all__ = ["find_images", "index_layout", "official_idrid_layout", "tidy_layout"]

_OFFICIAL_SPLITS = {"train": "a. Training Set", "test": "b. Testing Set"}
_OFFICIAL_FOLDERS = {
    "MA": "1. Microaneurysms", "HE": "2. Haemorrhages", "EX": "3. Hard Exudates", "SE": "4. Soft Exudates",
}


def find_images(folder: Path) -> list[Path]:
    """The photographs in a folder, by name; empty where the folder does not exist."""
    if not folder.is_dir():
        return []
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith("."))


def tidy_layout(root: Path, split: str) -> list[dict[str, Any]]:
    """``images/<split>/X.jpg`` with ``masks/<split>/<LESION>/X_<LESION>.png``; empty where there are no masks at all."""
    masks = root / "masks" / split
    if not any((masks / lesion).is_dir() for lesion in LESIONS):
        return []
    return _records(find_images(root / "images" / split), {lesion: masks / lesion for lesion in LESIONS})


def official_idrid_layout(root: Path, split: str) -> list[dict[str, Any]]:
    """IDRiD's "A. Segmentation" as it is unzipped; ``root`` is that folder or its parent."""
    for base in (root, root / "A. Segmentation"):
        truths = base / "2. All Segmentation Groundtruths" / _OFFICIAL_SPLITS[split]
        images = find_images(base / "1. Original Images" / _OFFICIAL_SPLITS[split])
        if images and truths.is_dir():
            return _records(images, {lesion: truths / name for lesion, name in _OFFICIAL_FOLDERS.items()})
    return []


def index_layout(root: Path, split: str) -> list[dict[str, Any]]:
    """``images/<split>/X.jpg`` with label maps ``labels/<split>/X.png``, as users of HRDecoder and M2MRF have them.

    Raises:
        UserError: an image has no label map, though others have.
    """
    labels = {p.stem: p for p in find_images(root / "labels" / split)}
    images = find_images(root / "images" / split) if labels else []
    without = [p.name for p in images if p.stem not in labels]
    if without:
        raise UserError(f"{root / 'labels' / split}: no label map for {len(without)} images ({', '.join(without[:3])}, ...)")
    return [dict(img_path=str(p), image_id=p.stem, label_path=str(labels[p.stem])) for p in images]


def _records(images: list[Path], folders: dict[str, Path]) -> list[dict[str, Any]]:
    """Pair every image with its mask files; suffixes and their case may differ. Empty where no image has any."""
    masks = {lesion: {p.stem: p for p in find_images(folder)} for lesion, folder in folders.items()}
    records: list[dict[str, Any]] = []
    for image in images:
        found = {lesion: files.get(f"{image.stem}_{lesion}") for lesion, files in masks.items()}
        paths = {lesion: str(p) if p else None for lesion, p in found.items()}
        records.append(dict(img_path=str(image), image_id=image.stem, mask_paths=paths))
    return records if any(path for record in records for path in record["mask_paths"].values()) else []
