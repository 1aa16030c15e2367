"""Small copies of the published data sets as they are unzipped, with every trap of their files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from mmseg.structures import LESIONS

SHAPE = (40, 60)
COUNTS = {"train": 3, "test": 2}
LABEL_OF = {"EX": 1, "HE": 2, "SE": 3, "MA": 4}
"""M2MRF's coding of label maps."""


def picture(split: str, number: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """A photograph and its masks, which do not overlap; the second of each split has no SE, the first of test no HE."""
    random = np.random.RandomState(100 * (split == "test") + number)
    which = random.randint(0, 9, SHAPE)
    masks = {lesion: (which == c + 1).astype(np.uint8) for c, lesion in enumerate(LESIONS)}
    if number == 1:
        del masks["SE"]
    if split == "test" and number == 0:
        del masks["HE"]
    return random.randint(0, 256, (*SHAPE, 3)).astype(np.uint8), masks


def name(split: str, number: int) -> str:
    return f"IDRiD_{number + 1 + 54 * (split == 'test'):02d}"


def write(array: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def every() -> list[tuple[str, int]]:
    return [(split, number) for split, count in COUNTS.items() for number in range(count)]


def write_idrid(root: Path) -> None:
    """As "A. Segmentation" is unzipped: palette TIFFs, and one RGBA with alpha 255 everywhere (IDRiD_81_EX.tif)."""
    splits = {"train": "a. Training Set", "test": "b. Testing Set"}
    kinds = {
        "MA": "1. Microaneurysms", "HE": "2. Haemorrhages", "EX": "3. Hard Exudates", "SE": "4. Soft Exudates",
        "OD": "5. Optic Disc",
    }
    for split, number in every():
        image, masks = picture(split, number)
        write(image, root / "1. Original Images" / splits[split] / f"{name(split, number)}.jpg")
        truths = root / "2. All Segmentation Groundtruths" / splits[split]
        for lesion, mask in {**masks, "OD": np.ones(SHAPE, np.uint8)}.items():
            path = truths / kinds[lesion] / f"{name(split, number)}_{lesion}.tif"
            if (split, number, lesion) == ("test", 1, "EX"):
                write(np.dstack([mask * np.uint8(255), mask * 0, mask * 0, np.full_like(mask, 255)]), path)
                continue
            coded = Image.frombytes("P", SHAPE[::-1], mask.tobytes())
            coded.putpalette([0, 0, 0, 255, 0, 0] + [0] * 762)
            path.parent.mkdir(parents=True, exist_ok=True)
            coded.save(path)
    (root / "1. Original Images" / "a. Training Set" / "Thumbs.db").write_bytes(b"what Windows leaves")


def write_tidy(root: Path) -> None:
    for split, number in every():
        image, masks = picture(split, number)
        write(image, root / "images" / split / f"{name(split, number)}.jpg")
        for lesion, mask in masks.items():
            write(mask * np.uint8(255), root / "masks" / split / lesion / f"{name(split, number)}_{lesion}.png")


def write_label_maps(root: Path, images: str = "images/{split}", labels: str = "labels/{split}") -> None:
    for split, number in every():
        image, masks = picture(split, number)
        write(image, root / images.format(split=split) / f"{name(split, number)}.jpg")
        values = sum((LABEL_OF[lesion] * mask for lesion, mask in masks.items()), np.zeros(SHAPE, np.uint8))
        write(values, root / labels.format(split=split) / f"{name(split, number)}.png")


# DDR and FGADR


@dataclass(frozen=True)
class Picture:
    """A photograph of a made-up release: RGB, and a mask in {0, 1} a lesion."""

    name: str
    split: str
    image: np.ndarray
    masks: dict[str, np.ndarray]

    @property
    def truth(self) -> np.ndarray:
        """uint8 ``(4, H, W)``."""
        return np.stack([self.masks[lesion] for lesion in LESIONS])


def ddr_pictures() -> list[Picture]:
    """Of several sizes; the second of each split has no soft exudate."""
    counts, shapes = dict(train=3, valid=2, test=2), [(40, 60), (50, 50), (48, 72)]
    return [
        _draw(f"007-{number:04d}-{100 * code}", split, shapes[number % 3], 1000 + 10 * code + number, without_exudate=number == 1)
        for code, (split, count) in enumerate(counts.items()) for number in range(count)
    ]


def write_ddr(root: Path) -> list[Picture]:
    """As "lesion_segmentation" is unzipped: "segmentation label" in the validation split alone, four masks for every image,
    empty ones included, and one image and one mask with suffixes in capitals."""
    pictures = ddr_pictures()
    for i, made in enumerate(pictures):
        write(made.image, root / made.split / "image" / f"{made.name}.{'JPG' if i == 0 else 'jpg'}")
        truths = root / made.split / ("segmentation label" if made.split == "valid" else "label")
        for lesion, mask in made.masks.items():
            write(mask * np.uint8(255), truths / lesion / f"{made.name}.{'TIF' if (i, lesion) == (1, 'HE') else 'tif'}")
    (root / "train/image/Thumbs.db").write_bytes(b"what Windows leaves")
    return pictures


def write_ddr_mirror(root: Path) -> list[Picture]:
    """As DDR's copy on Hugging Face has it: the test masks are in "tet"."""
    pictures = ddr_pictures()
    for made in pictures:
        write(made.image, root / "images" / {"valid": "val"}.get(made.split, made.split) / f"{made.name}.jpg")
        for lesion, mask in made.masks.items():
            folder = {"valid": "val", "test": "tet"}.get(made.split, made.split)
            write(mask * np.uint8(255), root / "annotations" / folder / lesion / f"{made.name}.tif")
    return pictures


def fgadr_pictures(count: int = 20) -> list[Picture]:
    return [_draw(f"{number:04d}_{1 + number % 3}", "", (48, 48), 2000 + number) for number in range(count)]


def write_fgadr(root: Path, count: int = 20) -> list[Picture]:
    """As "Seg-set" is unzipped: no split, two lesions that are none here, a table, and masks with soft edges: 128 and more
    is inside."""
    folders = {"MA": "Microaneurysms", "HE": "Hemohedge", "EX": "HardExudate", "SE": "SoftExudate"}
    pictures = fgadr_pictures(count)
    for made in pictures:
        random = np.random.RandomState(int(made.name[:4]))
        write(made.image, root / "Original_Images" / f"{made.name}.png")
        for lesion, mask in made.masks.items():
            soft = np.where(mask == 1, random.randint(128, 256, mask.shape), random.randint(0, 128, mask.shape))
            write(soft.astype(np.uint8), root / f"{folders[lesion]}_Masks" / f"{made.name}.png")
        for other in ("IRMA", "Neovascularization"):
            write(np.full((48, 48), 255, np.uint8), root / f"{other}_Masks" / f"{made.name}.png")
    (root / "DR_Seg_Grading_Label.csv").write_text("".join(f"{made.name}.png,3\n" for made in pictures))
    return pictures


def _draw(name: str, split: str, shape: tuple[int, int], seed: int, without_exudate: bool = False) -> Picture:
    """Noise, with overlapping lesions."""
    random = np.random.RandomState(seed)
    masks = {lesion: (random.rand(*shape) < 0.1).astype(np.uint8) for lesion in LESIONS}
    if without_exudate:
        masks["SE"][:] = 0
    return Picture(name, split, random.randint(0, 256, (*shape, 3)).astype(np.uint8), masks)
