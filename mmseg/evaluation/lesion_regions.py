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
    "regions are 8-connected; a predicted region is a false alarm when at most 20 % of its pixels are true; a true region is "
    "found when more than 20 % of its pixels are predicted by regions that are no false alarms (this project's own rule)"
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
    return _count(levels.cpu().numpy(), (truth == 1).cpu().numpy().astype(np.uint8))


def _count(level: np.ndarray, true: np.ndarray) -> np.ndarray:
    """At each threshold the true regions found, all true regions and the false alarms.

    Args:
        level: uint8 ``(H, W)``, above how many thresholds a pixel is.
        true: uint8 ``(H, W)`` in {0, 1}.
    """
    counts = np.zeros((len(FROC_THRESHOLDS), 3), np.int64)
    x, y, width, height = cv2.boundingRect(level + true)
    if not width:
        return counts
    level, true = (np.ascontiguousarray(of[y : y + height, x : x + width]) for of in (level, true))
    number, labels = cv2.connectedComponents(true, connectivity=8)
    belongs = labels.ravel()
    size = np.bincount(belongs, minlength=number)[1:]
    counts[:, 1] = number - 1
    predicted = np.flatnonzero(level)
    for step in range(int(level.max())):
        predicted = predicted[level.ravel()[predicted] > step]
        regions, labels = cv2.connectedComponents((level > step).view(np.uint8), connectivity=8)
        region, of_truth = labels.ravel()[predicted], belongs[predicted]
        area = np.bincount(region, minlength=regions)[1:]
        overlap = np.bincount(region[of_truth > 0], minlength=regions)[1:]
        alarm = overlap <= OVERLAP * area
        counted = of_truth[(of_truth > 0) & ~alarm[region - 1]]
        counts[step, 0] = (np.bincount(counted, minlength=number)[1:] > OVERLAP * size).sum()
        counts[step, 2] = alarm.sum()
    return counts
