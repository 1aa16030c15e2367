"""Lesions one by one: where each is, how large and how probable."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

__all__ = ["Region", "find_regions"]


@dataclass(frozen=True)
class Region:
    """One connected lesion; coordinates in pixels of the photograph, from its upper left.

    Attributes:
        lesion: its class, such as 'MA'.
        box: ``(x, y, width, height)``, the smallest that holds it.
        area: pixels.
        centroid: ``(x, y)``, the mean of its pixels' positions, that of the first pixel being 0.
        mean_probability: over its pixels, 0 to 1.
        peak_probability: the largest of its pixels.
    """

    lesion: str
    box: tuple[int, int, int, int]
    area: int
    centroid: tuple[float, float]
    mean_probability: float
    peak_probability: float


def find_regions(probabilities: np.ndarray, masks: np.ndarray, classes: Sequence[str]) -> dict[str, list[Region]]:
    """Split the mask of each lesion into its 8-connected regions.

    Args:
        probabilities: float32 ``(C, H, W)``, 0 to 1.
        masks: bool ``(C, H, W)``.
        classes: names of the lesions.

    Returns:
        by lesion its regions, the largest first.
    """
    maps = zip(classes, probabilities, masks, strict=True)
    return {name: _of_one(name, probability, mask) for name, probability, mask in maps}


def _of_one(name: str, probability: np.ndarray, mask: np.ndarray) -> list[Region]:
    count, labels, stats, centroids = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    label, value = labels[mask], probability[mask]
    total = np.bincount(label, value, count)
    peak = np.zeros(count, np.float32)
    np.maximum.at(peak, label, value)
    area = stats[:, cv2.CC_STAT_AREA]
    order = 1 + np.argsort(-area[1:], kind="stable")
    return [
        Region(
            lesion=name, box=tuple(stats[i, :4].tolist()), area=int(area[i]), centroid=tuple(centroids[i].tolist()),
            mean_probability=float(total[i] / area[i]), peak_probability=float(peak[i]),
        )
        for i in order
    ]
