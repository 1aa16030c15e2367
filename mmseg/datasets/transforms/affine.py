"""Scale, rotation, flip, translation and crop as one resampling of the whole batch."""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mmseg.datasets.transforms.ranges import check_ranges
from mmseg.registry import TRANSFORMS
from mmseg.structures import IGNORE
from mmseg.utils.device import sent_to
from mmseg.utils.errors import UserError

__all__ = ["BatchRandomAffine", "resample"]


@TRANSFORMS.register_module()
class BatchRandomAffine:
    """Crop a window from every photograph: at a place, scale, angle and handedness of its own.

    The window's pixel ``u`` (from its centre) is taken at ``c + R(angle) F u / scale`` of the photograph: images bilinearly
    (black outside), masks by nearest neighbour, so that they stay exact (:data:`~mmseg.structures.IGNORE` outside).
    A window that is smaller than the photograph is placed inside it (before rotation); with probability ``lesion_prob`` it is
    placed such that a random pixel of a random lesion of the image falls anywhere into it. Our own design.

    A few numbers a sample are drawn on the CPU and sent to the batch's device; nothing comes back from it.

    Args:
        crop_size: ``(height, width)`` of the window in pixels.
        scale: least and greatest scale, drawn log-uniformly; 2 enlarges.
        rotation: least and greatest angle in degrees, drawn uniformly.
        flip_prob: probability of a mirror image.
        lesion_prob: share of windows placed on a lesion, where the image has any.
        lesion_weights: how much more often one lesion is chosen than another, in the data set's order, among those that the
            image has; None chooses all alike.

    Raises:
        ValueError: scales that are not positive or out of order, a probability that is not from 0 to 1, or a negative weight.
        UserError: at the first batch, fewer weights than lesions.
    """

    def __init__(
        self,
        crop_size: tuple[int, int],
        scale: tuple[float, float] = (0.5, 2.0),
        rotation: tuple[float, float] = (-180.0, 180.0),
        flip_prob: float = 0.5,
        lesion_prob: float = 0.0,
        lesion_weights: Sequence[float] | None = None,
    ) -> None:
        if not 0 < scale[0] <= scale[1]:
            raise ValueError(f"BatchRandomAffine: got scale={scale}, expected 0 < least <= greatest")
        if lesion_weights is not None and min(lesion_weights) < 0:
            raise ValueError(f"BatchRandomAffine: got lesion_weights={lesion_weights}, expected none below 0")
        self.crop_size = (int(crop_size[0]), int(crop_size[1]))
        self.scale = scale
        self.rotation = rotation
        self.flip_prob = flip_prob
        self.lesion_prob = lesion_prob
        self.lesion_weights = lesion_weights
        check_ranges(self, "flip_prob", "lesion_prob", most=1)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Resample ``images`` ``(B, 3, H, W)``, 0 to 255, to float32, and ``masks`` uint8 ``(B, C, H, W)``, to the crop size.

        Beyond ``sizes`` images are black and masks :data:`~mmseg.structures.IGNORE`. Masks may be packed (C = 1, see
        :func:`~mmseg.structures.pack_masks`): they are only moved. Further keys: ``sizes`` ``(B, 2)``, on the CPU, height and
        width of each photograph inside the padded batch; ``points``, lesion pixels of each photograph (see
        :func:`~mmseg.datasets.sampling.lesion_points`), read only of those whose window is placed on a lesion; ``random``, a
        :class:`~mmseg.datasets.transforms.BatchRandom`.
        """
        return resample(batch, *self.draw(batch["random"], batch["sizes"].float(), batch["points"]), self.crop_size)

    def draw(self, random: Any, sizes: Tensor, points: Sequence[list[Tensor]]) -> tuple[Tensor, Tensor]:
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
        for i in wanted.nonzero().flatten().tolist():  # others may not have been searched for yet
            pixels = self._choose(points[i], float(which[i]))
            if pixels is not None:  # a float32 share rounds up to 1 once in 30 million draws
                centre[i] = pixels[min(int(nth[i] * len(pixels)), len(pixels) - 1)].flip(0) + 0.5 + offset[i]
        return centre, matrix

    def _choose(self, lesions: list[Tensor], share: float) -> Tensor | None:
        """The pixels of the lesion that lies at a share (0 to 1) of the weights of those that occur; None where none does."""
        if self.lesion_weights is not None and len(self.lesion_weights) < len(lesions):
            raise UserError(f"BatchRandomAffine.lesion_weights: got {len(self.lesion_weights)} numbers, expected one for each of "
                            f"{len(lesions)} lesions or classes without class 0")
        weights = [0.0 if len(p) == 0 else 1.0 if self.lesion_weights is None else self.lesion_weights[c]
                   for c, p in enumerate(lesions)]
        bounds = list(itertools.accumulate(weights))
        if not bounds or bounds[-1] == 0:
            return None
        return lesions[bisect.bisect_right(bounds, min(share, 1 - 2**-24) * bounds[-1])]


def resample(batch: dict[str, Any], centre: Tensor, matrix: Tensor, crop_size: tuple[int, int]) -> dict[str, Any]:
    """Cut a window out of every photograph and its masks.

    Args:
        batch: as in :meth:`BatchRandomAffine.__call__`; changed.
        centre: ``(B, 2)`` (x, y) in pixels of the photograph, on the CPU.
        matrix: ``(B, 2, 2)`` from window to photograph, on the CPU.
        crop_size: ``(h, w)`` in pixels.
    """
    affine = sent_to(batch["images"].device, torch.cat([matrix, centre[:, :, None]], 2))
    x, y = window_positions(affine, crop_size)
    batch["masks"] = sample_nearest(batch["masks"], x, y)
    batch["images"] = sample_bilinear(batch["images"], x, y)
    batch["sizes"] = torch.tensor(crop_size).expand(len(affine), 2)
    return batch


def window_positions(affine: Tensor, crop_size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Where each pixel of the window lies in the photograph.

    Args:
        affine: ``(B, 2, 3)``, matrix and centre from :meth:`BatchRandomAffine.draw`.
        crop_size: ``(h, w)`` in pixels.

    Returns:
        x and y ``(B, h, w)`` in pixels; the upper left pixel of the photograph spans 0 to 1.
    """
    height, width = crop_size
    v = (torch.arange(height, device=affine.device) + 0.5 - height / 2)[:, None]
    u = torch.arange(width, device=affine.device) + 0.5 - width / 2
    x, y = (row[..., None, None] for row in affine.unbind(1))
    return x[:, 0] * u + (x[:, 1] * v + x[:, 2]), y[:, 0] * u + (y[:, 1] * v + y[:, 2])


def sample_bilinear(images: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Sample ``(B, C, H, W)`` at pixel positions ``(B, h, w)``; float32, zero outside."""
    height, width = images.shape[2:]
    grid = x.new_empty(*x.shape, 2)
    torch.mul(x, 2 / width, out=grid[..., 0])
    torch.mul(y, 2 / height, out=grid[..., 1])
    parts = len(images) if images.device.type == "cpu" else 1  # one photograph in float32 fits a cache, a batch does not
    pairs = zip(images.chunk(parts), grid.sub_(1).chunk(parts), strict=True)
    return torch.cat([F.grid_sample(part.float(), at, padding_mode="zeros", align_corners=False) for part, at in pairs])


def sample_nearest(masks: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Take the mask pixel that contains each position, exactly; :data:`~mmseg.structures.IGNORE` outside.

    Args:
        masks: uint8 ``(B, C, H, W)``; what is not photograph holds :data:`~mmseg.structures.IGNORE`.
        x: ``(B, h, w)`` in pixels.
        y: ``(B, h, w)`` in pixels.
    """
    height, width = masks.shape[2:]
    framed = F.pad(masks, (1, 1, 1, 1), value=IGNORE)  # positions outside fall on the frame
    # Places in the plane are counted in floating point, which a CPU does several times faster than in integers; exactly.
    exact = torch.float32 if (height + 2) * (width + 2) < 2**24 else torch.float64
    row = (y + 1).clamp_(0, height + 1).floor_().to(exact)
    column = (x + 1).clamp_(0, width + 1).floor_().to(exact)
    place = row.mul_(width + 2).add_(column).long().flatten(1)
    taken = framed.flatten(2).gather(2, place[:, None].expand(-1, masks.shape[1], -1))
    return taken.view(*masks.shape[:2], *x.shape[1:])
