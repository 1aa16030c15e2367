"""Convolutions whose weights' gradient is computed in the memory order that the processor prefers."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from mmseg.utils.device import prefers_planar_weight_gradients

__all__ = ["Conv2d", "conv2d", "use_fast_weight_gradients"]


def conv2d(
    x: Tensor, weight: Tensor, stride: tuple[int, ...] = (1, 1), padding: tuple[int, ...] = (0, 0),
    dilation: tuple[int, ...] = (1, 1),
) -> Tensor:
    """``F.conv2d`` without bias and groups; only the memory order in which the weights' gradient is computed may differ.

    A processor with AVX2 and no wider instructions computes images and their gradients fastest in channels-last order, but
    the gradient of weights two to five times slower in it than in contiguous order (docs/performance.md). There, and in
    float32, that one product is computed from contiguous copies. Equal up to rounding; differentiable once.

    Args:
        x: ``(B, C, H, W)``.
        weight: ``(out, C, k, k)``.
        stride, padding, dilation: as of ``F.conv2d``, two numbers each.

    Returns:
        ``(B, out, H', W')``.
    """
    plain = x.device.type != "cpu" or torch.is_autocast_enabled("cpu") or torch.compiler.is_compiling()
    if plain or not (torch.is_grad_enabled() and weight.requires_grad and prefers_planar_weight_gradients()):
        return F.conv2d(x, weight, None, stride, padding, dilation)
    return _Convolution.apply(x, weight, list(stride), list(padding), list(dilation))


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: list[int], padding: list[int], dilation: list[int]) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.shape = stride, padding, dilation
        return F.conv2d(x, weight, None, stride, padding, dilation)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        of_x = of_weight = None
        if ctx.needs_input_grad[0]:
            of_x = _gradients(gradient, x, weight, ctx.shape, (True, False, False))[0]
        if ctx.needs_input_grad[1]:
            planar = gradient.contiguous(), x.contiguous(), weight.contiguous()
            of_weight = _gradients(*planar, ctx.shape, (False, True, False))[1].contiguous(memory_format=torch.channels_last)
        return of_x, of_weight, None, None, None


def _gradients(
    gradient: Tensor, x: Tensor, weight: Tensor, shape: tuple[list[int], ...], wanted: tuple[bool, bool, bool]
) -> tuple[Tensor, Tensor, Tensor]:
    return torch.ops.aten.convolution_backward(gradient, x, weight, None, *shape, False, [0, 0], 1, wanted)


class Conv2d(nn.Conv2d):
    """:class:`torch.nn.Conv2d` by :func:`conv2d`."""

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return conv2d(input, weight, self.stride, self.padding, self.dilation)  # type: ignore[arg-type]


def use_fast_weight_gradients(model: nn.Module) -> None:
    """Make the convolutions of a model that is going to be trained :class:`Conv2d`, in place, where that is faster.

    Only what has something to gain: kernels larger than 1x1, one group, zero padding in numbers, no bias. Weights, names and
    values stay.

    Args:
        model: any module, on the CPU.
    """
    if not prefers_planar_weight_gradients():
        return
    for module in model.modules():
        if type(module) is nn.Conv2d and _gains(module):
            module.__class__ = Conv2d


def _gains(conv: nn.Conv2d) -> bool:
    known = conv.groups == 1 and conv.bias is None and conv.padding_mode == "zeros" and not isinstance(conv.padding, str)
    return known and max(conv.kernel_size) > 1
