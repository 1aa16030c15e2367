"""ResNets: dilations, shapes, key names, and what the options do; ShallowNet's shapes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mmseg.models import ResNet, ResNetV1c, ShallowNet
from mmseg.models.backbones import resnet
from mmseg.models.layers import DepthwiseConv2d
from mmseg.registry import MODELS

DILATED = {"strides": (1, 2, 1, 1), "dilations": (1, 1, 2, 4), "contract_dilation": True}
BACKBONES = {
    "ResNet": {"type": "ResNet", "depth": 18, **DILATED},
    "ResNetV1c": {"type": "ResNetV1c", "depth": 18, **DILATED},
    "ShallowNet": {"type": "ShallowNet", "in_channels": 3},
}


def test_every_registered_backbone_is_here() -> None:
    modules = {name for name, cls in MODELS.module_dict.items() if cls.__module__.startswith("mmseg.models.backbones")}
    assert modules == set(BACKBONES)
    assert len(modules) == 3


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("size", [(64, 64), (97, 131), (33, 33)])
def test_features_shrink_by_their_strides(name: str, size: tuple[int, int]) -> None:
    strides = (4, 8, 16) if name == "ShallowNet" else (4, 8, 8, 8)
    features = MODELS.build(BACKBONES[name]).eval()(torch.randn(1, 3, *size))
    assert [tuple(f.shape[2:]) for f in features] == [tuple(-(-side // stride) for side in size) for stride in strides]


@pytest.mark.parametrize("name", BACKBONES)
def test_every_parameter_learns(name: str) -> None:
    cfg = BACKBONES[name] if name == "ShallowNet" else {**BACKBONES[name], "zero_init_residual": False}
    model = MODELS.build(cfg)
    model(torch.randn(1, 3, 64, 64))[-1].square().mean().backward()
    assert [key for key, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []


def test_dilations_of_basic_blocks() -> None:
    model = ResNetV1c(18, **DILATED)
    found = {name: (conv.dilation[0], conv.padding[0]) for name, conv in model.named_modules()
             if isinstance(conv, nn.Conv2d) and ".conv" in name}
    first = {"layer1": (1, 1), "layer2": (1, 1), "layer3": (1, 2), "layer4": (2, 4)}
    expected = {}
    for layer, dilations in first.items():
        for block, dilation in enumerate(dilations):
            expected[f"{layer}.{block}.conv1"] = (dilation, dilation)
            expected[f"{layer}.{block}.conv2"] = (1, 1)
    assert found == expected


def test_dilations_of_bottlenecks() -> None:
    model = ResNet(50, **DILATED)
    assert [block.conv2.dilation[0] for block in model.layer3] == [1, 2, 2, 2, 2, 2]
    assert [block.conv2.dilation[0] for block in model.layer4] == [2, 4, 4]
    assert {block.conv1.dilation[0] for block in model.layer4} == {1}
    assert [f.shape[1] for f in model.eval()(torch.randn(1, 3, 64, 64))] == [256, 512, 1024, 2048]


@pytest.mark.parametrize(("depth", "count"), [(18, 11_176_512), (34, 21_284_672), (50, 23_508_032)])
def test_parameter_counts_are_torchvisions_without_the_classifier(depth: int, count: int) -> None:
    assert sum(p.numel() for p in ResNet(depth).parameters()) == count


def test_plain_keys_are_torchvisions() -> None:
    keys = set(ResNet(18).state_dict())
    assert {"conv1.weight", "bn1.running_var", "layer1.0.conv1.weight", "layer2.0.downsample.0.weight",
            "layer2.0.downsample.1.weight", "layer4.1.bn2.bias"} <= keys
    assert not any(key.startswith(("stem", "layer1.0.downsample")) for key in keys)


@pytest.mark.parametrize(("style", "strides"), [("pytorch", (1, 2)), ("caffe", (2, 1))])
def test_style_places_the_stride(style: str, strides: tuple[int, int]) -> None:
    block = ResNet(50, style=style).layer2[0]
    assert (block.conv1.stride[0], block.conv2.stride[0]) == strides


def test_a_residual_starts_at_zero_only_if_asked() -> None:
    assert ResNet(18).layer1[0].bn2.weight.abs().max() == 0
    assert ResNet(50).layer1[0].bn3.weight.abs().max() == 0
    assert ResNet(18, zero_init_residual=False).layer1[0].bn2.weight.min() == 1


def test_frozen_stages_stay_frozen_in_training() -> None:
    model = ResNet(18, frozen_stages=1, norm_eval=True).train()
    frozen = {name.split(".")[0] for name, p in model.named_parameters() if not p.requires_grad}
    assert frozen == {"conv1", "bn1", "layer1"}
    assert not any(m.training for m in model.modules() if isinstance(m, nn.BatchNorm2d))
    assert not model.layer1.training and model.layer2.training


def test_recomputing_changes_no_gradient() -> None:
    torch.manual_seed(0)
    plain, recomputing = ResNet(18, zero_init_residual=False), ResNet(18, zero_init_residual=False, with_cp=True)
    recomputing.load_state_dict(plain.state_dict())
    x = torch.randn(2, 3, 64, 64)
    for model in (plain, recomputing):
        model(x)[-1].square().mean().backward()
    torch.testing.assert_close(plain.conv1.weight.grad, recomputing.conv1.weight.grad)


def test_avg_down_pools_before_a_plain_1x1() -> None:
    model = ResNetV1c(18, avg_down=True).eval()
    assert isinstance(model.layer2[0].downsample[0], nn.AvgPool2d)
    assert model.layer2[0].downsample[1].stride == (1, 1)
    assert model(torch.randn(1, 3, 97, 131))[-1].shape == (1, 512, 4, 5)


@pytest.mark.parametrize(("kwargs", "message"), [
    ({"depth": 101}, r"depth=101, expected one of \[18, 34, 50\]"),
    ({"depth": 18, "strides": (1, 2)}, "num_stages=4 with 2 strides"),
    ({"depth": 18, "out_indices": (4,)}, r"out_indices=\(4,\)"),
    ({"depth": 18, "style": "tf"}, "style='tf'"),
])
def test_mistakes_are_named(kwargs: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ResNet(**kwargs)


def test_shallow_net_channels() -> None:
    assert [f.shape[1] for f in ShallowNet(6)(torch.randn(1, 6, 64, 64))] == [64, 256, 512]


def test_both_blocks_are_exported() -> None:
    assert (resnet.BasicBlock.expansion, resnet.Bottleneck.expansion) == (1, 4)


def test_depthwise_gradients_are_those_of_float32_under_autocast_on_a_cpu() -> None:
    torch.manual_seed(0)
    conv = DepthwiseConv2d(6, 3, stride=2)
    x = torch.randn(2, 6, 9, 8).bfloat16().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        y = conv(x)
    assert y.dtype == torch.bfloat16
    y.float().square().sum().backward()
    exact = torch.nn.functional.conv2d(x.detach().float(), conv.weight.detach(), stride=2, padding=1, groups=6)
    torch.testing.assert_close(y.float(), exact, rtol=0.01, atol=0.01)
    weight = conv.weight.detach().clone().requires_grad_()
    gradient = 2 * y.detach().float()
    torch.nn.functional.conv2d(x.detach().float(), weight, stride=2, padding=1, groups=6).backward(gradient.bfloat16().float())
    torch.testing.assert_close(conv.weight.grad, weight.grad, rtol=1e-4, atol=1e-3)
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        assert conv(x).dtype == torch.bfloat16
