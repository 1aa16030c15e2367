"""The old augmentations on batches, against OpenCV and loops of their own."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
import torch

from mmseg.compat.legacy_transforms import BatchLegacyAffine, BatchLegacyDistortion, _saturate, _turn_hue
from mmseg.datasets.transforms import BatchRandom
from mmseg.structures import IGNORE


class Fixed:
    """Draws at a share of the way; chances happen or not."""

    def __init__(self, share: float, happens: bool, size: int = 1) -> None:
        self.share, self.happens, self.size = share, happens, size

    def uniform(self, low: float, high: float) -> torch.Tensor:
        return torch.full((self.size,), low + self.share * (high - low))

    def chance(self, probability: float) -> torch.Tensor:
        return torch.full((self.size,), self.happens)


def batch(random: Any, height: int = 40, width: int = 60) -> dict[str, Any]:
    labels = torch.arange(height * width, dtype=torch.int64).view(1, 1, height, width) % 251
    images = labels.float().expand(-1, 3, -1, -1).clone()
    return dict(images=images, masks=labels.to(torch.uint8), sizes=torch.tensor([[height, width]]), points=[[]], random=random)


def test_a_crop_is_a_slice() -> None:
    out = BatchLegacyAffine((16, 24))(batch(Fixed(0.5, False)))
    expected = batch(None)["masks"][..., 12:28, 18:42]
    assert torch.equal(out["masks"], expected)
    torch.testing.assert_close(out["images"][:, :1], expected.float(), atol=1e-3, rtol=0)
    assert out["sizes"].tolist() == [[16, 24]]


@pytest.mark.parametrize(("direction", "axis"), [("horizontal", -1), ("vertical", -2)])
def test_a_flip_is_the_mirror_image_of_the_crop(direction: str, axis: int) -> None:
    out = BatchLegacyAffine((16, 24), flip_prob=0.5, flip_direction=direction)(batch(Fixed(0.5, True)))
    assert torch.equal(out["masks"], batch(None)["masks"][..., 12:28, 18:42].flip(axis))


def test_a_rotation_is_clockwise_about_the_centre_of_the_crop() -> None:
    out = BatchLegacyAffine((16, 16), rotation=(90, 90), rotation_prob=1.0)(batch(Fixed(0.5, True)))
    # Of the crop at (12, 22); a flip of probability 0 "happens", too, with Fixed: mirrored first, then turned.
    crop = batch(None)["masks"][0, 0, 12:28, 22:38].flip(-1)
    expected = cv2.rotate(crop.numpy(), cv2.ROTATE_90_CLOCKWISE)
    assert (out["masks"][0, 0].numpy() == expected).mean() > 0.9  # borders of cells may round to either side


def test_a_small_photograph_lies_in_the_corner() -> None:
    out = BatchLegacyAffine((50, 64))(batch(Fixed(0.3, False)))
    assert torch.equal(out["masks"][..., :40, :60], batch(None)["masks"])
    assert (out["masks"][..., 40:, :] == IGNORE).all() and (out["masks"][..., 60:] == IGNORE).all()
    assert (out["images"][..., 41:, :] == 0).all()


def test_scales_are_uniform_and_windows_stay_inside() -> None:
    random = BatchRandom(0, 0, range(2000))
    transform = BatchLegacyAffine((16, 24), scale=(0.5, 2.0))
    sizes = torch.tensor([[40.0, 60.0]]).expand(2000, 2)
    centre, matrix = transform.draw(random, sizes, torch.zeros(2000, 1, 1, 1))
    scale = 1 / torch.linalg.det(matrix).sqrt()
    assert scale.min() >= 0.5 and scale.max() <= 2
    assert scale.mean().item() == pytest.approx(1.25, abs=0.04)
    half = torch.tensor([24.0, 16.0]) / 2 / scale[:, None]
    assert (centre - half >= -1e-4).all()
    assert (centre + half <= torch.tensor([60.0, 40.0]) + 0.5 / scale[:, None] + 1e-4).all()


def test_probabilities() -> None:
    random = BatchRandom(1, 0, range(4000))
    transform = BatchLegacyAffine((8, 8), flip_prob=0.3, rotation=(90, 270), rotation_prob=0.25)
    _, matrix = transform.draw(random, torch.full((4000, 2), 40.0), torch.zeros(4000, 1, 1, 1))
    assert (torch.linalg.det(matrix) < 0).float().mean().item() == pytest.approx(0.3, abs=0.03)
    turned = (matrix[:, 0, 1].abs() > 1e-4) | (matrix[:, 1, 1] < 0)
    assert turned.float().mean().item() == pytest.approx(0.25, abs=0.03)


def test_a_crop_of_one_class_is_drawn_again() -> None:
    """One tenth of the photograph has two classes; alone, one crop in nine would meet them."""
    masks = torch.zeros(400, 1, 40, 400, dtype=torch.uint8)
    masks[..., :20, 180:220] = 1
    shares = []
    for ratio in (1.0, 0.75):
        transform = BatchLegacyAffine((40, 40), cat_max_ratio=ratio)
        centre, _ = transform.draw(BatchRandom(2, 0, range(400)), torch.tensor([[40.0, 400.0]]).expand(400, 2), masks)
        left = (centre[:, 0] - 20).round().long()
        crops = [masks[0, 0, :, start : start + 40].float().mean() for start in left.tolist()]
        shares.append(sum(0.25 < crop < 0.75 for crop in crops) / 400)
    assert shares[0] < 0.15
    assert shares[1] > 3 * shares[0]


def photographs() -> torch.Tensor:
    return torch.from_numpy(np.random.RandomState(0).randint(0, 256, (1, 3, 32, 32)).astype(np.float32))


def by_opencv(images: torch.Tensor, saturation: float, hue: int) -> np.ndarray:
    hsv = cv2.cvtColor(images[0].numpy().transpose(1, 2, 0).astype(np.uint8), cv2.COLOR_RGB2HSV).astype(np.float32)
    hsv[..., 1] = (hsv[..., 1] * saturation).clip(0, 255)
    hsv[..., 0] = (hsv[..., 0] + hue) % 180
    return cv2.cvtColor(hsv.astype(np.uint8), cv2.COLOR_HSV2RGB).transpose(2, 0, 1)


@pytest.mark.parametrize(("saturation", "hue"), [(1.0, 0), (0.5, 0), (1.5, 0), (1.0, 18), (1.0, -18), (1.3, 11)])
def test_saturation_and_hue_are_opencvs(saturation: float, hue: int) -> None:
    images = photographs()
    mine = _turn_hue(_saturate(images, torch.tensor(saturation)), torch.full((1, 1, 1, 1), hue / 30))[0].numpy()
    difference = abs(mine - by_opencv(images, saturation, hue))
    assert difference.mean() < 1.5 and np.percentile(difference, 99) <= 6  # OpenCV's HSV has 8 bits, hue in steps of 2 degrees


def test_distortion_in_order() -> None:
    """Everything happens: brightness, contrast first, saturation, hue; and stays within 0 to 255."""
    images = photographs()
    out = BatchLegacyDistortion(brightness_delta=20, contrast_range=(0.8, 0.8), saturation_range=(1, 1), hue_delta=0)(
        dict(images=images.clone(), random=Fixed(1.0, True)))["images"]
    torch.testing.assert_close(out, (images + 20).clamp(0, 255) * 0.8, atol=1e-3, rtol=0)


def test_nothing_happens_with_the_other_half_of_each() -> None:
    images = photographs()
    out = BatchLegacyDistortion()(dict(images=images.clone(), random=Fixed(0.9, False)))["images"]
    torch.testing.assert_close(out, images, atol=1e-3, rtol=0)


def test_an_unknown_flip() -> None:
    with pytest.raises(ValueError, match="got flip_direction='diagonal'"):
        BatchLegacyAffine((8, 8), flip_direction="diagonal")
