"""What plug-ins written for mmsegmentation import from here."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["Upsample", "resize"]


def resize(
    input: Tensor, size: Sequence[int] | None = None, scale_factor: float | None = None, mode: str = "nearest",
    align_corners: bool | None = None, warning: bool = True,
) -> Tensor:
    """``torch.nn.functional.interpolate`` of ``(B, C, H, W)``; ``warning`` is accepted and does nothing."""
    return F.interpolate(input, size if size is None else tuple(size), scale_factor, mode, align_corners)


class Upsample(nn.Module):
    """:func:`resize` as a module.

    Args:
        size: ``(H, W)`` of the output, or None.
        scale_factor: or how many times larger it is, rounded down.
        mode: of the interpolation.
        align_corners: of the interpolation.
    """

    def __init__(
        self, size: Sequence[int] | None = None, scale_factor: float | Sequence[float] | None = None, mode: str = "nearest",
        align_corners: bool | None = None,
    ) -> None:
        super().__init__()
        self.size, self.scale_factor, self.mode, self.align_corners = size, scale_factor, mode, align_corners

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, H, W)`` to ``(B, C, H', W')``."""
        size = self.size
        if size is None:
            factors = self.scale_factor if isinstance(self.scale_factor, Sequence) else (self.scale_factor,) * 2
            size = [int(side * float(factor or 1)) for side, factor in zip(x.shape[2:], factors, strict=True)]
        return resize(x, size, mode=self.mode, align_corners=self.align_corners)
