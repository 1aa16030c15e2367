"""Masks made band by band, against the whole enlarged map."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mmseg.structures import enlarge, enlarged_masks

SIZES = [((5, 7), (15, 21)), ((20, 31), (211, 301)), ((90, 60), (90, 60)), ((64, 64), (130, 65)), ((50, 40), (20, 30))]


def bumps(height: int, width: int, seed: int = 0) -> torch.Tensor:
    """Four channels: noise, small bumps on zero, constant, nothing."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.rand(height, width, generator=generator)
    lone = (torch.rand(height, width, generator=generator) > 0.97).float()
    return torch.stack([noise, lone, torch.full((height, width), 0.6), torch.zeros(height, width)])


@pytest.mark.parametrize(("small", "large"), SIZES)
def test_values_are_those_of_torchs_interpolation(small: tuple[int, int], large: tuple[int, int]) -> None:
    maps = bumps(*small)
    expected = F.interpolate(maps[None].double(), size=large, mode="bilinear", align_corners=False)[0]
    torch.testing.assert_close(enlarge(maps, large).double(), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("small", "large"), SIZES)
@pytest.mark.parametrize("thresholds", [(0.5, 0.5, 0.5, 0.5), (0.9, 0.1, 0.6, 0.0), (1.0, 1.0, 0.0, 1.0)])
def test_masks_and_index_map_are_those_of_the_whole_map(
    small: tuple[int, int], large: tuple[int, int], thresholds: tuple[float, ...]
) -> None:
    maps = bumps(*small)
    masks, index = enlarged_masks(maps, large, thresholds)
    values = enlarge(maps, large).numpy()
    expected = values > np.array(thresholds, np.float32)[:, None, None]
    np.testing.assert_array_equal(masks.numpy(), expected)
    seen = np.where(expected, values, -1)
    np.testing.assert_array_equal(index.numpy(), np.where(expected.any(0), seen.argmax(0) + 1, 0))
    assert masks.any() and not masks.all()


def test_a_peak_at_the_border_of_two_bands_is_seen() -> None:
    for row in range(40):
        maps = torch.zeros(1, 40, 4)
        maps[0, row] = 1
        masks, _ = enlarged_masks(maps, (640, 4), [0.1])
        assert torch.equal(masks[0], enlarge(maps, (640, 4))[0] > 0.1), row
