"""Where in a photograph the retina is."""

from __future__ import annotations

import cv2
import numpy as np

__all__ = ["retina_mask"]


def retina_mask(image: np.ndarray) -> np.ndarray:
    """The field of view: the convex hull of the largest region brighter than the black surround; our own rule.

    Brighter means: the red value exceeds an eighth of the image's 99th percentile of red.

    Args:
        image: uint8 ``(H, W, 3)``, RGB.

    Returns:
        bool ``(H, W)``; all False for a black image.
    """
    red = image[..., 0]
    bright = (red > np.percentile(red, 99) / 8).astype(np.uint8)
    count, regions, stats, _ = cv2.connectedComponentsWithStats(bright)
    field = np.zeros(red.shape, np.uint8)
    if count > 1:
        largest = (regions == 1 + stats[1:, cv2.CC_STAT_AREA].argmax()).astype(np.uint8)
        contours, _ = cv2.findContours(largest, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        cv2.fillConvexPoly(field, cv2.convexHull(contours[0]), 1)
    return field.astype(bool)
