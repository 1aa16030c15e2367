"""Where data sets keep their files: a layout is data, from which a folder becomes a list of records.

A record is ``dict(img_path=str, image_id=str, mask_paths={lesion: path or None})`` or, for label maps,
``dict(img_path=str, image_id=str, label_path=str)``. A lesion without a file does not occur in that image.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmseg.datasets.reading import IMAGE_SUFFIXES
from mmseg.structures import LESIONS
from mmseg.utils.errors import UserError

__all__ = ["DDR", "DDR_MIRROR", "FGADR", "IDRID", "TIDY", "Layout", "check_names", "find_images", "find_records", "index_records"]


@dataclass(frozen=True)
class Layout:
    """Where one release keeps its files, as it is unzipped. Paths have '/'; ``{split}`` stands for the split's own name.

    Args:
        images: folder of the photographs.
        masks: folders of each lesion's masks; the first that holds any is taken. A lesion without an entry occurs nowhere.
        mask_stem: name of a mask without its suffix, from ``{image}`` (the photograph's) and ``{lesion}``.
        splits: own names of splits, where they differ.
        depth: how many folders may lie between the folder that a user names and the release.
        whole: every lesion has its folder: where one is missing, so is a part of the release.
        every_mask: every photograph has a mask of every lesion, if need be an empty one.
    """

    images: str
    masks: Mapping[str, tuple[str, ...]]
    mask_stem: str
    splits: Mapping[str, str] = field(default_factory=dict)
    depth: int = 2
    whole: bool = False
    every_mask: bool = False


TIDY = Layout(
    images="images/{split}",
    masks={lesion: (f"masks/{{split}}/{lesion}",) for lesion in LESIONS},
    mask_stem="{image}_{lesion}",
    depth=0,
)
"""``images/<split>/X.jpg`` with ``masks/<split>/<LESION>/X_<LESION>.png``."""

_IDRID_TRUTHS = "2. All Segmentation Groundtruths/{split}"

IDRID = Layout(
    images="1. Original Images/{split}",
    masks={
        "MA": (f"{_IDRID_TRUTHS}/1. Microaneurysms",), "HE": (f"{_IDRID_TRUTHS}/2. Haemorrhages",),
        "EX": (f"{_IDRID_TRUTHS}/3. Hard Exudates",), "SE": (f"{_IDRID_TRUTHS}/4. Soft Exudates",),
    },
    mask_stem="{image}_{lesion}",
    splits={"train": "a. Training Set", "test": "b. Testing Set"},
    whole=True,
)
"""IDRiD's "A. Segmentation"."""

DDR = Layout(
    images="{split}/image",
    masks={lesion: (f"{{split}}/label/{lesion}", f"{{split}}/segmentation label/{lesion}") for lesion in LESIONS},
    mask_stem="{image}",
    whole=True,
    every_mask=True,
)
"""DDR's "lesion_segmentation"; the folder of the validation masks has a name of its own."""

DDR_MIRROR = Layout(
    images="images/{split}",
    masks={lesion: (f"annotations/{{split}}/{lesion}", f"annotations/tet/{lesion}") for lesion in LESIONS},
    mask_stem="{image}",
    splits={"valid": "val"},
    every_mask=True,
)
"""DDR's "lesion_segmentation" as its copy on Hugging Face has it, where the folder of the test masks is misspelt."""

FGADR = Layout(
    images="Original_Images",
    masks={
        "MA": ("Microaneurysms_Masks",), "HE": ("Hemohedge_Masks",), "EX": ("HardExudate_Masks",),
        "SE": ("SoftExudate_Masks", "SoftExudates_Masks"),
    },
    mask_stem="{image}",
    whole=True,
)
"""FGADR's "Seg-set", which has no split; its IRMA and neovascularisation masks are no lesions of this project."""

LABEL_MAPS = (("images/{split}", "labels/{split}"), ("image/{split}", "label/{split}/annotations"))
"""Folders of photographs and of their label maps, as users of HRDecoder and of M2MRF have them; ``val`` is ``valid``."""

_COPIES = ("90", "180", "270", "horizontal", "vertical")
"""Endings of the copies that M2MRF's tools/augment.py writes beside the photographs."""


def find_images(folder: Path) -> list[Path]:
    """The photographs in a folder, by name; empty where the folder does not exist."""
    if not folder.is_dir():
        return []
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith("."))


def check_names(paths: Iterable[str], of: str) -> None:
    """See that photographs to be tested on have different names (without suffix), by which results are told apart.

    Args:
        paths: of the photographs.
        of: whose they are, for the message.

    Raises:
        UserError: two have the same.
    """
    seen: dict[str, str] = {}
    for path in paths:
        other = seen.setdefault(Path(path).stem, path)
        if other != path:
            raise UserError(f"{of}: got {other} and {path}, expected photographs of different names: results are told apart by "
                            "them; rename them, or read links of other names")


def find_records(root: Path, split: str, layout: Layout) -> tuple[list[dict[str, Any]], list[Path]]:
    """Pair every photograph of a split with its masks, by name; suffixes and their case may differ.

    Returns:
        records, empty where ``root`` has no photographs with masks in this layout; and masks that belong to no photograph.

    Raises:
        UserError: two copies of the release below ``root``, two files of one stem, or a part of the release is missing.
    """
    own = layout.splits.get(split, split)
    images_folder = _only_folder(root, own, layout)
    if images_folder is None:
        return [], []
    images = _by_stem(images_folder)
    base = _base(images_folder, layout)
    records: list[dict[str, Any]] = [dict(img_path=str(p), image_id=stem, mask_paths={}) for stem, p in images.items()]
    strays: list[Path] = []
    for lesion in LESIONS:
        masks = _masks(base, own, lesion, layout)
        for record in records:
            path = masks.pop(layout.mask_stem.format(image=record["image_id"], lesion=lesion), None)
            record["mask_paths"][lesion] = None if path is None else str(path)
        strays += masks.values()
    if not any(path for record in records for path in record["mask_paths"].values()):
        return [], strays
    if layout.every_mask:
        _check_every_mask(images_folder, records)
    return records, strays


def index_records(root: Path, split: str) -> list[dict[str, Any]]:
    """Photographs with one label map each, in the first of :data:`LABEL_MAPS` that is there.

    Raises:
        UserError: an image has no label map, though others have; or the folder holds turned and mirrored copies of its images,
            which would stand on both sides of a fold.
    """
    for images_name, labels_name in LABEL_MAPS:
        for own in (split, "val") if split == "valid" else (split,):
            folder, labels = root / images_name.format(split=own), _by_stem(root / labels_name.format(split=own))
            images = _by_stem(folder) if labels else {}
            if images:
                _check_label_maps(folder, images, labels)
                return [dict(img_path=str(p), image_id=stem, label_path=str(labels[stem])) for stem, p in images.items()]
    return []


def _check_label_maps(folder: Path, images: Mapping[str, Path], labels: Mapping[str, Path]) -> None:
    without = [path.name for stem, path in images.items() if stem not in labels]
    if without:
        where = next(iter(labels.values())).parent
        raise UserError(f"{where}: no label map for {len(without)} images ({', '.join(without[:3])}, ...)")
    copies = [stem for stem in images if stem.rpartition("_")[2] in _COPIES and stem.rpartition("_")[0] in images]
    if copies:
        raise UserError(
            f"{folder}: got {len(copies)} turned or mirrored copies of its images ({', '.join(copies[:3])}, ...), expected the "
            "images alone, which the configs here turn and mirror in training (in a translated one set flip_prob and rotation); "
            "make a folder of links to those without " + ", ".join(f"_{ending}" for ending in _COPIES)
        )


def _base(images: Path, layout: Layout) -> Path:
    """The folder of the release, from that of its photographs."""
    return images.parents[layout.images.count("/")]


def _only_folder(root: Path, split: str, layout: Layout) -> Path | None:
    """The folder of a split's photographs, in ``root`` or at most ``layout.depth`` folders further down.

    Of several that which has masks beside it: other parts of a release may name their folders alike.
    """
    name = layout.images.format(split=split)
    for level in range(layout.depth + 1):
        found = sorted(p for p in root.glob("*/" * level + name) if p.is_dir())
        if len(found) > 1:
            found = [p for p in found if _has_masks(_base(p, layout), split, layout)] or found
        if len(found) > 1:
            raise UserError(f"{root}: got {len(found)} folders {name!r} ({found[0]}, {found[1]}), expected one; name its parent")
        if found:
            return found[0]
    return None


def _has_masks(base: Path, split: str, layout: Layout) -> bool:
    return any((base / name.format(split=split)).is_dir() for names in layout.masks.values() for name in names)


def _by_stem(folder: Path) -> dict[str, Path]:
    """The pictures of a folder by their names without suffix, which must tell them apart."""
    files: dict[str, Path] = {}
    for path in find_images(folder):
        if path.stem in files:
            raise UserError(f"{folder}: got both {files[path.stem].name} and {path.name}, expected one; remove the other")
        files[path.stem] = path
    return files


def _masks(base: Path, split: str, lesion: str, layout: Layout) -> dict[str, Path]:
    """The masks of a lesion by stem; none where the layout has no folder for it."""
    folders = [base / name.format(split=split) for name in layout.masks.get(lesion, ())]
    if layout.whole and folders and not any(folder.is_dir() for folder in folders):
        names = " or ".join(repr(name.format(split=split)) for name in layout.masks[lesion])
        raise UserError(f"{base}: got no folder with the masks of {lesion}, expected {names}; copy the whole release")
    return next((masks for folder in folders if (masks := _by_stem(folder))), {})


def _check_every_mask(folder: Path, records: list[dict[str, Any]]) -> None:
    missing = [f"{r['image_id']} {lesion}" for r in records for lesion, path in r["mask_paths"].items() if path is None]
    if missing:
        total = len(LESIONS) * len(records)
        raise UserError(
            f"{folder.parent}: got {total - len(missing)} masks, expected {total}: one of every lesion for each of "
            f"{len(records)} images; missing are {', '.join(missing[:4])}{', ...' if len(missing) > 4 else ''}; "
            "copy them again, or take their images out"
        )
