"""The files that a test leaves: the scores, everything about them, and those of each image."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmseg.evaluation.lesion_regions import FROC_THRESHOLDS, OVERLAP_RULE
from mmseg.evaluation.lesion_scores import SCORES, THRESHOLD_INDEX, Scores, score_arrays, threshold_scores
from mmseg.evaluation.score_histogram import ScoreHistogram
from mmseg.utils.whole_files import whole_file
from mmseg.version import __version__

__all__ = ["COUNTS", "write_scores"]

COUNTS = "counts.npz"

_AT_HALF = FROC_THRESHOLDS.index(0.5)
_CURVE_POINTS = 200


def write_scores(
    folder: Path, scores: Scores, intervals: Mapping[str, Any], results: Sequence[dict], pooled: Sequence[ScoreHistogram],
    thresholds: Mapping[str, float], quantised: str | None = None, **about: Any,
) -> None:
    """Write ``metrics.json``, ``details.json``, ``per_image.csv`` and ``counts.npz``, each whole or not at all.

    The last holds what a comparison with another test of these images needs, see :func:`~mmseg.evaluation.compare_tests`.

    Args:
        folder: made where it does not exist.
        scores: the first file.
        intervals: of the bootstrap.
        results: of the images, see :class:`LesionMetric`.
        pooled: counts of all images, one a lesion.
        thresholds: tuned for the model, by lesion; none of them for predictions that come without a model.
        quantised: why AUPR11 has no value.
        **about: what else to write into the second file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    classes = [name for name in scores if name != "mean"]
    details = dict(
        images=len(results),
        threshold="p > 0.5",
        pooling="true and false positives and negatives summed over all images, original resolution",
        images_with_lesion={lesion: int(sum(r["lesion"][c] > 0 for r in results)) for c, lesion in enumerate(classes)},
        absent=[lesion for lesion in classes if scores[lesion]["Dice"] is None],
        null=dict(AUPR11=quantised) if quantised else {},
        intervals_95=intervals,
        tuned=_tuned(results, thresholds) if thresholds else None,
        best_dice={lesion: _best_dice(histogram) for lesion, histogram in zip(classes, pooled, strict=True)},
        regions=_regions(results, classes),
        curves={lesion: _curve(histogram) for lesion, histogram in zip(classes, pooled, strict=True)},
        version=__version__,
        **about,
    )
    _write_json(folder / "metrics.json", scores)
    _write_json(folder / "details.json", details)
    with whole_file(folder / COUNTS) as path, path.open("wb") as archive:
        above, lesion, coarse = (np.stack([result[key] for result in results]) for key in ("above", "lesion", "coarse"))
        precisions = [np.nan if (ap := scores[name]["AP"]) is None else ap for name in classes]
        np.savez_compressed(
            archive, images=np.array([result["image"] for result in results]), classes=np.array(classes), above=above,
            lesion=lesion, coarse=coarse, average_precision=np.array(precisions))
    table = folder / "per_image.csv"
    with whole_file(table) as path, path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        writer = csv.writer(file)
        writer.writerow([
            "image", "lesion", "true_positive", "false_positive", "false_negative", *SCORES,
            "regions", "regions_found", "false_alarms",
        ])
        for result in results:
            writer.writerows(_rows(result, classes, quantised is not None))


def _rows(result: dict, classes: Sequence[str], quantised: bool) -> list[list[Any]]:
    """The lines of one image."""
    above, lesion = result["above"], result["lesion"]
    scores = {**score_arrays(above, lesion, quantised), "AP": np.asarray(result["AP"])}
    rows = []
    for c, name in enumerate(classes):
        hit, predicted = above[c, THRESHOLD_INDEX]
        found, regions, alarms = result["regions"][c, _AT_HALF]
        values = ["" if np.isnan(v := scores[score][c]) else f"{v:.6f}" for score in SCORES]
        rows.append([result["image"], name, hit, predicted - hit, lesion[c] - hit, *values, regions, found, alarms])
    return rows


def _tuned(results: Sequence[dict], thresholds: Mapping[str, float]) -> dict[str, dict[str, float | None]]:
    """Scores at the model's own thresholds, by lesion, and their means."""
    above, lesion = (sum(r[key] for r in results) for key in ("above", "lesion"))
    arrays = threshold_scores(above[:, 11, 0], above[:, 11, 1], lesion)
    tuned: dict[str, dict[str, float | None]] = {
        name: {"threshold": threshold, **{f"{score}_tuned": _number(values[c]) for score, values in arrays.items()}}
        for c, (name, threshold) in enumerate(thresholds.items())
    }
    present = lesion > 0
    tuned["mean"] = {f"{s}_tuned": _number(v[present].mean()) if present.any() else None for s, v in arrays.items()}
    return tuned


def _best_dice(histogram: ScoreHistogram) -> dict[str, float] | None:
    """What the best threshold for these very images would reach."""
    best = histogram.best_dice()
    return best and dict(threshold=best[0], Dice=best[1])


def _regions(results: Sequence[dict], classes: Sequence[str]) -> dict[str, Any]:
    """Free-response curves: sensitivity by lesion, and false alarms an image, at each threshold."""
    counts = sum(r["regions"] for r in results)  # (C, T, 3)
    curves = {
        name: dict(
            regions=int(of_lesion[0, 1]),
            sensitivity=[_number(v) for v in of_lesion[:, 0] / of_lesion[0, 1]] if of_lesion[0, 1] else None,
            false_alarms_per_image=(of_lesion[:, 2] / len(results)).tolist(),
        )
        for name, of_lesion in zip(classes, counts, strict=True)
    }
    return dict(rule=OVERLAP_RULE, thresholds=list(FROC_THRESHOLDS), **curves)


def _curve(histogram: ScoreHistogram) -> dict[str, list[float]] | None:
    """Points of the precision-recall curve, from low to high recall."""
    groups = histogram.descending()
    hits = np.cumsum(groups["lesion"])
    if not len(hits) or not hits[-1]:
        return None
    recall, precision = hits / hits[-1], hits / np.cumsum(groups["lesion"] + groups["other"])
    points = np.unique(np.searchsorted(recall, np.linspace(recall[hits > 0][0], 1, _CURVE_POINTS + 1)))
    return dict(recall=recall[points].round(5).tolist(), precision=precision[points].round(5).tolist())


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _write_json(path: Path, content: Any) -> None:
    with whole_file(path) as unfinished:
        unfinished.write_text(json.dumps(content, indent=2) + "\n")
