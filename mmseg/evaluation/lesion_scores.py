"""From pooled counts to scores, their means, and the table that is printed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from mmseg.evaluation.average_precision import AUPR11_THRESHOLDS, aupr11

__all__ = ["SCORES", "THRESHOLD_INDEX", "Scores", "are_masks", "format_table", "score_arrays", "score_table", "threshold_scores"]

SCORES = ("IoU", "Dice", "sensitivity", "precision", "AP", "AUPR11")
"""Keys of ``metrics.json``."""

THRESHOLD_INDEX = 5
"""Of 0.5 among the eleven thresholds."""

Scores = dict[str, dict[str, float | None]]


def are_masks(above: np.ndarray) -> bool:
    """Whether predictions are masks, of which no p lies between 0 and 0.9.

    Args:
        above: pooled counts ``(lesions, thresholds, 2)`` of p > t at the eleven thresholds; the last are of all pixels.
    """
    predicted = above[..., 1]
    return bool(predicted[:, 0].any()) and np.array_equal(predicted[:, 0], predicted[:, AUPR11_THRESHOLDS.index(0.9)])


def threshold_scores(true_positive: np.ndarray, predicted: np.ndarray, lesion: np.ndarray) -> dict[str, np.ndarray]:
    """Scores at one threshold.

    Args:
        true_positive: pixels predicted that are lesion, of any shape.
        predicted: all pixels predicted.
        lesion: all lesion pixels.

    Returns:
        IoU, Dice, sensitivity and precision of that shape, 0 to 1, nan where there is no lesion. With no pixel predicted the
        precision is 0 (the field's rule).
    """
    tp = np.where(lesion > 0, true_positive, np.nan)
    predicted, lesion = np.maximum(predicted, 0), np.maximum(lesion, 1e-9)
    return dict(
        IoU=tp / (predicted + lesion - np.nan_to_num(tp)), Dice=2 * tp / (predicted + lesion), sensitivity=tp / lesion,
        precision=tp / np.maximum(predicted, 1),
    )


def score_arrays(above: np.ndarray, lesion: np.ndarray, quantised: bool = False) -> dict[str, np.ndarray]:
    """All scores but AP.

    Args:
        above: ``(..., T, 2)``, lesion pixels and all pixels with ``p > t``; the first 11 t are 0, 0.1, ..., 1.
        lesion: ``(...)``, all lesion pixels.
        quantised: the probabilities have 8 bits, which would falsify AUPR11.

    Returns:
        each ``(...)``, 0 to 1; nan where there is no lesion pixel, and AUPR11 of quantised probabilities.
    """
    true_positive, predicted = above[..., :11, 0], above[..., :11, 1]
    area = np.full(lesion.shape, np.nan) if quantised else aupr11(true_positive, predicted, lesion)
    at_half = threshold_scores(true_positive[..., THRESHOLD_INDEX], predicted[..., THRESHOLD_INDEX], lesion)
    return {**at_half, "AUPR11": area}


def score_table(arrays: Mapping[str, np.ndarray], classes: Sequence[str]) -> Scores:
    """Scores by lesion and name, and their mean over the lesions that have them.

    Args:
        arrays: a score's values, one a lesion ``(C,)``, nan where a lesion does not occur.
        classes: the lesions.

    Returns:
        the dictionary of ``metrics.json``: 0 to 1, None for n/a.
    """
    table: Scores = {
        lesion: {name: None if np.isnan(arrays[name][c]) else float(arrays[name][c]) for name in SCORES}
        for c, lesion in enumerate(classes)
    }
    known = {name: [v for lesion in classes if (v := table[lesion][name]) is not None] for name in SCORES}
    table["mean"] = {name: sum(values) / len(values) if values else None for name, values in known.items()}
    return table


def format_table(scores: Scores, interval: Mapping[str, tuple[float, float] | None] | None = None) -> str:
    """The scores as a text table in percent, n/a where a lesion does not occur, which a last line tells.

    Args:
        scores: of :func:`score_table`.
        interval: of the means, by score.
    """
    lines = [f"{'lesion':<8}" + "".join(f"{name:>14}" for name in SCORES)]
    for lesion, values in scores.items():
        if lesion == "mean":
            lines.append("-" * len(lines[0]))
        cells = ["n/a" if (v := values[name]) is None else f"{100 * v:.2f}" for name in SCORES]
        lines.append(f"{lesion:<8}" + "".join(f"{cell:>14}" for cell in cells))
    if interval:
        cells = ["n/a" if (w := interval[name]) is None else f"{100 * w[0]:.1f} to {100 * w[1]:.1f}" for name in SCORES]
        lines.append(f"{'95 %':<8}" + "".join(f"{cell:>14}" for cell in cells))
    absent = [lesion for lesion, values in scores.items() if lesion != "mean" and values["Dice"] is None]
    if absent:
        lines.append(f"n/a: no true pixel of {', '.join(absent)} in this set; left out of the mean")
    return "\n".join(lines)
