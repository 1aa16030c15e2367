"""Relation-aware fusion and DSWM against their equations, written out in float64."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from torch import Tensor, nn

from mmseg.models import DSWM, RelationAwareFusion


def randomise(module: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(0)
    for parameter in module.parameters():
        parameter.data = 0.3 * torch.randn(parameter.shape, generator=generator)
    for name, buffer in module.named_buffers():
        if name.endswith("running_var"):
            buffer.copy_(0.5 + torch.rand(buffer.shape, generator=generator))
        elif name.endswith("running_mean"):
            buffer.copy_(0.3 * torch.randn(buffer.shape, generator=generator))
    return module.double().eval()


def conv_bn(block: ConvModule, x: Tensor, relu: bool = True) -> Tensor:
    x = F.conv2d(x, block.conv.weight, padding=block.conv.kernel_size[0] // 2)
    mean, var, weight, bias = (t[:, None, None] for t in (block.bn.running_mean, block.bn.running_var, block.bn.weight,
                                                          block.bn.bias))
    x = (x - mean) / (var + 1e-5).sqrt() * weight + bias
    return x.clamp(min=0) if relu else x


def mlp(layers: nn.Sequential, x: Tensor) -> Tensor:
    hidden = (layers[0].weight @ x + layers[0].bias).clamp(min=0)
    return layers[2].weight @ hidden + layers[2].bias


def relation_row_by_row(first: Tensor, second: Tensor, groups: int) -> Tensor:
    width = len(first) // groups
    return torch.stack([
        sum(first[i * width + k] * second[j * width + k] for k in range(width)) for i in range(groups) for j in range(groups)])


@pytest.fixture
def features() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return (torch.randn(2, 12, 9, 11, generator=generator, dtype=torch.float64),
            torch.randn(2, 10, 5, 6, generator=generator, dtype=torch.float64))


def test_raf_equations(features: tuple[Tensor, Tensor]) -> None:
    module = randomise(RelationAwareFusion(12, 10, channels=8, relation_groups=4))
    fused, context = module(*features)
    for i in range(2):
        shallow, deep = features[0][i:i + 1], features[1][i:i + 1]
        f_s, f_c = conv_bn(module.spatial_att.conv_bn_relu, shallow), conv_bn(module.context_att.conv_bn_relu, deep)
        a_s = conv_bn(module.spatial_att.conv_1x1, f_s.mean((2, 3), keepdim=True), relu=False).flatten()
        a_c = conv_bn(module.context_att.conv_1x1, f_c.mean((2, 3), keepdim=True), relu=False).flatten()
        related = relation_row_by_row(a_s, a_c, 4)
        w_s = 1 / (1 + torch.exp(-(a_s + module.g1 * mlp(module.spatial_mlp, related).clamp(min=0))))
        w_c = 1 / (1 + torch.exp(-(a_c + module.g2 * mlp(module.context_mlp, related).clamp(min=0))))
        weighted = F.interpolate(w_c[:, None, None] * f_c, size=(9, 11), mode="bilinear", align_corners=False)
        expected_context = conv_bn(module.context_head, weighted)
        expected = conv_bn(module.smooth, w_s[:, None, None] * f_s + expected_context, relu=False)
        torch.testing.assert_close(context[i:i + 1], expected_context)
        torch.testing.assert_close(fused[i:i + 1], expected)


def test_dswm_equations(features: tuple[Tensor, Tensor]) -> None:
    module = randomise(DSWM(12, 10, channels=8, spatial_channels=3))
    fused, (w_s, w_d) = module(*features), module.weights(*features)
    s, d = conv_bn(module.shallow_branch, features[0]), conv_bn(module.deep_branch, features[1])
    d = F.interpolate(d, size=(9, 11), mode="bilinear", align_corners=False)
    hidden = conv_bn(module.spatial[0], torch.cat([s, d, abs(s - d)], 1))
    e_s, e_d = F.conv2d(hidden, module.spatial[1].weight, module.spatial[1].bias, padding=1).exp().split(1, dim=1)
    expected_s, expected_d = e_s / (e_s + e_d), e_d / (e_s + e_d)
    torch.testing.assert_close(w_s.double(), expected_s, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(w_d.double(), expected_d, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(fused, conv_bn(module.smooth, expected_s * s + expected_d * d), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("autocast", [False, True])
def test_dswm_weights_are_convex(features: tuple[Tensor, Tensor], autocast: bool) -> None:
    module = randomise(DSWM(12, 10, channels=32)).float()
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        w_s, w_d = module.weights(*(feature.float() for feature in features))
    assert w_s.dtype == w_d.dtype == torch.float32
    assert w_s.shape == w_d.shape == (2, 1, 9, 11)
    torch.testing.assert_close(w_s + w_d, torch.ones_like(w_s))
    assert w_s.min() >= 0 and w_s.max() <= 1
    assert w_s.std() > 0.01


def test_dswm_starts_with_equal_weights(features: tuple[Tensor, Tensor]) -> None:
    w_s, w_d = DSWM(12, 10, channels=32).weights(*(feature.float() for feature in features))
    assert (w_s == 0.5).all() and (w_d == 0.5).all()


@pytest.mark.parametrize("fusion", [RelationAwareFusion, DSWM])
def test_a_batch_of_one_trains_every_parameter(fusion: type[nn.Module]) -> None:
    module = fusion(12, 10, channels=32)
    for name, parameter in module.named_parameters():
        if name in ("g1", "g2") or name.startswith("spatial.1"):
            parameter.data.fill_(0.5)
    out = module(torch.randn(1, 12, 9, 11), torch.randn(1, 10, 5, 6))
    (out[0] if isinstance(out, tuple) else out).square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in module.parameters())
