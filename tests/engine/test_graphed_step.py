"""A captured step is the step."""

from __future__ import annotations

import copy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from comparing import MakeConfig, log, logged, state_differences, train
from mmengine.model import BaseModel
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from mmengine.structures import PixelData
from torch.utils.data import DataLoader

from mmseg.apis import build_runner
from mmseg.engine import AutocastOptimWrapper, LesionRunner
from mmseg.engine.graphed_step import _WARM_UP, hindrance
from mmseg.models import BaseSegmentor
from mmseg.models.data_preprocessors import LesionDataPreprocessor
from mmseg.utils.errors import UserError

ROOT = Path(__file__).resolve().parents[2]


def test_without_a_gpu_a_step_is_the_models_own(run_config: MakeConfig, tmp_path: Path) -> None:
    runner = build_runner(run_config(tmp_path, cuda_graph=True))
    if not torch.cuda.is_available():
        assert runner.training_step() == runner.model.train_step


def wrapped(**options: Any) -> AutocastOptimWrapper:
    return AutocastOptimWrapper(optimizer=torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1), **options)


class Plain(BaseModel):
    def forward(self, inputs: Any, data_samples: Any = None, mode: str = "tensor") -> Any:
        return {}


class TestHindrance:
    """Steps of these kinds are left to the model."""

    @pytest.mark.parametrize(("wrapper", "reason"), [
        (wrapped(), None),
        (wrapped(accumulative_counts=2), "gradients are accumulated (optim_wrapper.accumulative_counts)"),
        (wrapped(dtype="float32"), "steps are computed in float32, in which it has passed no test so far"),
        (OptimWrapper(wrapped().optimizer), "optim_wrapper.type is OptimWrapper, not AutocastOptimWrapper"),
        (AmpOptimWrapper.__new__(AmpOptimWrapper), "optim_wrapper.type is AmpOptimWrapper, not AutocastOptimWrapper"),
    ])
    def test_of_an_update(self, wrapper: OptimWrapper, reason: str | None) -> None:
        assert hindrance(Plain(), wrapper, DataLoader([1])) == reason

    def test_of_a_model(self) -> None:
        own = type("Own", (Plain,), dict(train_step=lambda self, data, optim_wrapper: {}))
        assert hindrance(own(), wrapped(), DataLoader([1])) == "Own has a train_step of its own"

    def test_of_a_loader(self) -> None:
        assert "pinned" in (hindrance(Plain(), wrapped(), DataLoader([1], pin_memory=True)) or "")

    def test_it_is_told(self, run_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        runner = with_graphs(monkeypatch, run_config(tmp_path, **SHORT | dict(optim_wrapper__dtype="float32")))
        runner.train()
        assert "cuda_graph: not used, since steps are computed in float32" in log(tmp_path)


SHORT = dict(
    train_cfg__max_iters=12, param_scheduler=[], default_hooks__logger__interval=1, optim_wrapper__dtype="bfloat16")


class _Recorder:
    """In place of a GPU: the work is done when it is recorded, so that its first replay has nothing left to do."""

    replays = 0

    def __call__(self, work: Any) -> Any:
        return self._replay, work()

    def _replay(self) -> None:
        self.replays += 1


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> _Recorder:
    recorder = _Recorder()
    monkeypatch.setattr("mmseg.engine.graphed_step.recorded", recorder)
    return recorder


def with_graphs(monkeypatch: pytest.MonkeyPatch, config: Any) -> LesionRunner:
    runner = build_runner(config)
    runner.cfg.cuda_graph = True
    monkeypatch.setattr("mmseg.engine.runner.default_device", lambda: torch.device("cuda"))
    return runner


def test_a_captured_batch_is_learned_from_as_it_would_have_been(
    run_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recorder: _Recorder
) -> None:
    """All but the replay itself, for which there is no GPU here: losses in the log, gradients, clipping, update."""
    overrides = SHORT | dict(train_cfg__max_iters=_WARM_UP + 1)
    train(run_config(tmp_path / "plain", **overrides))
    with_graphs(monkeypatch, run_config(tmp_path / "graph", **overrides)).train()
    assert recorder.replays == 1
    last = f"iter_{_WARM_UP + 1}.pth"
    assert state_differences(tmp_path / "graph" / last, tmp_path / "plain" / last) == []
    assert logged(tmp_path / "graph") == logged(tmp_path / "plain")


def test_a_batch_of_another_size_is_not_replayed(
    run_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recorder: _Recorder
) -> None:
    overrides = SHORT | dict(train_cfg__max_iters=_WARM_UP + 2)
    plain = LesionDataPreprocessor._prepare

    def smaller_at_last(self: Any, data: Any, training: bool) -> Any:
        prepared = plain(self, data, training)
        if self.iteration == _WARM_UP + 1:
            prepared["inputs"] = prepared["inputs"][..., :32, :32]
            for sample in prepared["data_samples"]:
                sample.gt_sem_seg = PixelData(data=sample.gt_sem_seg.data[..., :32, :32])
        return prepared

    monkeypatch.setattr(LesionDataPreprocessor, "_prepare", smaller_at_last)
    with_graphs(monkeypatch, run_config(tmp_path, **overrides)).train()
    assert recorder.replays == 1 and len(logged(tmp_path)) == _WARM_UP + 2


def test_a_replayed_loss_that_is_not_finite_ends_training(
    run_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recorder: _Recorder
) -> None:
    """With the files of that batch, and before the update."""
    runner = with_graphs(monkeypatch, run_config(tmp_path, **SHORT))
    plain = BaseSegmentor.forward

    def spoilt(self: Any, inputs: torch.Tensor, data_samples: Any = None, mode: str = "tensor") -> Any:
        losses = plain(self, inputs, data_samples, mode)
        if self.data_preprocessor.iteration == _WARM_UP:
            losses["decode.loss_dice"] = losses["decode.loss_dice"] + float("nan")
        return losses

    monkeypatch.setattr(BaseSegmentor, "forward", spoilt)
    with pytest.raises(UserError, match=rf"iteration {_WARM_UP + 1}: .*not finite(?s:.)*decode\.loss_dice nan(?s:.)*\.(jpg|png)"):
        runner.train()


@pytest.mark.parametrize(("error", "reason"), [
    (RuntimeError("\noperation not permitted when stream is capturing\nmore"),
     r"SDCNet whose training step cannot be captured \(operation not permitted when stream is capturing\), expected .*"),
    (torch.OutOfMemoryError("CUDA out of memory"), "batch of 2, for which the GPU has not enough memory .* smaller one .*"),
])
def test_what_cannot_be_captured_is_said(
    run_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, reason: str
) -> None:
    def refuse(_: Any) -> None:
        try:
            raise error
        except RuntimeError:
            raise RuntimeError("the capture was invalidated") from None  # as its end does

    monkeypatch.setattr("mmseg.engine.graphed_step.recorded", refuse)
    runner = with_graphs(monkeypatch, run_config(tmp_path, **SHORT))
    with pytest.raises(UserError, match=f"{reason} --cfg-options cuda_graph=False"):
        runner.train()


def test_targets_that_a_replay_would_not_get(
    run_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recorder: _Recorder
) -> None:
    """It would go on with those of the batch that was captured."""
    plain = LesionDataPreprocessor._prepare

    def with_edges(self: Any, data: Any, training: bool) -> Any:
        prepared = plain(self, data, training)
        for sample in prepared["data_samples"]:
            sample.gt_edge_map = sample.gt_sem_seg
        return prepared

    monkeypatch.setattr(LesionDataPreprocessor, "_prepare", with_edges)
    with pytest.raises(UserError, match="cuda_graph: got samples with gt_edge_map, expected gt_sem_seg alone"):
        with_graphs(monkeypatch, run_config(tmp_path, **SHORT)).train()


@pytest.fixture
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """No TF32, and no choice between algorithms."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)


@pytest.mark.gpu
class TestOnAGpu:
    @pytest.mark.parametrize("dtype", ["float32", "bfloat16"])  # the former is refused until this passes with it
    def test_a_replay_computes_what_the_step_computes(
        self, run_config: MakeConfig, tmp_path: Path, exact: None, dtype: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """On the weights that a captured run has trained, with the same batch and the same dropout."""
        monkeypatch.setattr("mmseg.engine.runner.hindrance", lambda *_: None)
        overrides = SHORT | dict(env_cfg__cudnn_benchmark=False, optim_wrapper__dtype=dtype)
        config = run_config(tmp_path, cuda_graph=True, **overrides)
        runner = train(config)
        step, wrapper = runner.train_loop._step, runner.optim_wrapper
        assert step._captured is not None and len(logged(tmp_path)) == 12
        for group in wrapper.optimizer.param_groups:
            group.update(lr=0.0, weight_decay=0.0)
        batch, found = next(iter(runner.build_dataloader(config.train_dataloader, seed=0))), []  # training has closed its own
        for make in (step, runner.model.train_step):
            torch.manual_seed(1)
            losses = make(copy.deepcopy(batch), optim_wrapper=wrapper)
            found.append({**losses, "grad_norm": wrapper.gradient_norm})
        tolerance = 1e-2 if dtype == "bfloat16" else 1e-4
        for name, value in found[1].items():
            assert float(found[0][name]) == pytest.approx(float(value), rel=tolerance), name

    def test_a_model_that_cannot_be_captured_is_refused(self, run_config: MakeConfig, tmp_path: Path) -> None:
        """In a process of its own: a failed capture leaves torch unable to draw random numbers on the GPU."""
        code = (
            "import sys; from mmengine.config import Config; from mmseg.models.decode_heads.decode_head import BaseDecodeHead\n"
            "from mmseg.apis import build_runner; from mmseg.utils.errors import UserError\n"
            "plain = BaseDecodeHead.loss_by_feat\n"
            "BaseDecodeHead.loss_by_feat = lambda self, x, s: (x.sum().item(), plain(self, x, s))[1]\n"
            "try: build_runner(Config.fromfile(sys.argv[1])).train()\n"
            "except UserError as error: print('refused:', error)"
        )
        path = tmp_path / "config.py"
        run_config(tmp_path / "run", cuda_graph=True, **SHORT).dump(path)
        done = subprocess.run([sys.executable, "-c", code, str(path)], cwd=ROOT, capture_output=True, text=True, check=False)
        assert "refused: cuda_graph: got a SDCNet whose training step cannot be captured" in done.stdout, done.stderr
        assert "cuda_graph=False" in done.stdout
