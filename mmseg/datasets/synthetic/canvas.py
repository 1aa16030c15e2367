"""Drawing with random numbers: smooth noise, wavering outlines, polygons with soft edges.

Points in the plane are complex numbers ``x + iy`` in pixels, so that turning is multiplying by ``exp(i angle)``.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["Field", "Points", "blur", "fill", "outline", "smooth_noise", "to_pixels", "unit"]

Field = NDArray[np.float32]
"""A scalar map ``(H, W)``, float32."""

Points = NDArray[np.complexfloating]
"""Points ``x + iy`` in pixels."""

_SHIFT = 4
_OUTLINE_POINTS = 36
_SPILL = 0.65  # OpenCV fills a polygon this many pixels beyond its outline, whatever its size


def blur(image: Field, sigma: float) -> Field:
    """Gaussian blur of a map, or of ``(H, W, 3)``, with reflected borders; ``sigma`` in pixels."""
    return cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REFLECT).astype(np.float32, copy=False)


def unit(canvas: NDArray[np.uint8], sigma: float = 0.0) -> Field:
    """Turn a uint8 canvas of 0 to 255 into a map of 0 to 1, blurred by ``sigma`` pixels where that is not 0."""
    field = canvas.astype(np.float32) / np.float32(255)
    return blur(field, sigma) if sigma else field


def smooth_noise(rng: np.random.Generator, shape: tuple[int, int], cell: float) -> Field:
    """Smooth random map of about zero mean and unit variance.

    Args:
        rng: source of randomness.
        shape: ``(H, W)``.
        cell: size of its spots in pixels.

    Returns:
        ``(H, W)`` float32.
    """
    coarse = rng.standard_normal([max(2, round(side / cell) + 2) for side in shape], dtype=np.float32)
    return 1.4 * cv2.resize(coarse, shape[::-1], interpolation=cv2.INTER_CUBIC)


def outline(
    rng: np.random.Generator, centre: complex, radius: float, elongation: float = 1.0, angle: float = 0.0, roughness: float = 0.1
) -> Points:
    """A closed outline that wavers round an ellipse; :func:`fill` gives it the area asked for.

    Args:
        rng: source of randomness.
        centre: where it lies.
        radius: of the disc with the area of the ellipse, in pixels.
        elongation: long axis over short axis.
        angle: of the long axis, in radians.
        roughness: 0 for an ellipse, 0.4 for a ragged blot.

    Returns:
        ``(36,)`` points.
    """
    theta = np.linspace(0, 2 * np.pi, _OUTLINE_POINTS, endpoint=False)
    order = np.arange(2, 7)
    size, phase = rng.normal(0, roughness, order.size) / order, rng.uniform(0, 2 * np.pi, order.size)
    reach = radius * np.maximum(0.3, 1 + 2 * (size[:, None] * np.cos(order[:, None] * theta + phase[:, None])).sum(0))
    stretch, reach = elongation**0.5, np.maximum(0.3, reach - _SPILL)
    return centre + reach * (stretch * np.cos(theta) + 1j * np.sin(theta) / stretch) * np.exp(1j * angle)


def to_pixels(points: Points, zoom: float = 1.0) -> NDArray[np.int32]:
    """Points as OpenCV wants them with ``shift=4``: int32 ``(N, 1, 2)``, in sixteenths of a pixel."""
    xy = np.stack([points.real, points.imag], -1)
    return np.round(xy * zoom * 2**_SHIFT).astype(np.int32)[:, None]


def fill(canvas: NDArray[np.uint8], points: Points, value: int = 255) -> None:
    """Fill an outline on a uint8 canvas ``(H, W)`` in place, its edge anti-aliased."""
    cv2.fillPoly(canvas, [to_pixels(points)], value, lineType=cv2.LINE_AA, shift=_SHIFT)
