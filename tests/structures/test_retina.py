"""The field of view of photographs whose field of view is known."""

from __future__ import annotations

import numpy as np
import pytest

from mmseg.datasets.synthetic import generate_image
from mmseg.structures import retina_mask


def disc(height: int, width: int, y: float, x: float, radius: float) -> np.ndarray:
    rows, columns = np.mgrid[:height, :width]
    return (rows - y) ** 2 + (columns - x) ** 2 <= radius**2


def test_a_disc_with_dark_holes_and_a_bright_speck_outside() -> None:
    field = disc(120, 180, 60, 85, 55)
    holes = disc(120, 180, 40, 60, 9) | disc(120, 180, 80, 100, 4)
    noise = np.random.RandomState(0).randint(0, 8, (120, 180, 3))
    image = noise.astype(np.uint8)
    image[field & ~holes] += np.array([150, 60, 20], np.uint8)
    image[3:6, 3:6] = 255
    found = retina_mask(image)
    assert found.dtype == bool
    assert found.shape == (120, 180)
    assert (found | ~field).all(), "a hole, or a part of the disc, is left out"
    assert (found & ~disc(120, 180, 60, 85, 56)).sum() == 0, "more than the disc, whose outline a polygon rounds by a pixel"


def test_a_synthetic_photograph() -> None:
    image, _ = generate_image(0, "train", 0, (240, 160))
    found = retina_mask(image)
    bright = image[..., 0] > 40
    assert 0.5 < found.mean() < 0.95
    assert (found & bright).sum() > 0.99 * bright.sum(), "lit pixels are left out"
    assert image[~found].mean() < 12, "lit pixels are outside"


@pytest.mark.parametrize(("value", "share"), [(0, 0.0), (200, 1.0)])
def test_all_black_and_all_bright(value: int, share: float) -> None:
    assert retina_mask(np.full((20, 30, 3), value, np.uint8)).mean() == share
