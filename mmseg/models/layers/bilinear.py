"""Bilinear resizing as two matrix products."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["resize_by_products"]


@cache
def _weights(before: int, after: int, align_corners: bool, dtype: torch.dtype, device: torch.device) -> Tensor:
    """``(before, after)``: how much of each pixel of a line is in each pixel of the resized line, by torch's own rule."""
    with torch.inference_mode(False), torch.no_grad(), torch.autocast(device.type, enabled=False):
        line = torch.eye(before, dtype=torch.float64, device=device)[None]
        return F.interpolate(line, size=after, mode="linear", align_corners=align_corners)[0].to(dtype)


def resize_by_products(x: Tensor, size: Sequence[int], align_corners: bool = False) -> Tensor:
    """``F.interpolate(x, size, mode="bilinear")`` up to rounding: lines and columns are multiplied by their weights.

    For logits that are enlarged in training on a GPU. The gradient that torch has for this adds every pixel of the large map to
    one of the small map by an atomic operation; with few channels and a factor of 32, thousands wait for the same place, and
    their order is left to chance. The gradient of a product has neither fault. Source: our own design.

    Args:
        x: ``(B, C, h, w)``; computed in its type, under autocast, too.
        size: ``(H, W)`` in pixels.
        align_corners: as in ``F.interpolate``.

    Returns:
        ``(B, C, H, W)``.
    """
    rows = _weights(x.shape[2], size[0], align_corners, x.dtype, x.device)
    columns = _weights(x.shape[3], size[1], align_corners, x.dtype, x.device)
    with torch.autocast(x.device.type, enabled=False):
        return rows.t() @ (x @ columns)
