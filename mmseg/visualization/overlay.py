"""Lesions drawn onto the photograph they were found in."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

__all__ = ["draw_overlay"]


def draw_overlay(
    image: np.ndarray,
    masks: np.ndarray,
    classes: Sequence[str],
    palette: Sequence[Sequence[int]],
    opacity: float = 0.25,
    thresholds: Sequence[float] | None = None,
) -> np.ndarray:
    """Tint each lesion in its colour, draw its contour, and add a legend below the photograph.

    Lesions with fewer pixels are drawn later, so that microaneurysms stay visible. Contours have a black edge outside: against
    the orange of a retina, red alone is hard to see for one man in twenty.

    Args:
        image: uint8 ``(H, W, 3)``, RGB.
        masks: ``(C, H, W)``, non-zero where a lesion is; lesions may overlap.
        classes: C names.
        palette: C colours, RGB.
        opacity: of the tint, 0 to 1; the contours are opaque.
        thresholds: C probabilities above which a pixel is a lesion, for the legend; None leaves them out.

    Returns:
        uint8 ``(H + legend, W, 3)``, RGB.
    """
    canvas = image.copy()
    thickness = max(1, round(image.shape[1] / 1400))
    small_last = sorted(zip(masks, palette, strict=True), key=lambda pair: -np.count_nonzero(pair[0]))
    edges = []
    for mask, colour in small_last:
        inside = mask > 0
        if not inside.any():
            continue
        tint = canvas[inside] * (1 - opacity) + np.asarray(colour) * opacity
        canvas[inside] = tint.astype(np.uint8)
        filled = inside.astype(np.uint8)
        contours, _ = cv2.findContours(filled, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        edges.append((filled, contours, tuple(int(v) for v in colour)))
    for inside, _, _ in edges:
        around = cv2.dilate(inside, np.ones((2 * thickness + 1, 2 * thickness + 1), np.uint8))
        canvas[around > inside] = 0
    for _, contours, rgb in edges:
        cv2.drawContours(canvas, contours, -1, rgb, thickness)
    found = [int(cv2.connectedComponents((m > 0).astype(np.uint8))[0]) - 1 for m in masks]
    names = classes if thresholds is None else [f"{c} (p > {t:.2g})" for c, t in zip(classes, thresholds, strict=True)]
    return np.concatenate([canvas, _legend(image.shape[1], classes, names, palette, found)])


def _legend(
    width: int, classes: Sequence[str], names: Sequence[str], palette: Sequence[Sequence[int]], found: Sequence[int]
) -> np.ndarray:
    """A strip with one coloured square, name and number of regions a lesion; narrow pictures have the class alone."""
    height = max(20, width // 32)
    strip = np.full((height, width, 3), 24, np.uint8)
    step, scale = width // len(classes), height / 44
    for i, (name, short, colour, count) in enumerate(zip(names, classes, palette, found, strict=True)):
        left, middle = i * step + height // 3, height // 2
        box = height // 4
        cv2.rectangle(strip, (left, middle - box), (left + 2 * box, middle + box), tuple(int(v) for v in colour), -1)
        font, weight = cv2.FONT_HERSHEY_SIMPLEX, max(1, round(1.6 * scale))
        text = f"{name}: {count} region{'' if count == 1 else 's'}"
        fitting = (step - 4 * box - height // 3) / cv2.getTextSize(text, font, scale, weight)[0][0]
        if fitting < 0.6:  # a narrow picture
            text = f"{short} {count}"
            fitting = (step - 4 * box - height // 3) / cv2.getTextSize(text, font, scale, weight)[0][0]
        size = scale * max(0.3, min(1, fitting))
        where = (left + 3 * box, middle + round(10 * size))
        cv2.putText(strip, text, where, font, size, (235, 235, 235), weight, cv2.LINE_AA)
    return strip
