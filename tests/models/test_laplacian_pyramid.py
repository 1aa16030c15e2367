"""The Laplacian pyramid against a loop over pixels in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mmseg.models import LaplacianPyramid

WEIGHTS = np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1]) / 256


def blur(x: np.ndarray) -> np.ndarray:
    padded = np.pad(x, 2, mode="reflect")
    out = np.zeros_like(x)
    for row in range(x.shape[0]):
        for column in range(x.shape[1]):
            out[row, column] = (padded[row:row + 5, column:column + 5] * WEIGHTS).sum()
    return out


def band_and_rest(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    smaller = blur(x)[::2, ::2]
    spread = np.zeros((2 * smaller.shape[0], 2 * smaller.shape[1]))
    spread[::2, ::2] = smaller
    enlarged = 4 * blur(spread)
    # Nearest: output pixel i shows input pixel floor(i * input size / output size).
    rows = [i * enlarged.shape[0] // x.shape[0] for i in range(x.shape[0])]
    columns = [i * enlarged.shape[1] // x.shape[1] for i in range(x.shape[1])]
    return x - enlarged[np.ix_(rows, columns)], smaller


@pytest.mark.parametrize("size", [(16, 20), (13, 18), (9, 11)])
def test_bands_match_a_loop_in_float64(size: tuple[int, int]) -> None:
    image = np.random.RandomState(0).standard_normal((2, 3, *size))
    bands = LaplacianPyramid()(torch.from_numpy(image))
    for sample, channel in np.ndindex(2, 3):
        level = image[sample, channel]
        for band in bands:
            expected, level = band_and_rest(level)
            np.testing.assert_allclose(band[sample, channel].numpy(), expected, atol=1e-5)


def test_sizes_of_three_bands() -> None:
    bands = LaplacianPyramid(1)(torch.zeros(1, 1, 97, 131), num_bands=3)
    assert [tuple(band.shape[2:]) for band in bands] == [(97, 131), (49, 66), (25, 33)]


def test_a_constant_image_has_no_detail() -> None:
    for band in LaplacianPyramid()(torch.full((1, 3, 32, 48), 7.0)):
        assert band.abs().max() < 1e-5


def test_shallow_input_is_both_bands_and_their_sum() -> None:
    pyramid = LaplacianPyramid()
    image = torch.randn(1, 3, 31, 40)
    fine, coarse = pyramid(image)
    coarse = torch.nn.functional.interpolate(coarse, size=(31, 40), mode="bilinear", align_corners=False)
    stacked, total = pyramid.shallow_input(image)
    torch.testing.assert_close(stacked, torch.cat([fine, coarse], 1))
    torch.testing.assert_close(total, fine + coarse)


def test_float32_under_autocast_and_nothing_in_the_checkpoint() -> None:
    pyramid = LaplacianPyramid()
    image = torch.randn(1, 3, 32, 32)
    with torch.autocast("cpu", torch.bfloat16):
        bands = pyramid(image)
    for band, expected in zip(bands, pyramid(image), strict=True):
        assert band.dtype == torch.float32
        torch.testing.assert_close(band, expected)
    assert pyramid.state_dict() == {}
