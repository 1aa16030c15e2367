"""What plug-ins written for mmsegmentation import from here."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

__all__ = ["resize"]


def resize(
    input: Tensor, size: Sequence[int] | None = None, scale_factor: float | None = None, mode: str = "nearest",
    align_corners: bool | None = None, warning: bool = True,
) -> Tensor:
    """``torch.nn.functional.interpolate`` of ``(B, C, H, W)``; ``warning`` is accepted and does nothing."""
    return F.interpolate(input, size if size is None else tuple(size), scale_factor, mode, align_corners)
