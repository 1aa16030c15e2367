"""The augmentations of mmsegmentation's pipelines, on whole batches."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mmseg.datasets.transforms.affine import resample
from mmseg.registry import TRANSFORMS
from mmseg.structures import IGNORE, flatten_masks, unpack_masks
from mmseg.utils.device import sent_to

__all__ = ["BatchLegacyAffine", "BatchLegacyDistortion"]

_TRIES = 10
"""How often a crop of nearly one class is drawn again."""

_FLIPS = {"horizontal": (-1.0, 1.0), "vertical": (1.0, -1.0)}


@TRANSFORMS.register_module()
class BatchLegacyAffine:
    """``Resize, RandomCrop, RandomFlip, RandomRotate, Pad`` of mmsegmentation as one resampling of the batch.

    The same distributions, of: the scale (uniform; the photograph has the size of ``img_scale`` already), the window (inside
    the photograph; a photograph that is smaller lies in its upper left corner), a window drawn again up to ten times while one
    class fills it, the mirror image, and the angle (clockwise, about the window's centre). Unlike there the corners of a
    turned window show the photograph; outside it images are black and masks :data:`~mmseg.structures.IGNORE`.

    Args:
        crop_size: ``(height, width)`` of the window in pixels.
        scale: least and greatest scale.
        cat_max_ratio: largest share, 0 to 1, of one class in a window; 1 asks for nothing.
        flip_prob: probability of a mirror image.
        flip_direction: 'horizontal' or 'vertical'.
        rotation: least and greatest angle in degrees.
        rotation_prob: probability of a rotation.

    Raises:
        ValueError: for another ``flip_direction``.
    """

    def __init__(
        self, crop_size: tuple[int, int], scale: tuple[float, float] = (1.0, 1.0), cat_max_ratio: float = 1.0,
        flip_prob: float = 0.0, flip_direction: str = "horizontal", rotation: tuple[float, float] = (0.0, 0.0),
        rotation_prob: float = 0.0,
    ) -> None:
        if flip_direction not in _FLIPS:
            raise ValueError(f"BatchLegacyAffine: got flip_direction={flip_direction!r}, expected one of {sorted(_FLIPS)}")
        self.crop_size = (int(crop_size[0]), int(crop_size[1]))
        self.scale, self.cat_max_ratio = scale, cat_max_ratio
        self.flip_prob, self.flip_direction = flip_prob, flip_direction
        self.rotation, self.rotation_prob = rotation, rotation_prob

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Resample a batch; keys as in :class:`~mmseg.datasets.transforms.BatchRandomAffine`."""
        masks = batch["masks"]
        if self.cat_max_ratio < 1:
            masks = masks.cpu()  # searched in many windows: one wait
            if batch.get("packed"):
                masks = flatten_masks(unpack_masks(masks[:, 0]))[:, None]
        return resample(batch, *self.draw(batch["random"], batch["sizes"].float(), masks), self.crop_size)

    def draw(self, random: Any, sizes: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
        """Centre ``(B, 2)`` (x, y) in pixels of the photograph and matrix ``(B, 2, 2)`` from window to photograph."""
        scale = random.uniform(*self.scale)
        window = torch.tensor(self.crop_size).float()
        room = (torch.round(sizes * scale[:, None]) - window).clamp(min=0)
        corner = self._corner(random, room, scale, masks)

        flip = torch.where(random.chance(self.flip_prob)[:, None], torch.tensor(_FLIPS[self.flip_direction]), 1.0)
        angle = torch.deg2rad(random.uniform(*self.rotation)) * random.chance(self.rotation_prob)
        cos, sin = torch.cos(angle), torch.sin(angle)
        turn_back = torch.stack([cos, sin, -sin, cos], 1).view(-1, 2, 2)
        centre = (corner + window / 2).flip(1) / scale[:, None]
        return centre, flip[:, :, None] * turn_back / scale[:, None, None]

    def _corner(self, random: Any, room: Tensor, scale: Tensor, masks: Tensor) -> Tensor:
        """The window's corner ``(B, 2)`` (y, x) in whole pixels of the scaled photograph."""
        tries = 1 + (_TRIES if self.cat_max_ratio < 1 else 0)
        shares = [torch.stack([random.uniform(0.0, 1.0), random.uniform(0.0, 1.0)], 1) for _ in range(tries)]
        corners = [torch.minimum((share * (room + 1)).floor(), room) for share in shares]
        chosen = corners[-1].clone()
        for i in range(len(room)) if tries > 1 else ():
            chosen[i] = next((c[i] for c in corners[:-1] if self._is_mixed(masks[i], c[i], float(scale[i]))), corners[-1][i])
        return chosen

    def _is_mixed(self, mask: Tensor, corner: Tensor, scale: float) -> bool:
        """Whether a window holds two classes or more and none of them beyond ``cat_max_ratio``."""
        (top, left), (height, width) = corner.tolist(), self.crop_size
        part = mask[:, round(top / scale) : round((top + height) / scale), round(left / scale) : round((left + width) / scale)]
        index = flatten_masks(part) if len(part) > 1 else part[0]
        counts = torch.bincount(index[index != IGNORE].long())
        counts = counts[counts > 0]
        return len(counts) > 1 and bool(counts.max() / counts.sum() < self.cat_max_ratio)


@TRANSFORMS.register_module()
class BatchLegacyDistortion:
    """``PhotoMetricDistortion`` of mmsegmentation: brightness, contrast, saturation and hue, each with probability 0.5.

    Contrast comes before saturation and hue in one half of the cases, after them in the other; every step ends in 0 to 255.
    Unlike there values are not rounded between the steps.

    Args:
        brightness_delta: greatest amount added, of 255.
        contrast_range: least and greatest factor.
        saturation_range: least and greatest factor of HSV's saturation.
        hue_delta: greatest turn in OpenCV's units of two degrees.
    """

    def __init__(
        self, brightness_delta: float = 32, contrast_range: tuple[float, float] = (0.5, 1.5),
        saturation_range: tuple[float, float] = (0.5, 1.5), hue_delta: float = 18,
    ) -> None:
        self.brightness_delta, self.contrast_range = brightness_delta, contrast_range
        self.saturation_range, self.hue_delta = saturation_range, hue_delta

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Change ``images``, float ``(B, 3, H, W)``, RGB, 0 to 255."""
        random, device = batch["random"], batch["images"].device

        def drawn(low: float, high: float, neutral: float) -> Tensor:
            return sent_to(device, torch.where(random.chance(0.5), random.uniform(low, high), neutral).view(-1, 1, 1, 1))

        added = drawn(-self.brightness_delta, self.brightness_delta, 0.0)
        contrast, saturation = drawn(*self.contrast_range, 1.0), drawn(*self.saturation_range, 1.0)
        turn = drawn(-self.hue_delta, self.hue_delta, 0.0) / 30  # sextants of the colour circle
        first = sent_to(device, random.chance(0.5).view(-1, 1, 1, 1))
        images = (batch["images"].float() + added).clamp(0, 255)
        images = (images * torch.where(first, contrast, 1.0)).clamp(0, 255)
        images = _turn_hue(_saturate(images, saturation), turn)
        batch["images"] = (images * torch.where(first, 1.0, contrast)).clamp(0, 255)
        return batch


def _saturate(images: Tensor, factor: Tensor) -> Tensor:
    """Scale HSV's saturation, ``(V - least) / V``, at most to 1; value and hue stay."""
    value = images.amax(1, keepdim=True)
    below = value - images
    most = value / below.amax(1, keepdim=True).clamp(min=1e-6)
    return value - below * torch.minimum(factor, most)


def _turn_hue(images: Tensor, turn: Tensor) -> Tensor:
    """Turn HSV's hue by sextants; value and saturation stay."""
    red, green, blue = images.unbind(1)
    value, chroma = images.amax(1), images.amax(1) - images.amin(1)
    safe = chroma.clamp(min=1e-6)
    hue = torch.where(value == red, (green - blue) / safe,
                      torch.where(value == green, 2 + (blue - red) / safe, 4 + (red - green) / safe)) + turn[:, 0]
    channels = []
    for offset in (5, 3, 1):
        k = (offset + hue) % 6
        channels.append(value - chroma * torch.minimum(k, 4 - k).clamp(0, 1))
    return torch.stack(channels, 1)
