"""Lesions counted one by one: which were found, and how many alarms were false."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

from mmseg.structures import IGNORE

__all__ = ["FROC_THRESHOLDS", "OVERLAP", "OVERLAP_RULE", "region_counts"]

FROC_THRESHOLDS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""Where the free-response curve is measured: ``p > t``, float32."""

OVERLAP = 0.2

OVERLAP_RULE = (
    "regions are 8-connected; a true region is found when more than 20 % of its pixels are predicted, a predicted region is a "
    "false alarm when at most 20 % of its pixels are true (this project's own rule)"
)


def region_counts(probabilities: Tensor, truth: Tensor) -> np.ndarray:
    """Count found lesions and false alarms of one lesion in one image; :data:`OVERLAP_RULE` says which is which.

    Args:
        probabilities: float32 ``(H, W)``, 0 to 1, on any device.
        truth: ``(H, W)`` in {0, 1, 255}; 255 belongs to no region.

    Returns:
        int64 ``(T, 3)`` for the :data:`FROC_THRESHOLDS`: true regions found, all true regions, false alarms.
    """
    levels = torch.zeros(probabilities.shape, dtype=torch.uint8, device=probabilities.device)
    for threshold in FROC_THRESHOLDS:
        levels += probabilities > threshold
    levels[truth == IGNORE] = 0
    level, true = levels.cpu().numpy(), (truth == 1).cpu().numpy().astype(np.uint8)
    steps = len(FROC_THRESHOLDS)
    counts = np.zeros((steps, 3), np.int64)
    counts[:, 0], counts[:, 1] = _found(level, true, steps)
    counts[:, 2] = _false_alarms(level, true, steps)
    return counts


def _found(level: np.ndarray, true: np.ndarray, steps: int) -> tuple[np.ndarray, int]:
    """At each threshold how many true regions are found, and how many there are."""
    box = _box(true)
    if box is None:
        return np.zeros(steps, np.int64), 0
    number, labels = cv2.connectedComponents(true[box], connectivity=8)
    inside = true[box] > 0
    share = np.bincount((labels[inside] - 1) * (steps + 1) + level[box][inside], minlength=(number - 1) * (steps + 1))
    share = share.reshape(number - 1, steps + 1)
    above = share[:, ::-1].cumsum(1)[:, -2::-1]  # column i: pixels above more than i thresholds
    return (above > OVERLAP * share.sum(1, keepdims=True)).sum(0), number - 1


def _false_alarms(level: np.ndarray, true: np.ndarray, steps: int) -> np.ndarray:
    """At each threshold how many predicted regions lie outside the truth."""
    alarms = np.zeros(steps, np.int64)
    box = _box(level)
    if box is None:
        return alarms
    level, true = np.ascontiguousarray(level[box]), np.ascontiguousarray(true[box])
    predicted = np.flatnonzero(level)
    for step in range(int(level.max())):
        predicted = predicted[level.ravel()[predicted] > step]
        number, labels = cv2.connectedComponents((level > step).view(np.uint8), connectivity=8)
        region = labels.ravel()[predicted]
        area = np.bincount(region, minlength=number)[1:]
        overlap = np.bincount(region[true.ravel()[predicted] > 0], minlength=number)[1:]
        alarms[step] = (overlap <= OVERLAP * area).sum()
    return alarms


def _box(mask: np.ndarray) -> tuple[slice, slice] | None:
    """The smallest rectangle around what is not zero."""
    rows = np.flatnonzero(mask.any(1))
    if not len(rows):
        return None
    columns = np.flatnonzero(mask[rows[0] : rows[-1] + 1].any(0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
