"""Light and colour, one step after the other in float64, against the one matrix."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from mmseg.datasets import BatchPhotometricDistortion, BatchRandom
from mmseg.datasets.transforms.photometric import smooth
from mmseg.registry import TRANSFORMS

NEUTRAL = dict(brightness=0.0, contrast=0.0, saturation=0.0, hue=0.0, gamma=0.0, prob=1.0)
DEFAULT = dict(brightness=0.3, contrast=0.3, saturation=0.3, hue=10.0, gamma=0.2, prob=1.0)


class Shares:
    """A generator that draws the same share of every range, one share a sample."""

    def __init__(self, *shares: float) -> None:
        self.shares = torch.tensor(shares)

    def uniform(self, low: float, high: float) -> Tensor:
        return low + (high - low) * self.shares

    def chance(self, probability: float) -> Tensor:
        return torch.full_like(self.shares, probability) > 0.5


def photographs(count: int = 2, low: int = 0, high: int = 256) -> Tensor:
    return torch.from_numpy(np.random.RandomState(0).randint(low, high, (count, 3, 7, 9)).astype(np.float32))


def distort(images: Tensor, random: Any, **options: float) -> Tensor:
    return BatchPhotometricDistortion(**options)(dict(images=images.clone(), random=random))["images"]


def turn_hue(rgb: np.ndarray, degrees: float) -> np.ndarray:
    """Turn about the grey axis in the plane across it: R towards G towards B. ``(..., 3)``."""
    across = np.array([[2, -1, -1], [0, np.sqrt(3), -np.sqrt(3)]]) / np.sqrt([[6.0], [6.0]])
    plane = rgb @ across.T
    turned = (plane[..., 0] + 1j * plane[..., 1]) * np.exp(1j * np.deg2rad(degrees))
    return rgb.mean(-1, keepdims=True) + np.stack([turned.real, turned.imag], -1) @ across


def by_steps(
    image: Tensor, share: float, brightness: float, contrast: float, saturation: float, hue: float, gamma: float
) -> np.ndarray:
    """The steps as the class tells them; ``image`` ``(3, H, W)``."""
    at = 2 * share - 1
    rgb = image.double().numpy().transpose(1, 2, 0)
    mean = rgb.mean()
    rgb = turn_hue(rgb, hue * at)
    luma = (rgb @ [0.299, 0.587, 0.114])[..., None]
    rgb = luma + (1 + saturation * at) * (rgb - luma)
    rgb = mean + (1 + contrast * at) * (rgb - mean)
    rgb = (1 + brightness * at) * rgb
    return (255 * (rgb / 255).clip(0, 1) ** ((1 + gamma) ** at)).transpose(2, 0, 1)


@pytest.mark.parametrize("share", [0.0, 0.35, 0.9])
@pytest.mark.parametrize("part", ["brightness", "contrast", "saturation", "hue", "gamma", "all"])
def test_against_the_steps_one_by_one(part: str, share: float) -> None:
    options = DEFAULT if part == "all" else NEUTRAL | {part: DEFAULT[part]}
    images = photographs()
    out = distort(images, Shares(share, 1 - share), **options)
    steps = {k: v for k, v in options.items() if k != "prob"}
    expected = np.stack([by_steps(image, s, **steps) for image, s in zip(images, (share, 1 - share), strict=True)])
    np.testing.assert_allclose(out.numpy(), expected, atol=5e-3)
    assert np.abs(expected - images.numpy()).max() > 2, "nothing to compare"


@pytest.mark.parametrize("options", [DEFAULT | dict(prob=0.0), NEUTRAL], ids=["prob 0", "no change asked"])
def test_neutral(options: dict[str, float]) -> None:
    images = photographs()
    torch.testing.assert_close(distort(images, BatchRandom(0, 0, [0, 1]), **options), images, atol=2e-3, rtol=0)


def test_grey_stays_grey_under_hue_and_saturation() -> None:
    images = photographs()[:, :1].expand(-1, 3, -1, -1)
    out = distort(images, Shares(0.0, 1.0), **NEUTRAL | dict(hue=60.0, saturation=0.9))
    torch.testing.assert_close(out, images.contiguous(), atol=5e-3, rtol=0)


def test_values_stay_between_0_and_255() -> None:
    strong = dict(brightness=0.9, contrast=0.9, saturation=0.9, hue=90.0, gamma=2.0)
    out = distort(photographs(64), BatchRandom(0, 0, range(64)), **strong)
    assert out.isfinite().all()
    assert out.min() >= 0
    assert out.max() <= 255
    assert out.max() > 250


def test_the_share_of_samples_that_change() -> None:
    images = photographs(1).expand(500, -1, -1, -1)
    changed = (distort(images, BatchRandom(0, 0, range(500)), prob=0.8) - images).abs().flatten(1).max(1).values > 0.01
    assert 0.74 < changed.float().mean() < 0.86


def test_every_sample_by_its_own_numbers_wherever_it_is() -> None:
    images = photographs(4)
    whole = distort(images, BatchRandom(3, 9, range(4)), prob=1.0)
    same = photographs(1).expand(4, -1, -1, -1)
    assert len(distort(same, BatchRandom(3, 9, range(4)), prob=1.0).flatten(1).unique(dim=0)) == 4
    for slot in range(4):
        alone = distort(images[slot : slot + 1], BatchRandom(3, 9, [slot]), prob=1.0)
        torch.testing.assert_close(alone[0], whole[slot], atol=1e-3, rtol=0)


def test_it_is_registered() -> None:
    assert isinstance(TRANSFORMS.build(dict(type="BatchPhotometricDistortion")), BatchPhotometricDistortion)


@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation", "prob", "blur", "blur_prob"])
@pytest.mark.parametrize("value", [-0.1, 32, float("nan"), (0.5, 1.5)])
def test_strengths_and_probabilities_out_of_range_are_named(name: str, value: object) -> None:
    told = f"BatchPhotometricDistortion: got {name}={value!r}, expected a number, from 0 to 1"
    with pytest.raises(ValueError, match=re.escape(told)):
        BatchPhotometricDistortion(**{name: value})


@pytest.mark.parametrize("name", ["hue", "gamma"])
def test_strengths_without_an_upper_end(name: str) -> None:
    for value in (-0.1, float("inf")):
        with pytest.raises(ValueError, match=f"got {name}={value}, expected a number, 0 or more"):
            BatchPhotometricDistortion(**{name: value})
    BatchPhotometricDistortion(**{name: 18})


class TestBlur:
    def test_smooth_against_a_convolution(self) -> None:
        image = torch.rand(3, 6, 9, dtype=torch.float64)
        kernel = torch.tensor([1.0, 2.0, 1.0], dtype=torch.float64) / 4
        padded = torch.nn.functional.pad(image[None], (1, 1, 1, 1), mode="replicate")[0]
        expected = torch.zeros_like(image)
        for i in range(3):
            for j in range(3):
                expected += kernel[i] * kernel[j] * padded[:, i : i + 6, j : j + 9]
        torch.testing.assert_close(smooth(image), expected)

    def test_share_and_probability(self) -> None:
        images = torch.randint(0, 256, (400, 3, 8, 8)).float()
        only_blur = BatchPhotometricDistortion(0, 0, 0, 0, 0, prob=0.5, blur=1.0, blur_prob=0.5)
        out = only_blur(dict(images=images.clone(), random=BatchRandom(0, 0, range(400))))["images"]
        changed = (out - images).abs().flatten(1).max(1).values > 0.01
        assert 0.18 < changed.float().mean() < 0.32
        shares = []
        for before, after in zip(images[changed], out[changed], strict=True):
            toward = smooth(before) - before
            share = ((after - before) * toward).sum() / toward.square().sum()
            torch.testing.assert_close(after, before + share * toward, atol=0.02, rtol=0)
            shares.append(float(share))
        assert 0 <= min(shares) < 0.1 and 0.9 < max(shares) <= 1.001

    def test_the_callers_image_is_left_alone(self) -> None:
        images = torch.rand(4, 3, 8, 8) * 255
        before = images.clone()
        BatchPhotometricDistortion(prob=1.0, blur=1.0, blur_prob=1.0)(dict(images=images, random=BatchRandom(0, 0, range(4))))
        assert torch.equal(images, before)
