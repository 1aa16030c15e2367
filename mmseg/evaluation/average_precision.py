"""Curves and averages from counts ordered by probability."""

from __future__ import annotations

import numpy as np

__all__ = ["AUPR11_THRESHOLDS", "aupr11", "average_precision_interval", "interpolated_average_precision"]

AUPR11_THRESHOLDS = tuple(i / 10 for i in range(11))


def average_precision_interval(
    lesion: np.ndarray, other: np.ndarray, group: np.ndarray, resolved: np.ndarray
) -> tuple[float, float]:
    """Between which values average precision lies, where some pixels are known only by the bin of their probability.

    Average precision is the mean, over lesion pixels, of the precision among all pixels at least as probable (equal
    probabilities count together), as scikit-learn's ``average_precision_score``.

    Args:
        lesion: int64 ``(K,)``, lesion pixels of each entry, from the most probable entry downwards.
        other: int64 ``(K,)``, other pixels.
        group: ``(K,)``, the bin of each entry; entries of one bin follow each other, an unresolved one comes last.
        resolved: bool ``(K,)``: all pixels of the entry have one probability; else they lie anywhere in the bin. At most one
            entry of a bin is unresolved.

    Returns:
        lower and upper bound, 0 to 1; equal where everything is resolved.
    """
    lesion, other = lesion.astype(np.float64), other.astype(np.float64)
    doubt_lesion, doubt_other = np.where(resolved, 0.0, lesion), np.where(resolved, 0.0, other)
    first = np.flatnonzero(np.concatenate([[True], group[1:] != group[:-1]]))
    place = np.repeat(np.arange(len(first)), np.diff(np.append(first, len(group))))
    n, f = np.add.reduceat(doubt_lesion, first)[place], np.add.reduceat(doubt_other, first)[place]
    # Pixels surely at least as probable: all of the bins above, and the resolved ones of this bin down to the entry.
    t, s = np.cumsum(lesion) - doubt_lesion, np.cumsum(lesion + other) - doubt_lesion - doubt_other
    with np.errstate(invalid="ignore", divide="ignore"):
        low, high = t / (s + f), (t + n) / (s + n)
        # An unresolved lesion pixel may stand before, between or behind the resolved values of its bin.
        t_before = t[first] - np.where(resolved, lesion, 0)[first]
        s_before = s[first] - np.where(resolved, lesion + other, 0)[first]
        n_bin, f_bin = n[first], f[first]
        least = np.minimum(np.minimum.reduceat((t + 1) / (s + 1 + f), first), (t_before + 1) / (s_before + 1 + f_bin))
        most = np.maximum(np.maximum.reduceat(high, first), (t_before + n_bin) / (s_before + n_bin))
        # With nothing resolved beside them, the i-th of n has at least (t + i) / (t + i + f'): a sum above its integral.
        beside = s_before + f_bin - t_before
        integral = 1 - np.where(beside > 0, beside * np.log1p(n_bin / (s_before + f_bin)), 0) / n_bin
    alone = np.diff(np.append(first, len(group))) == 1
    least = np.where(alone, np.fmax(least, integral), least)
    low, high = np.where(resolved, low, least[place]), np.where(resolved, high, most[place])
    weight, total = lesion > 0, lesion.sum()
    return float((lesion * low)[weight].sum() / total), float((lesion * high)[weight].sum() / total)


def interpolated_average_precision(lesion: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Average precision from coarse counts, lesion and other pixels of a bin taken as evenly mixed.

    With T lesion pixels among S pixels above a bin of n among m, it adds the integral of (T + n x) / (S + m x), n dx, for x
    from 0 to 1. The error is not bounded.

    Args:
        lesion: ``(..., K)``, lesion pixels of each bin, from the most probable downwards.
        other: ``(..., K)``, other pixels.

    Returns:
        ``(...)``, 0 to 1; nan without lesion pixels.
    """
    n, m = lesion.astype(np.float64), (lesion + other).astype(np.float64)
    t, s = np.cumsum(n, -1) - n, np.cumsum(m, -1) - m
    with np.errstate(invalid="ignore", divide="ignore"):
        share = n / m
        inside = share + np.where(s > 0, (t - share * s) * np.log1p(m / s) / m, 0)
        return np.where(m > 0, n * inside, 0).sum(-1) / n.sum(-1)


def aupr11(true_positive: np.ndarray, predicted: np.ndarray, lesion: np.ndarray) -> np.ndarray:
    """The field's area under the precision-recall curve (M2MRF, HRDecoder): 11 thresholds, trapezoids.

    Precision is 1 where nothing is predicted. It rewards silence; docs/metrics.md shows how much.

    Args:
        true_positive: ``(..., 11)``, lesion pixels with ``p > t`` for t of :data:`AUPR11_THRESHOLDS`.
        predicted: ``(..., 11)``, all pixels with ``p > t``.
        lesion: ``(...)``, all lesion pixels.

    Returns:
        ``(...)``, 0 to 1; nan without lesion pixels.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = np.where(predicted > 0, true_positive / np.maximum(predicted, 1), 1.0)
        recall = true_positive / np.asarray(lesion)[..., None]
    return ((recall[..., :-1] - recall[..., 1:]) * (precision[..., :-1] + precision[..., 1:]) / 2).sum(-1)
