"""Scale, rotation, flip, translation and crop as one resampling of the whole batch."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mmseg.registry import TRANSFORMS
from mmseg.structures import IGNORE

__all__ = ["BatchRandomAffine"]


@TRANSFORMS.register_module()
class BatchRandomAffine:
    """Crop a window from every photograph: at a place, scale, angle and handedness of its own.

    The window's pixel ``u`` (from its centre) is taken at ``c + R(angle) F u / scale`` of the photograph: images bilinearly
    (black outside), masks by nearest neighbour, so that they stay exact (:data:`~mmseg.structures.IGNORE` outside).
    A window that is smaller than the photograph is placed inside it (before rotation); with probability ``lesion_prob`` it is
    placed such that a random pixel of a random lesion of the image falls anywhere into it. Our own design.

    Args:
        crop_size: ``(height, width)`` of the window in pixels.
        scale: least and greatest scale, drawn log-uniformly; 2 enlarges.
        rotation: least and greatest angle in degrees, drawn uniformly.
        flip_prob: probability of a mirror image.
        lesion_prob: share of windows placed on a lesion, where the image has any.
    """

    def __init__(
        self,
        crop_size: tuple[int, int],
        scale: tuple[float, float] = (0.5, 2.0),
        rotation: tuple[float, float] = (-180.0, 180.0),
        flip_prob: float = 0.5,
        lesion_prob: float = 0.0,
    ) -> None:
        if not 0 < scale[0] <= scale[1]:
            raise ValueError(f"BatchRandomAffine: got scale={scale}, expected 0 < least <= greatest")
        self.crop_size = (int(crop_size[0]), int(crop_size[1]))
        self.scale = scale
        self.rotation = rotation
        self.flip_prob = flip_prob
        self.lesion_prob = lesion_prob

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Resample ``images`` float ``(B, 3, H, W)`` and ``masks`` uint8 ``(B, C, H, W)`` to the crop size.

        Further keys: ``sizes`` ``(B, 2)``, height and width of each photograph inside the padded batch; ``points``, lesion
        pixels of each photograph (see :func:`~mmseg.datasets.sampling.lesion_points`); ``random``, a
        :class:`~mmseg.datasets.transforms.BatchRandom`.
        """
        sizes = batch["sizes"].to("cpu", torch.float32)
        centre, matrix = self.draw(batch["random"], sizes, batch["points"])
        grid = window_grid(centre, matrix, self.crop_size).to(batch["images"].device)
        batch["masks"] = sample_nearest(batch["masks"], grid, batch["sizes"])
        batch["images"] = sample_bilinear(batch["images"], grid)
        batch["sizes"] = torch.tensor(self.crop_size, device=grid.device).expand(len(grid), 2)
        return batch

    def draw(self, random: Any, sizes: Tensor, points: list[list[Tensor]]) -> tuple[Tensor, Tensor]:
        """Centre ``(B, 2)`` (x, y) in pixels of the photograph and matrix ``(B, 2, 2)`` from window to photograph."""
        scale = torch.exp(random.uniform(math.log(self.scale[0]), math.log(self.scale[1])))
        angle = torch.deg2rad(random.uniform(*self.rotation))
        mirror = 1.0 - 2.0 * random.chance(self.flip_prob).float()
        cos, sin = torch.cos(angle), torch.sin(angle)
        matrix = torch.stack([cos * mirror, -sin, sin * mirror, cos], 1).view(-1, 2, 2) / scale[:, None, None]

        window = torch.tensor(self.crop_size).flip(0)  # width, height
        extent = window / scale[:, None]
        place = torch.stack([random.uniform(0.0, 1.0), random.uniform(0.0, 1.0)], 1)
        room = (sizes.flip(1) - extent).clamp(min=0)
        centre = (sizes.flip(1) - room) / 2 + place * room

        wanted, which, nth = random.chance(self.lesion_prob), random.uniform(0.0, 1.0), random.uniform(0.0, 1.0)
        offset = torch.einsum("bij,bj->bi", matrix, (place - 0.5) * window)
        for i, lesions in enumerate(points):
            present = [p for p in lesions if len(p)]
            if wanted[i] and present:
                pixels = _pick(present, which[i])
                centre[i] = _pick(pixels, nth[i]).flip(0) + 0.5 + offset[i]
        return centre, matrix


def _pick(items: Any, share: Tensor) -> Any:
    """The item at a share of the way, 0 to 1; a float32 share rounds up to 1 once in 30 million draws."""
    return items[min(int(share * len(items)), len(items) - 1)]


def window_grid(centre: Tensor, matrix: Tensor, crop_size: tuple[int, int]) -> Tensor:
    """Where each pixel of the window lies in the photograph.

    Returns:
        ``(B, h, w, 2)``, (x, y) in pixels; the upper left pixel of the photograph spans 0 to 1.
    """
    height, width = crop_size
    y = torch.arange(height) + 0.5 - height / 2
    x = torch.arange(width) + 0.5 - width / 2
    window = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)
    return torch.einsum("bij,hwj->bhwi", matrix, window) + centre[:, None, None, :]


def sample_bilinear(images: Tensor, grid: Tensor) -> Tensor:
    """Sample float ``(B, C, H, W)`` at pixel positions ``(B, h, w, 2)``; zero outside."""
    size = torch.tensor(images.shape[:1:-1], device=grid.device)
    return F.grid_sample(images, (2 * grid / size - 1).to(images.dtype), padding_mode="zeros", align_corners=False)


def sample_nearest(masks: Tensor, grid: Tensor, sizes: Tensor) -> Tensor:
    """Take the mask pixel that contains each position, exactly; :data:`~mmseg.structures.IGNORE` outside the photograph.

    Args:
        masks: uint8 ``(B, C, H, W)``.
        grid: ``(B, h, w, 2)``, (x, y) in pixels.
        sizes: ``(B, 2)``, height and width of each photograph.
    """
    x, y = grid.floor().long().unbind(-1)
    height, width = sizes.to(grid.device).long()[:, :, None, None].unbind(1)
    inside = (x >= 0) & (y >= 0) & (x < width) & (y < height)
    flat = torch.where(inside, y * masks.shape[-1] + x, 0).flatten(1)
    taken = masks.flatten(2).gather(2, flat[:, None].expand(-1, masks.shape[1], -1)).view(*masks.shape[:2], *grid.shape[1:3])
    return torch.where(inside[:, None], taken, IGNORE).to(masks.dtype)
