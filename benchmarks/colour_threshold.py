"""How far colour alone goes: for each lesion, the best Dice that one threshold on one channel reaches over a whole split.

The threshold, the channel and the direction are chosen with the masks in hand, so this is an upper bound for any global
threshold, and a floor that a network must beat. It is exact: all 256 thresholds of each of R, G and B, ``>=`` and ``<=``.

Counted is what lies in the field of view (:func:`mmseg.structures.retina_mask`).

    python benchmarks/colour_threshold.py DATA_ROOT [--split test] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run from a checkout without installing it

from mmseg.structures import LESIONS, retina_mask
from mmseg.utils.errors import UserError, exit_on_user_error

__all__ = ["Best", "best_threshold", "count_values", "main", "score_split"]

CHANNELS = "RGB"
_LEVELS = 256


class Best(NamedTuple):
    """The best rule for one lesion: ``channel side threshold``, such as ``G <= 71``, its pooled Dice, and the lesion's share."""

    dice: float
    channel: str
    side: str
    threshold: int
    percent: float


def count_values(image: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Histograms of the three channels where ``where``, bool ``(H, W)``, is set: int64 ``(3, 256)``."""
    return np.stack([np.bincount(image[..., channel][where], minlength=_LEVELS) for channel in range(3)])


def best_threshold(lesion: np.ndarray, everything: np.ndarray) -> Best:
    """The best threshold, by histograms: Dice = 2 TP / (predicted + lesion), where both counts are cumulative sums.

    Args:
        lesion: int64 ``(3, 256)``, counts of values in lesion pixels.
        everything: int64 ``(3, 256)``, counts of values in all pixels of the field of view.

    Returns:
        The best rule; a Dice of nan where there is no lesion pixel.
    """
    total = lesion[0].sum()
    if not total:
        return Best(float("nan"), "-", "-", 0, 0.0)
    up = [counts[:, ::-1].cumsum(1)[:, ::-1] for counts in (lesion, everything)]
    down = [counts.cumsum(1) for counts in (lesion, everything)]
    dice = np.stack([2 * hit / (predicted + total) for hit, predicted in (up, down)])
    side, channel, threshold = (int(i) for i in np.unravel_index(dice.argmax(), dice.shape))
    return Best(float(dice.max()), CHANNELS[channel], (">=", "<=")[side], threshold, float(100 * total / everything[0].sum()))


def score_split(samples: Iterable[tuple[np.ndarray, dict[str, np.ndarray]]]) -> dict[str, Best]:
    """Score a whole split, its pixels pooled.

    Args:
        samples: pairs of an image, uint8 RGB ``(H, W, 3)``, and its bool masks ``(H, W)`` by lesion; a lesion left out is absent.

    Returns:
        The best rule for each lesion, in the project's order.
    """
    everything = np.zeros((3, _LEVELS), np.int64)
    lesions = {name: np.zeros_like(everything) for name in LESIONS}
    for image, masks in samples:
        field = retina_mask(image)
        everything += count_values(image, field)
        for name, mask in masks.items():
            lesions[name] += count_values(image, field & mask)
    return {name: best_threshold(counts, everything) for name, counts in lesions.items()}


def _read(root: Path, split: str) -> Iterable[tuple[np.ndarray, dict[str, np.ndarray]]]:
    """Read the images and masks of a split in IDRiD's tidy layout, one after the other."""
    paths = sorted((root / "images" / split).glob("*.jpg"))
    if not paths:
        raise UserError(
            f"no images in {root / 'images' / split}; expected the tidy layout images/SPLIT/NAME.jpg and "
            "masks/SPLIT/{MA,HE,EX,SE}/NAME_XX.png; make one with tools/make_synthetic_dataset.py"
        )
    for path in paths:
        files = {name: root / "masks" / split / name / f"{path.stem}_{name}.png" for name in LESIONS}
        masks = {name: _load(file, cv2.IMREAD_GRAYSCALE) > 0 for name, file in files.items() if file.exists()}
        yield _load(path, cv2.IMREAD_COLOR_RGB), masks


def _load(path: Path, mode: int) -> np.ndarray:
    """Read one picture; a UserError where it is broken."""
    image = cv2.imread(str(path), mode)
    if image is None:
        raise UserError(f"cannot read the picture {path}: it is broken or no picture; make or unpack the data set anew")
    return image


def main(arguments: list[str] | None = None) -> None:
    """Print the table, and write it as JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data_root", type=Path, help="data set in IDRiD's tidy layout")
    parser.add_argument("--split", default="test", help="folder below images/ and masks/ (default: test)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers to this file too")
    options = parser.parse_args(arguments)
    with exit_on_user_error():
        best = score_split(_read(options.data_root, options.split))
        print(f"Best global threshold on one channel, {options.data_root}, split {options.split} (pooled Dice)")
        print(f"{'lesion':<8}{'dice':>8}  {'rule':<10}{'% of field':>10}")
        for name, rule in best.items():
            print(f"{name:<8}{rule.dice:>8.4f}  {f'{rule.channel} {rule.side} {rule.threshold}':<10}{rule.percent:>10.3f}")
        if options.json:
            options.json.parent.mkdir(parents=True, exist_ok=True)
            options.json.write_text(json.dumps({name: rule._asdict() for name, rule in best.items()}, indent=2) + "\n")
            print(f"wrote {options.json}", file=sys.stderr)


if __name__ == "__main__":
    main()
