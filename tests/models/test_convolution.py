"""Convolutions that compute their weights' gradient in contiguous order, against torch's own in float64."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmseg.models.layers import Conv2d, conv2d, convolution, use_fast_weight_gradients


@pytest.fixture
def avx2(monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine, taken for one with AVX2 and nothing wider."""
    monkeypatch.setattr(convolution, "prefers_planar_weight_gradients", lambda: True)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).contiguous(memory_format=torch.channels_last)


@pytest.mark.usefixtures("avx2")
@pytest.mark.parametrize("stride, padding, dilation", [(1, 1, 1), (2, 1, 1), (1, 6, 6), (1, 0, 1)])
def test_values_and_gradients_are_those_of_float64(stride: int, padding: int, dilation: int) -> None:
    x, weight = random(2, 5, 17, 14), random(7, 5, 3, 3, seed=1)
    expected_of = x.double().requires_grad_(), weight.double().requires_grad_()
    expected = F.conv2d(*expected_of, None, stride, padding, dilation)
    factor = random(*expected.shape, seed=2)
    (expected * factor).sum().backward()
    of = x.requires_grad_(), weight.requires_grad_()
    result = conv2d(*of, (stride, stride), (padding, padding), (dilation, dilation))
    assert result.grad_fn is not None and "_Convolution" in type(result.grad_fn).__name__
    (result * factor).sum().backward()
    torch.testing.assert_close(result.double(), expected, atol=1e-4, rtol=1e-5)
    for tensor, reference in zip(of, expected_of, strict=True):
        assert tensor.grad is not None and reference.grad is not None
        torch.testing.assert_close(tensor.grad.double(), reference.grad, atol=1e-3, rtol=1e-5)
    assert weight.grad is not None and weight.grad.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.usefixtures("avx2")
def test_an_image_that_needs_no_gradient_gets_none() -> None:
    x, weight = random(1, 3, 8, 8), random(4, 3, 3, 3, seed=1).requires_grad_()
    conv2d(x, weight).sum().backward()
    assert x.grad is None and weight.grad is not None


@pytest.mark.usefixtures("avx2")
def test_under_autocast_torch_decides() -> None:
    x, weight = random(1, 3, 8, 8).requires_grad_(), random(4, 3, 3, 3, seed=1).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        result = conv2d(x, weight)
    result.float().sum().backward()
    assert result.dtype == torch.bfloat16 and weight.grad is not None and weight.grad.dtype == torch.float32


@pytest.mark.usefixtures("avx2")
def test_only_what_gains_is_changed_and_nothing_else_of_it() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.Conv2d(4, 4, 1, bias=False), nn.Conv2d(4, 4, 3, groups=4, bias=False),
        nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect", bias=False),
        nn.Conv2d(4, 4, 3, padding="same", bias=False),
    )
    before, x = copy.deepcopy(model), random(1, 3, 12, 12)
    use_fast_weight_gradients(model)
    assert [type(module) is Conv2d for module in model] == [True, False, False, False, False, False]
    assert model.state_dict().keys() == before.state_dict().keys()
    torch.testing.assert_close(model(x), before(x), atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(copy.deepcopy(model)(x), before(x), atol=1e-6, rtol=1e-6)  # as EMAHook copies it


def test_elsewhere_nothing_is_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convolution, "prefers_planar_weight_gradients", lambda: False)
    model = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False))
    use_fast_weight_gradients(model)
    assert type(model[0]) is nn.Conv2d
    assert "_Convolution" not in type(conv2d(random(1, 3, 8, 8), random(4, 3, 3, 3).requires_grad_()).grad_fn).__name__
