"""Changes of light and colour, one matrix a sample."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from mmseg.datasets.transforms.ranges import check_ranges
from mmseg.registry import TRANSFORMS
from mmseg.utils.device import sent_to

__all__ = ["BatchPhotometricDistortion"]

_LUMA = torch.tensor([0.299, 0.587, 0.114])
_GREY_AXIS = torch.full((3,), 1 / math.sqrt(3.0))
_BLACK = 1e-30
"""In the place of 0, whose logarithm takes a CPU three times as long; its powers are no denormal numbers either."""


@TRANSFORMS.register_module()
class BatchPhotometricDistortion:
    """Brightness, contrast, saturation, hue, gamma and blur, each drawn for every sample; our own design.

    The first four are affine in RGB, so they are composed into one 3x4 matrix a sample and applied at once:
    hue turns colours about the grey axis, saturation scales their distance from their luma, contrast scales their distance
    from the mean of the crop, brightness scales all. Then a share ``s`` of the image is replaced by itself smoothed with the
    kernel 1 2 1 in both directions, which for ``s = 1`` is a Gaussian of 0.7 px. Gamma follows.

    Args:
        brightness: greatest relative change, 0 to 1; 0.3 gives factors of 0.7 to 1.3.
        contrast: the same for contrast.
        saturation: the same for saturation.
        hue: greatest turn in degrees, 0 or more.
        gamma: greatest relative change, 0 or more; factors of ``1 / (1 + gamma)`` to ``1 + gamma``, log-uniformly.
        prob: probability that a sample is changed at all.
        blur: greatest share of blur, 0 to 1; 0 never blurs.
        blur_prob: probability that a sample that is changed is blurred.

    Raises:
        ValueError: a strength or a probability that is out of its range.
    """

    def __init__(
        self,
        brightness: float = 0.3,
        contrast: float = 0.3,
        saturation: float = 0.3,
        hue: float = 10.0,
        gamma: float = 0.2,
        prob: float = 0.8,
        blur: float = 0.0,
        blur_prob: float = 0.2,
    ) -> None:
        self.brightness = brightness
        self.contrast = contrast
        self.saturation = saturation
        self.hue = hue
        self.gamma = gamma
        self.prob = prob
        self.blur = blur
        self.blur_prob = blur_prob
        check_ranges(self, "brightness", "contrast", "saturation", "prob", "blur", "blur_prob", most=1)
        check_ranges(self, "hue", "gamma")

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Change ``images``, ``(B, 3, H, W)``, RGB, 0 to 255, into new ones, float32; ``random`` as in the affine transform."""
        images, random = batch["images"].float(), batch["random"]
        changed = random.chance(self.prob)
        blurred = self._draw_blur(random, changed)
        matrix, lift, gamma = sent_to(images.device, self._draw(random, changed)).split((9, 1, 1), 1)
        shift = lift[:, :, None] * images.mean((1, 2, 3))[:, None, None]
        mixed = torch.baddbmm(shift, matrix.view(-1, 3, 3), images.flatten(2), alpha=1 / 255, beta=1 / 255)
        for i, share in blurred:  # smoothing changes places with what is affine in RGB, and here it need not spare its input
            plane = mixed[i].view(images.shape[1:])
            plane.lerp_(smooth(plane), share)
        mixed.clamp_(_BLACK, 1)
        # exp2(gamma log2(x)) in place: half the time of pow, which looks after signs and special values
        bright = mixed.log2_().mul_(gamma[:, :, None]).exp2_().mul_(255)
        batch["images"] = bright.view_as(images)
        return batch

    def _draw_blur(self, random: Any, changed: Tensor) -> list[tuple[int, float]]:
        """Place in the batch and share of those that are blurred; known on the CPU."""
        if self.blur == 0:
            return []
        share = random.uniform(0.0, self.blur)
        return [(i, float(share[i])) for i in (changed & random.chance(self.blur_prob)).nonzero().flatten().tolist()]

    def _draw(self, random: Any, changed: Tensor) -> Tensor:
        """``(B, 11)``: matrix (9), share of the mean to add, and gamma; neutral where a sample is not changed."""

        def factor(change: float) -> Tensor:
            return torch.where(changed, 1 + random.uniform(-change, change), 1.0)

        bright, contrast, saturation = factor(self.brightness), factor(self.contrast), factor(self.saturation)
        angle = torch.where(changed, torch.deg2rad(random.uniform(-self.hue, self.hue)), 0.0)
        limit = math.log1p(self.gamma)
        gamma = torch.where(changed, torch.exp(random.uniform(-limit, limit)), 1.0)
        grey = _LUMA.expand(3, 3)
        saturate = grey + saturation[:, None, None] * (torch.eye(3) - grey)
        matrix = (bright * contrast)[:, None, None] * saturate @ turn_about_grey(angle)
        return torch.cat([matrix.flatten(1), (bright * (1 - contrast))[:, None], gamma[:, None]], 1)


def smooth(image: Tensor) -> Tensor:
    """``(C, H, W)`` smoothed by the kernel 1 2 1, over 4, along both sides; the border is repeated."""
    for dim in (1, 2):
        last = image.shape[dim] - 1
        before = torch.cat([image.narrow(dim, 0, 1), image.narrow(dim, 0, last)], dim)
        after = torch.cat([image.narrow(dim, 1, last), image.narrow(dim, last, 1)], dim)
        image = (before + after).mul_(0.5).add_(image).mul_(0.5)
    return image


def turn_about_grey(angle: Tensor) -> Tensor:
    """Rotation matrices ``(B, 3, 3)`` about the axis (1, 1, 1) by ``angle`` ``(B,)`` in radians (Rodrigues' formula)."""
    kx, ky, kz = _GREY_AXIS
    zero = torch.zeros(())
    cross = torch.stack([zero, -kz, ky, kz, zero, -kx, -ky, kx, zero]).view(3, 3)
    sin, cos = torch.sin(angle)[:, None, None], torch.cos(angle)[:, None, None]
    return torch.eye(3) + sin * cross + (1 - cos) * (cross @ cross)
