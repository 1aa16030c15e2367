"""The initialiser ``Pretrained``, always through BaseModule.init_weights."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from mmengine.registry import DefaultScope
from torch import Tensor, nn
from zoo import build, fcn_cfg

from mmseg.models import ResNet, ResNetV1c, ShallowNet
from mmseg.models.backbones import pretrained
from mmseg.utils import UserError


@pytest.fixture(params=["no scope", "mmseg"], autouse=True)
def scope(request: pytest.FixtureRequest) -> Iterator[None]:
    with DefaultScope.overwrite_default_scope(None if request.param == "no scope" else "mmseg"):
        yield


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, str]]:
    lines: list[tuple[int, str]] = []
    monkeypatch.setattr(pretrained, "print_log",
                        lambda text, logger=None, level=logging.INFO: lines.append((level, text)))
    return lines


def filled(model: nn.Module) -> dict[str, Tensor]:
    """A state no initialiser would give, so that what was loaded is told from what was not."""
    return {key: torch.full_like(value, 7 + i) for i, (key, value) in enumerate(model.state_dict().items())
            if not key.endswith("num_batches_tracked")}


def loaded_keys(model: nn.Module, state: dict[str, Tensor]) -> set[str]:
    return {key for key, value in model.state_dict().items() if key in state and torch.equal(value, state[key])}


SMALL = dict(base_channels=8, stem_channels=8)
"""Of a ResNet whose checkpoint has not 47 MB."""


def init(cls: type[nn.Module], path: Path, *args: object, **kwargs: object) -> nn.Module:
    model = cls(*args, init_cfg={"type": "Pretrained", "checkpoint": str(path)}, **kwargs)
    model.init_weights()
    return model


@pytest.mark.parametrize("layout", ["plain", "mmpretrain", "module"])
def test_every_tensor_of_a_plain_resnet_loads(layout: str, tmp_path: Path, log: list) -> None:
    state = filled(ResNet(18, **SMALL))
    content: dict = {**state, "fc.weight": torch.zeros(1000, 64), "fc.bias": torch.zeros(1000)}
    if layout == "mmpretrain":
        content = {"meta": {"epoch": 100}, "state_dict": {
            **{f"backbone.{key}": value for key, value in state.items()}, "head.fc.weight": torch.zeros(1000, 64)}}
    elif layout == "module":
        content = {"state_dict": {f"module.{key}": value for key, value in content.items()}}
    path = tmp_path / "resnet18.pth"
    torch.save(content, path)
    model = init(ResNet, path, 18, **SMALL)
    assert loaded_keys(model, state) == set(state)
    assert model.init_source == f"resnet18.pth sha256:{hashlib.sha256(path.read_bytes()).hexdigest()[:12]}"
    assert [level for level, _ in log] == [logging.INFO]


@pytest.mark.parametrize(("source", "target", "stem"), [(ResNet, ResNetV1c, "stem."), (ResNetV1c, ResNet, "conv1.")])
def test_another_stem_is_left_out_by_name(
    source: type[nn.Module], target: type[nn.Module], stem: str, tmp_path: Path, log: list,
) -> None:
    state = filled(source(18, **SMALL))
    torch.save(state, tmp_path / "other.pth")
    model = init(target, tmp_path / "other.pth", 18, **SMALL)
    assert loaded_keys(model, state) == {key for key in state if key.startswith("layer")}
    level, text = log[-1]
    assert level == logging.WARNING
    assert f"{stem}" in text and next(key for key in state if not key.startswith("layer")) in text


def test_stdc_weights_fit_a_six_channel_shallow_net(tmp_path: Path, log: list) -> None:
    state = filled(ShallowNet(3))
    state["features.0.conv.weight"] = torch.randn(32, 3, 3, 3)
    torch.save({"state_dict": {**state, "features.6.conv_list.0.conv.weight": torch.zeros(512, 512, 1, 1)}}, tmp_path / "s.pth")
    model = init(ShallowNet, tmp_path / "s.pth", 6)
    assert loaded_keys(model, state) == set(state) - {"features.0.conv.weight"}
    stem = state["features.0.conv.weight"]
    torch.testing.assert_close(model.features[0].conv.weight.detach(), torch.cat([stem, stem], 1))
    assert model.init_source.startswith("s.pth sha256:")


def test_an_absent_file_is_one_warning(tmp_path: Path, log: list) -> None:
    path = tmp_path / "resnet18.pth"
    model = init(ResNet, path, 18, **SMALL)
    assert model.init_source == "scratch"
    assert len(log) == 1
    level, text = log[0]
    assert level == logging.WARNING
    assert str(path) in text and "training from scratch" in text and "put the file there" in text


class Attack:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("writer", ["pickle", "torch"])
def test_a_crafted_pickle_does_not_run(writer: str, tmp_path: Path) -> None:
    path, target = tmp_path / "evil.pth", tmp_path / "executed"
    if writer == "pickle":
        path.write_bytes(pickle.dumps({"state_dict": Attack(target)}, protocol=2))
    else:
        torch.save({"conv1.weight": torch.zeros(1), "x": Attack(target)}, path)
    with pytest.raises(UserError, match=r"evil\.pth: cannot be read as pretrained weights.*Fix:"):
        init(ResNet, path, 18, **SMALL)
    assert not target.exists()
    with contextlib.suppress(Exception):
        torch.load(path, weights_only=False)
    assert target.exists(), "the file is harmless, so the test shows nothing"


@pytest.mark.parametrize(("content", "message"), [
    (b"not a checkpoint", "cannot be read"), (b"", "cannot be read"), ([1, 2], "holds no tensors by name; got list"),
    ({"epoch": 3}, "holds no tensors by name"), ({"a.weight": torch.zeros(1)}, "none of its 1 tensors fits ResNet"),
])
def test_useless_files_are_the_users_error(content: object, message: str, tmp_path: Path) -> None:
    path = tmp_path / "file.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    with pytest.raises(UserError, match=message):
        init(ResNet, path, 18, **SMALL)


def test_a_segmentor_hands_pretrained_to_its_backbone(tmp_path: Path, log: list) -> None:
    state = filled(ResNet(**{key: value for key, value in fcn_cfg()["backbone"].items() if key != "type"}))
    torch.save(state, tmp_path / "small.pth")
    with DefaultScope.overwrite_default_scope("mmseg"):
        model = build(fcn_cfg(pretrained=str(tmp_path / "small.pth")))
    model.init_weights()
    assert loaded_keys(model.backbone, state) == set(state)


def test_an_address_is_looked_for_at_home(tmp_path: Path, log: list, monkeypatch: pytest.MonkeyPatch) -> None:
    """As mmsegmentation's configs of models have it; nothing is downloaded."""
    monkeypatch.setenv("SDCNET_HOME", str(tmp_path))
    (tmp_path / "model").mkdir()
    state = filled(ResNet(**{key: value for key, value in fcn_cfg()["backbone"].items() if key != "type"}))
    torch.save(state, tmp_path / "model/resnet18_v1c-b5776b93.pth")
    with DefaultScope.overwrite_default_scope("mmseg"):
        model = build(fcn_cfg(pretrained="open-mmlab://resnet18_v1c"))
    model.init_weights()
    assert loaded_keys(model.backbone, state) == set(state)


def test_a_list_of_initialisers_keeps_the_others(tmp_path: Path, log: list) -> None:
    torch.save({"conv1.weight": torch.full((8, 3, 7, 7), 2.0)}, tmp_path / "stem.pth")
    model = ResNet(18, **SMALL, init_cfg=[{"type": "Constant", "val": 0.25, "layer": "Conv2d"},
                                 {"type": "Pretrained", "checkpoint": str(tmp_path / "stem.pth")}])
    model.init_weights()
    assert model.conv1.weight.unique().tolist() == [2.0]
    assert model.layer1[0].conv1.weight.unique().tolist() == [0.25]
