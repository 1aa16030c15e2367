"""From probabilities at the working size to masks at the photograph's size, in bounded memory."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["enlarge", "enlarged_classes", "enlarged_masks"]

_ROWS = 64
"""Rows of a band: one lesion's band of a wide photograph is 1 MiB, which a processor's cache holds."""


def enlarge(probabilities: Tensor, size: tuple[int, int]) -> Tensor:
    """Enlarge bilinearly, as ``F.interpolate(..., mode="bilinear")`` up to rounding.

    Args:
        probabilities: float32 ``(C, h, w)``.
        size: ``(H, W)`` in pixels.

    Returns:
        float32 ``(C, H, W)``.
    """
    wide = _widened(probabilities, size)
    enlarged = wide.new_empty(len(wide), *size)
    for rows, first, second, share in _bands(wide.shape[1], size[0], wide.device):
        for c in range(len(wide)):
            enlarged[c, rows] = _between(wide[c], first, second, share)
    return enlarged


def enlarged_masks(probabilities: Tensor, size: tuple[int, int], thresholds: Sequence[float]) -> tuple[Tensor, Tensor]:
    """What :func:`enlarge` gives, above thresholds; bands in which a lesion stays below its own are passed over.

    Args:
        probabilities: float32 ``(C, h, w)``, 0 to 1.
        size: ``(H, W)`` in pixels.
        thresholds: one a lesion.

    Returns:
        masks bool ``(C, H, W)``, and the index map uint8 ``(H, W)``: 0, or 1 + the likeliest lesion above its threshold.
    """
    wide = _widened(probabilities, size)
    # An interpolated value exceeds neither of the two that it lies between.
    peaks = (wide.amax(2) > torch.tensor(thresholds, device=wide.device)[:, None]).tolist()
    masks = torch.zeros(len(wide), *size, dtype=torch.bool, device=wide.device)
    index = torch.zeros(size, dtype=torch.uint8, device=wide.device)
    for rows, first, second, share in _bands(wide.shape[1], size[0], wide.device):
        most: Tensor | None = None
        top, bottom = _span(rows, wide.shape[1], size[0])
        for c in (c for c in range(len(wide)) if any(peaks[c][top:bottom])):
            values = _between(wide[c], first, second, share)
            seen = torch.gt(values, thresholds[c], out=masks[c, rows])
            if most is None:
                most = values.masked_fill_(~seen, -1)
                torch.mul(seen, c + 1, out=index[rows])
            else:
                better = seen & (values > most)
                most = torch.where(better, values, most)
                index[rows].masked_fill_(better, c + 1)
    return masks, index


def enlarged_classes(probabilities: Tensor, size: tuple[int, int]) -> Tensor:
    """The likeliest channel of every pixel of what :func:`enlarge` gives.

    Args:
        probabilities: float32 ``(C, h, w)``.
        size: ``(H, W)`` in pixels.

    Returns:
        uint8 ``(H, W)``.
    """
    wide = _widened(probabilities, size)
    index = torch.zeros(size, dtype=torch.uint8, device=wide.device)
    for rows, first, second, share in _bands(wide.shape[1], size[0], wide.device):
        index[rows] = torch.stack([_between(plane, first, second, share) for plane in wide]).argmax(0)
    return index


def _widened(probabilities: Tensor, size: tuple[int, int]) -> Tensor:
    """``(C, h, w)`` to ``(C, h, W)``."""
    shape = (probabilities.shape[1], size[1])
    if shape == tuple(probabilities.shape[1:]):
        return probabilities
    return F.interpolate(probabilities[None], size=shape, mode="bilinear", align_corners=False)[0]


def _bands(height: int, enlarged: int, device: torch.device) -> list[tuple[slice, Tensor, Tensor, Tensor]]:
    """For each band its rows, the two source rows of each, and the share ``(rows, 1)`` of the second."""
    source = ((torch.arange(enlarged) + 0.5) * (height / enlarged) - 0.5).clamp_(min=0)
    first = source.long()
    second, share = (first + 1).clamp_(max=height - 1), (source - first)[:, None]
    parts = [slice(start, min(start + _ROWS, enlarged)) for start in range(0, enlarged, _ROWS)]
    first, second, share = first.to(device), second.to(device), share.to(device)
    return [(rows, first[rows], second[rows], share[rows]) for rows in parts]


def _span(rows: slice, height: int, enlarged: int) -> tuple[int, int]:
    """From the first to past the last source row of a band, rounded outwards."""
    return max(0, rows.start * height // enlarged - 1), rows.stop * height // enlarged + 2


def _between(plane: Tensor, first: Tensor, second: Tensor, share: Tensor) -> Tensor:
    return plane.index_select(0, first).mul_(1 - share).addcmul_(plane.index_select(0, second), share)
