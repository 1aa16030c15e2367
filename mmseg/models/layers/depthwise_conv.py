"""A depthwise convolution that trains at its speed on a CPU, too."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["DepthwiseConv2d"]


class DepthwiseConv2d(nn.Conv2d):
    """``nn.Conv2d`` with one group a channel, whose gradients a CPU computes in float32 also under autocast.

    oneDNN has no fast bfloat16 kernel for them: they took 2 to 9 times as long as in float32 (docs/performance.md). Without
    gradients, and on a GPU, autocast decides.

    Args:
        channels: of input and output.
        kernel_size: odd.
        stride: 1 or 2.
    """

    def __init__(self, channels: int, kernel_size: int, stride: int = 1) -> None:
        super().__init__(channels, channels, kernel_size, stride, kernel_size // 2, groups=channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, H, W)`` to ``(B, C, ceil(H / stride), ceil(W / stride))``, of the input's type."""
        if x.device.type != "cpu" or not torch.is_grad_enabled():
            return super().forward(x)
        with torch.autocast("cpu", enabled=False):
            return super().forward(x.float()).to(x.dtype)
