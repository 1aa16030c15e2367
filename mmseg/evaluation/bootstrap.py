"""How far the scores would differ on other images of the same kind."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mmseg.evaluation.average_precision import interpolated_average_precision
from mmseg.evaluation.lesion_scores import SCORES, score_arrays

__all__ = ["COARSE_BINS", "bootstrap_intervals", "draw_images", "drawn_scores", "percentiles"]

COARSE_BINS = 1024
"""Bins of one image's probabilities: 32 KB an image for four lesions."""

Intervals = dict[str, dict[str, tuple[float, float] | None]]


def bootstrap_intervals(
    results: Sequence[dict], classes: Sequence[str], average_precision: np.ndarray, samples: int = 1000, seed: int = 0,
    quantised: bool = False,
) -> Intervals:
    """95 % percentile intervals of every score and of its mean over the lesions, by drawing images with replacement.

    Args:
        results: of every image, see :class:`LesionMetric`: ``above``, ``lesion`` and ``coarse``.
        classes: the lesions.
        average_precision: ``(C,)``, the exact one, nan where a lesion does not occur.
        samples: how often images are drawn.
        seed: of the draws.
        quantised: see :func:`~mmseg.evaluation.lesion_scores.score_arrays`.

    Returns:
        by lesion (and ``mean``) and score ``(low, high)``, 0 to 1; None where there is no score, or a lesion occurs in one image
        only, so that nothing can vary.
    """
    kept = {key: np.stack([result[key] for result in results]) for key in ("above", "lesion", "coarse")}
    draws = draw_images(len(results), samples, seed)
    scores = drawn_scores(draws, **kept, average_precision=average_precision, quantised=quantised)
    return {
        name: {score: percentiles(values[:, c]) for score, values in scores.items()} for c, name in enumerate((*classes, "mean"))
    }


def draw_images(images: int, samples: int, seed: int) -> np.ndarray:
    """How often each image is drawn, with replacement: float64 ``(samples, images)``."""
    draws = np.random.RandomState(seed).multinomial(images, np.full(images, 1 / images), samples)
    return draws.astype(np.float64)


def drawn_scores(
    draws: np.ndarray, above: np.ndarray, lesion: np.ndarray, coarse: np.ndarray, average_precision: np.ndarray,
    quantised: bool = False,
) -> dict[str, np.ndarray]:
    """Every score of the images of each draw, and its mean over the lesions.

    Every draw pools its images as the scores themselves do. Its mean is over the same lesions as that of all images: a draw that
    lacks one of them has none. Its AP comes from :data:`COARSE_BINS` a lesion and image, moved by as much as that of the images
    themselves differs from the exact one.

    Args:
        draws: from :func:`draw_images`.
        above: ``(N, C, 12, 2)``, see :class:`LesionMetric`.
        lesion: ``(N, C)``.
        coarse: ``(N, C, 2, K)``.
        average_precision: ``(C,)``, the exact one, nan where a lesion does not occur.
        quantised: see :func:`~mmseg.evaluation.lesion_scores.score_arrays`.

    Returns:
        by score ``(samples, C + 1)``: of the lesions, and their mean; nan where there is none, and for a lesion that occurs in
        one image only.
    """
    scores = score_arrays(np.tensordot(draws, above.astype(np.float64), 1), draws @ lesion, quantised)
    scores["AP"] = np.stack([
        _average_precisions(draws, coarse[:, c], exact) for c, exact in enumerate(average_precision)], axis=1)
    holding = (lesion > 0).sum(0)
    with_means = {}
    for score in SCORES:
        values = np.where(holding > 1, scores[score], np.nan)
        means = values[:, holding > 0].mean(1) if holding.any() else np.full(len(draws), np.nan)
        with_means[score] = np.concatenate([values, means[:, None]], axis=1)
    return with_means


def _average_precisions(draws: np.ndarray, coarse: np.ndarray, exact: float) -> np.ndarray:
    """Of every draw, for one lesion: ``coarse`` is ``(images, 2, K)``, ascending in probability."""
    coarse = coarse[..., ::-1].astype(np.float64)
    whole = interpolated_average_precision(*coarse.sum(0))
    drawn = [interpolated_average_precision(*np.tensordot(some, coarse, 1).swapaxes(0, 1)) for some in np.array_split(draws, 10)]
    return np.clip(np.concatenate(drawn) + (exact - whole), 0, 1)


def percentiles(values: np.ndarray) -> tuple[float, float] | None:
    """Between which 95 % of some values lie; None where none is a number."""
    values = values[~np.isnan(values)]
    if not len(values):
        return None
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)
