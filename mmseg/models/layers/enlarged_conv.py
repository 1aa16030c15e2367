"""A 3x3 convolution of a doubled image, without the doubled image."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from mmseg.models.layers.convolution import conv2d

__all__ = ["conv_of_doubled"]


@cache
def _taps(dtype: torch.dtype, device: torch.device) -> Tensor:
    """Which of a 3-tap kernel's taps fall on each of two neighbouring pixels: for an even output pixel, for an odd one.

    Made once for each device, since a copy to a GPU waits for all that it has to do.
    """
    with torch.inference_mode(False):
        return torch.tensor([[[1, 0, 0], [0, 1, 1]], [[1, 1, 0], [0, 0, 1]]], dtype=dtype, device=device)


def conv_of_doubled(x: Tensor, conv: nn.Conv2d) -> Tensor:
    """``conv(F.interpolate(x, scale_factor=2, mode="nearest"))``, with 4 products a pixel and channel instead of 9.

    Pixels of the doubled image come in equal pairs, so that the nine taps of an output pixel fall on only 2x2 pixels of
    ``x``; which, depends on whether its row and column are even. The four 2x2 kernels of sums of taps are one convolution
    with four times the channels, whose result is woven together. Equal up to rounding; our own use of the sub-pixel
    convolution (Shi et al., CVPR 2016).

    Args:
        x: ``(B, C, H, W)``.
        conv: 3x3, stride 1, zero padding 1, not dilated, not grouped.

    Returns:
        ``(B, conv.out_channels, 2H, 2W)``, in channels-last memory order.
    """
    with torch.autocast(x.device.type, enabled=False):
        taps = _taps(conv.weight.dtype, conv.weight.device)
        kernels = torch.einsum("aur,oirs,bvs->aboiuv", taps, conv.weight, taps).flatten(0, 2)
    kernels = kernels.contiguous(memory_format=torch.channels_last)
    result = conv2d(x, kernels, padding=(1, 1))
    return _Weave.apply(result if conv.bias is None else result + conv.bias.repeat(4).view(-1, 1, 1))


class _Weave(torch.autograd.Function):
    """Channels (row parity, column parity, C) of ``(B, 4C, H + 1, W + 1)`` to the pixels of ``(B, C, 2H, 2W)``.

    An even pixel 2i lies between the pixels i - 1 and i of the padded image, an odd one between i and i + 1.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        pixels = x.permute(0, 2, 3, 1).unflatten(3, (2, 2, channels // 4))
        woven = x.new_empty(batch, height - 1, 2, width - 1, 2, channels // 4)
        for a in (0, 1):
            for b in (0, 1):
                woven[:, :, a, :, b] = pixels[:, a : a + height - 1, b : b + width - 1, a, b]
        return woven.flatten(3, 4).flatten(1, 2).permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        batch, channels, height, width = gradient.shape
        woven = gradient.permute(0, 2, 3, 1).unflatten(2, (width // 2, 2)).unflatten(1, (height // 2, 2))
        pixels = gradient.new_empty(batch, height // 2 + 1, width // 2 + 1, 2, 2, channels)
        for a in (0, 1):
            pixels[:, (a - 1) % (height // 2 + 1), :, a] = 0  # the row and the column that no output pixel takes
            for b in (0, 1):
                pixels[:, :, (b - 1) % (width // 2 + 1), a, b] = 0
                pixels[:, a : a + height // 2, b : b + width // 2, a, b] = woven[:, :, a, :, b]
        return pixels.flatten(3).permute(0, 3, 1, 2)
