"""How much higher one of two tests of the same images scores, and how much that depends on the images."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from mmseg.evaluation.bootstrap import draw_images, drawn_scores, percentiles
from mmseg.evaluation.lesion_scores import SCORES, are_masks
from mmseg.evaluation.result_files import COUNTS
from mmseg.utils.errors import UserError

__all__ = ["compare_tests"]

_ARRAYS = ("images", "classes", "average_precision", "above", "lesion", "coarse")
_MOST_BYTES = 16 * 2**30

Comparison = dict[str, dict[str, dict[str, Any] | None]]


def compare_tests(first: str | Path, second: str | Path, samples: int = 2000, seed: int = 0) -> Comparison:
    """How much higher the second of two tests scores, with a paired bootstrap over their images (our own choice of method).

    Images are drawn with replacement, the same for both, so that how hard they are cancels out: the interval of the difference
    is narrower than those of the scores, which may overlap though it lies clearly on one side of 0. It says how much other images
    would change the difference, not how much another training would.

    Args:
        first: folder that a test wrote, ``tools/test.py --out``.
        second: of another one, on the same images.
        samples: how often images are drawn, at least 1.
        seed: of the draws, 0 to 2**32 - 1.

    Returns:
        by score and lesion (and ``mean``): ``first``, ``second``, ``difference``, ``interval`` (95 %, low and high), and
        ``better``, the share of draws in which the second is higher, a draw that ties being half a one; 0 to 1. None where there
        is no score, and for AP and AUPR11 where only one of the tests is of masks or of 8 bits; the last two are None where a
        lesion occurs in one image only.

    Raises:
        UserError: a folder lacks a file, the two are not of the same images and truth, or a number is out of its range.
    """
    for name, value, least, most in (("samples", samples, 1, 10**6), ("seed", seed, 0, 2**32 - 1)):
        if not least <= value <= most:
            raise UserError(f"compare_tests: {name}: got {value}, expected {least} to {most}")
    tests = [_read(folder) for folder in (first, second)]
    _check_same(tests, (first, second))
    draws = draw_images(len(tests[0]["images"]), samples, seed)
    drawn = [
        drawn_scores(draws, test["above"], test["lesion"], test["coarse"], test["average_precision"], test["quantised"])
        for test in tests
    ]
    names = [*tests[0]["classes"].tolist(), "mean"]
    result: Comparison = {score: {} for score in SCORES}
    for score in SCORES:
        for c, name in enumerate(names):
            one, other = (test["scores"][name][score] for test in tests)
            differences = drawn[1][score][:, c] - drawn[0][score][:, c]
            known = differences[~np.isnan(differences)]
            unlike = score in ("AP", "AUPR11") and any(tests[0][key] != tests[1][key] for key in ("masks", "quantised"))
            result[score][name] = None if one is None or other is None or unlike else dict(
                first=one, second=other, difference=other - one, interval=percentiles(differences),
                better=float(np.mean((known > 0) + 0.5 * (known == 0))) if len(known) else None)
    return result


def _read(folder: str | Path) -> dict[str, Any]:
    """Arrays of ``counts.npz``, images in the order of their names, and ``scores``, ``quantised``, ``masks``."""
    path = Path(folder, COUNTS)
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(member.file_size for member in archive.infolist()) > _MOST_BYTES:
                raise ValueError(f"it would take more than {_MOST_BYTES / 2**30:.0f} GiB")
        with np.load(path, allow_pickle=False) as file:
            found: dict[str, Any] = {key: file[key] for key in _ARRAYS}
        found["scores"] = json.loads(Path(folder, "metrics.json").read_text())
        order = np.argsort(found["images"])
        found |= {key: found[key][order] for key in ("images", "above", "lesion", "coarse")}
        found["masks"] = are_masks(found["above"].sum(0))
        found["quantised"] = found["scores"]["mean"]["AUPR11"] is None
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: cannot be read ({error}); expected a folder that tools/test.py of this version wrote by "
                        "LesionMetric: test again") from error
    return found


def _check_same(tests: list[dict[str, Any]], folders: tuple[str | Path, str | Path]) -> None:
    for key, what in (("classes", "lesions"), ("images", "images"), ("lesion", "masks")):
        one, other = (test[key] for test in tests)
        if one.shape != other.shape or not (one == other).all():
            raise UserError(f"{folders[0]} and {folders[1]}: got tests of different {what}, expected the same images with the "
                            "same truth: only then does it cancel out how hard they are")
