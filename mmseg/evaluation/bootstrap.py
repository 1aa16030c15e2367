"""How far the scores would differ on other images of the same kind."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mmseg.evaluation.average_precision import interpolated_average_precision
from mmseg.evaluation.lesion_scores import SCORES, score_arrays

__all__ = ["COARSE_BINS", "bootstrap_intervals"]

COARSE_BINS = 1024
"""Bins of one image's probabilities: 32 KB an image for four lesions."""

Intervals = dict[str, dict[str, tuple[float, float] | None]]


def bootstrap_intervals(
    results: Sequence[dict], classes: Sequence[str], average_precision: np.ndarray, samples: int = 1000, seed: int = 0,
    quantised: bool = False,
) -> Intervals:
    """95 % percentile intervals of every score and of its mean over the lesions, by drawing images with replacement.

    Every sample pools its images as the scores themselves do; a lesion that is in none of them is left out of its mean. The
    samples' AP comes from :data:`COARSE_BINS` a lesion and image, moved by as much as that of the images themselves differs
    from the exact one.

    Args:
        results: of every image, see :class:`LesionMetric`: ``above``, ``lesion`` and ``coarse``.
        classes: the lesions.
        average_precision: ``(C,)``, the exact one, nan where a lesion does not occur.
        samples: how often images are drawn.
        seed: of the draws.
        quantised: see :func:`~mmseg.evaluation.lesion_scores.score_arrays`.

    Returns:
        by lesion (and ``mean``) and score ``(low, high)``, 0 to 1; None where there is no score.
    """
    images = len(results)
    draws = np.random.RandomState(seed).multinomial(images, np.full(images, 1 / images), samples).astype(np.float64)
    above = np.tensordot(draws, np.stack([r["above"] for r in results]).astype(np.float64), 1)
    lesion = draws @ np.stack([r["lesion"] for r in results])
    scores = score_arrays(above, lesion, quantised)
    scores["AP"] = np.stack([
        _average_precisions(draws, np.stack([r["coarse"][c] for r in results]), average_precision[c])
        for c in range(len(classes))
    ], axis=1)
    intervals: Intervals = {name: {} for name in (*classes, "mean")}
    for score in SCORES:
        for c, name in enumerate(classes):
            intervals[name][score] = _percentiles(scores[score][:, c], not np.isnan(average_precision[c]))
        counted = ~np.isnan(scores[score])
        total = np.where(counted, scores[score], 0).sum(1)
        means = np.divide(total, counted.sum(1), out=np.full(samples, np.nan), where=counted.any(1))
        intervals["mean"][score] = _percentiles(means, bool((~np.isnan(average_precision)).any()))
    return intervals


def _average_precisions(draws: np.ndarray, coarse: np.ndarray, exact: float) -> np.ndarray:
    """Of every draw, for one lesion: ``coarse`` is ``(images, 2, K)``, ascending in probability."""
    coarse = coarse[..., ::-1].astype(np.float64)
    whole = interpolated_average_precision(*coarse.sum(0))
    drawn = [interpolated_average_precision(*np.tensordot(some, coarse, 1).swapaxes(0, 1)) for some in np.array_split(draws, 10)]
    return np.clip(np.concatenate(drawn) + (exact - whole), 0, 1)


def _percentiles(values: np.ndarray, present: bool) -> tuple[float, float] | None:
    values = values[~np.isnan(values)]
    if not present or not len(values):
        return None
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)
