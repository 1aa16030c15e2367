"""The convolution of a doubled image, against the doubled image."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mmseg.models.layers import conv_of_doubled


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (8, 6)])
@pytest.mark.parametrize("bias", [True, False])
def test_values_and_gradients_are_those_of_the_doubled_image(size: tuple[int, int], bias: bool) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(3, 4, 3, padding=1, bias=bias, dtype=torch.float64)
    x = torch.randn(2, 3, *size, dtype=torch.float64, requires_grad=True)
    ours, plain = conv_of_doubled(x, conv), conv(F.interpolate(x, scale_factor=2, mode="nearest"))
    torch.testing.assert_close(ours, plain)
    weight = torch.randn_like(plain)
    inputs = [x, *conv.parameters()]
    for one, other in zip(torch.autograd.grad(ours, inputs, weight), torch.autograd.grad(plain, inputs, weight), strict=True):
        torch.testing.assert_close(one, other)
