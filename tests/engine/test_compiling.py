"""torch.compile as a switch: what it changes, what it leaves alone, and what happens without a compiler."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from comparing import MakeConfig, log, logged, train
from mmengine.config import Config

from mmseg.apis import build_runner, init_model
from mmseg.engine.checkpoint import read_checkpoint
from mmseg.engine.compiling import _parts

SHORT = dict(train_cfg__max_iters=2, param_scheduler=[])


class TestWhatIsCompiled:
    def test_the_convolutional_parts_and_not_the_losses(self, run_config: MakeConfig, tmp_path: Path) -> None:
        model = build_runner(run_config(tmp_path)).bare_model
        names = {id(module): name for name, module in model.named_modules()}
        parts = [names[id(part)] for part in _parts(model)]
        assert {"backbone", "decode_head.bottleneck", "decode_head.aspp_modules.1", "refine_head.shallow_net",
                "refine_head.stages.2"} <= set(parts)
        assert not any("loss" in part or "preprocessor" in part for part in parts)
        assert not any(a.startswith(f"{b}.") for a in parts for b in parts)
        covered = {id(p) for part in _parts(model) for p in part.parameters()}
        assert all(id(p) in covered for p in model.parameters())


class TestFallback:
    @pytest.mark.parametrize("reason", ["no working C++ compiler found", ""])
    def test_without_a_compiler_training_goes_on_and_says_why(
        self, run_config: MakeConfig, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reason: str
    ) -> None:
        def fail(*_: Any) -> None:
            raise RuntimeError(f"\n{reason}\nmore")

        monkeypatch.setattr("mmseg.engine.compiling._probe", fail)
        runner = train(run_config(tmp_path, compile=True, **SHORT))
        assert f"compile: training goes on uncompiled, since compiling fails here: {reason or 'more'}\n" in log(tmp_path)
        assert not any(module._compiled_call_impl for module in runner.model.modules())
        assert runner.iter == 2

    def test_options_that_torch_refuses(self, run_config: MakeConfig, tmp_path: Path) -> None:
        train(run_config(tmp_path, compile=dict(backend="no_such_backend"), **SHORT))
        assert "compiling fails here: Invalid backend: 'no_such_backend'" in log(tmp_path)

    def test_off_by_default(self, run_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("mmseg.engine.runner.compile_network", lambda *_: pytest.fail("compiled"))
        for value in ({}, dict(compile=False), dict(compile=None)):
            build_runner(run_config(tmp_path, **value))._maybe_compile("train_step")


@pytest.mark.slow
class TestTraced:
    """The graphs of torch.compile without code made of them: quick, and exact."""

    def test_training_validating_and_loading_are_as_without(
        self, run_config: MakeConfig, tmp_path: Path, validated: Callable[[Config], Config], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("mmseg.models.layers.convolution.prefers_planar_weight_gradients", lambda: False)  # not traced
        training: list[bool] = []

        def backend(graph: torch.fx.GraphModule, inputs: list[Any]) -> Any:
            training.append(runner.bare_model.training)
            return graph.forward

        torch._dynamo.reset()
        overrides = dict(SHORT, train_cfg__val_interval=1, custom_hooks=[dict(type="EMAHook", momentum=0.1)])
        train(validated(run_config(tmp_path / "plain", **overrides)))
        config = validated(run_config(tmp_path / "traced", **overrides))
        config.compile = True
        runner = build_runner(config)
        with pytest.MonkeyPatch.context() as patch:
            compile = torch.nn.Module.compile
            patch.setattr("mmseg.engine.compiling._probe", lambda *_: None)
            patch.setattr(torch.nn.Module, "compile", lambda module: compile(module, backend=backend))
            runner.train()
        assert runner.compiled
        assert set(training) == {True}  # nothing is compiled for validation
        first, second = (read_checkpoint(tmp_path / name / "iter_2.pth") for name in ("plain", "traced"))
        assert list(first["state_dict"]) == list(second["state_dict"])
        for a, b in zip(logged(tmp_path / "plain"), logged(tmp_path / "traced"), strict=True):
            assert a == pytest.approx(b, rel=1e-5, abs=1e-5)
        init_model(config, str(tmp_path / "traced/iter_2.pth"), device="cpu")


@pytest.fixture
def validated() -> Callable[[Config], Config]:
    """Adds a validation of one image."""

    def add(config: Config) -> Config:
        config.val_cfg, config.val_evaluator = {"type": "ValLoop"}, config.test_evaluator
        config.val_dataloader = {**config.test_dataloader, "dataset": {**config.test_dataloader.dataset, "indices": 1}}
        return config

    return add


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler on a CPU")
def test_compiled_losses_are_close(run_config: MakeConfig, tmp_path: Path) -> None:
    torch._dynamo.reset()
    overrides = {f"model__decode_head__{i}__dropout_ratio": 0.0 for i in (0, 1)} | {"model__auxiliary_head__dropout_ratio": 0.0}
    train(run_config(tmp_path / "plain", **SHORT, **overrides))
    runner = train(run_config(tmp_path / "compiled", compile=True, **SHORT, **overrides))
    assert runner.compiled
    assert "uncompiled" not in log(tmp_path / "compiled")
    for a, b in zip(logged(tmp_path / "plain"), logged(tmp_path / "compiled"), strict=True):
        a.pop("grad_norm"), b.pop("grad_norm")  # batch normalisation over two pooled values magnifies rounding
        assert a == pytest.approx(b, rel=1e-3)
