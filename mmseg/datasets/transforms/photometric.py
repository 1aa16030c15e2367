"""Changes of light and colour, one matrix a sample."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from mmseg.registry import TRANSFORMS

__all__ = ["BatchPhotometricDistortion"]

_LUMA = torch.tensor([0.299, 0.587, 0.114])
_GREY_AXIS = torch.full((3,), 1 / math.sqrt(3.0))


@TRANSFORMS.register_module()
class BatchPhotometricDistortion:
    """Brightness, contrast, saturation, hue and gamma, each drawn for every sample; our own design.

    The first four are affine in RGB, so they are composed into one 3x4 matrix a sample and applied at once:
    hue turns colours about the grey axis, saturation scales their distance from their luma, contrast scales their distance
    from the mean of the crop, brightness scales all. Gamma follows.

    Args:
        brightness: greatest relative change; 0.3 gives factors of 0.7 to 1.3.
        contrast: the same for contrast.
        saturation: the same for saturation.
        hue: greatest turn in degrees.
        gamma: greatest relative change; factors of ``1 / (1 + gamma)`` to ``1 + gamma``, log-uniformly.
        prob: probability that a sample is changed at all.
    """

    def __init__(
        self,
        brightness: float = 0.3,
        contrast: float = 0.3,
        saturation: float = 0.3,
        hue: float = 10.0,
        gamma: float = 0.2,
        prob: float = 0.8,
    ) -> None:
        self.brightness = brightness
        self.contrast = contrast
        self.saturation = saturation
        self.hue = hue
        self.gamma = gamma
        self.prob = prob

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Change ``images``, float ``(B, 3, H, W)``, RGB, 0 to 255; ``random`` as in :class:`BatchRandomAffine`."""
        images, random = batch["images"], batch["random"]
        changed = random.chance(self.prob)
        matrix, lift, gamma = (t.to(images.device) for t in self._draw(random, changed))
        shift = lift * images.mean((1, 2, 3))
        mixed = torch.einsum("bij,bjhw->bihw", matrix, images) + shift[:, None, None, None]
        mixed = (mixed / 255).clamp(0, 1)
        batch["images"] = 255 * mixed.pow(gamma[:, None, None, None])
        return batch

    def _draw(self, random: Any, changed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Matrix ``(B, 3, 3)``, share of the mean to add ``(B,)`` and gamma ``(B,)``; neutral where a sample is not changed."""

        def factor(change: float) -> Tensor:
            return torch.where(changed, 1 + random.uniform(-change, change), 1.0)

        bright, contrast, saturation = factor(self.brightness), factor(self.contrast), factor(self.saturation)
        angle = torch.where(changed, torch.deg2rad(random.uniform(-self.hue, self.hue)), 0.0)
        limit = math.log1p(self.gamma)
        gamma = torch.where(changed, torch.exp(random.uniform(-limit, limit)), 1.0)
        grey = _LUMA.expand(3, 3)
        saturate = grey + saturation[:, None, None] * (torch.eye(3) - grey)
        matrix = (bright * contrast)[:, None, None] * saturate @ turn_about_grey(angle)
        return matrix, bright * (1 - contrast), gamma


def turn_about_grey(angle: Tensor) -> Tensor:
    """Rotation matrices ``(B, 3, 3)`` about the axis (1, 1, 1) by ``angle`` ``(B,)`` in radians (Rodrigues' formula)."""
    kx, ky, kz = _GREY_AXIS
    zero = torch.zeros(())
    cross = torch.stack([zero, -kz, ky, kz, zero, -kx, -ky, kx, zero]).view(3, 3)
    sin, cos = torch.sin(angle)[:, None, None], torch.cos(angle)[:, None, None]
    return torch.eye(3) + sin * cross + (1 - cos) * (cross @ cross)
