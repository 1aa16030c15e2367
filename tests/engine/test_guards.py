"""What stops a run: numbers that are not finite, signals, and processes that die or hang."""

from __future__ import annotations

import contextlib
import math
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from comparing import MakeConfig, log, state_differences, train
from mmengine.config import Config
from mmengine.optim import AmpOptimWrapper
from torch import Tensor

from mmseg.apis import build_runner
from mmseg.engine import LesionRunner
from mmseg.engine.checkpoint import read_checkpoint
from mmseg.engine.hooks import NonFiniteGuardHook
from mmseg.engine.signals import StopRequest
from mmseg.models.losses import LesionDiceLoss
from mmseg.utils.errors import UserError


def train_spoiled(config: Config, change: Callable[[Tensor], Tensor]) -> LesionRunner:
    """Train with another Dice loss of the refining head in the third iteration; the runner, also where training ends early."""
    runner = build_runner(config)
    dice = next(m for m in runner.bare_model.refine_head.modules() if isinstance(m, LesionDiceLoss))
    dice.register_forward_hook(lambda module, args, loss: change(loss) if runner.iter == 2 else loss)
    with contextlib.suppress(UserError):
        runner.train()
    return runner


class Explode(torch.autograd.Function):
    """A loss that is finite and whose gradient is not."""

    @staticmethod
    def forward(ctx: Any, loss: Tensor) -> Tensor:
        return loss.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        return gradient * math.nan


class TestNotFinite:
    @pytest.mark.parametrize(("change", "shown", "wrapper"), [
        (lambda loss: loss * math.nan, "loss_dice nan", "ours"),
        (lambda loss: loss + math.inf, "loss_dice inf", "ours"),
        (lambda loss: loss + loss.detach() * math.nan, "loss_dice nan", "ours"),  # its gradient is finite
        *((Explode.apply, "norm of the gradients nan", wrapper) for wrapper in ("ours", "plain", "mmengine's")),
    ], ids=["nan", "inf", "loss alone", "gradient alone", "gradient alone, not clipped", "gradient alone, mmengine's wrapper"])
    def test_the_weights_are_those_before_the_update(
        self, run_config: MakeConfig, tmp_path: Path, change: Callable[[Tensor], Tensor], shown: str, wrapper: str
    ) -> None:
        config = run_config(tmp_path, default_hooks__checkpoint__interval=1)
        if wrapper == "plain":
            config.optim_wrapper.pop("clip_grad")
        elif wrapper == "mmengine's":
            config.optim_wrapper.type = "OptimWrapper"
            config.optim_wrapper.pop("dtype")
        runner = train_spoiled(config, change)
        text = log(tmp_path)
        assert "iteration 3: a loss or a gradient is not finite; training ends before this update" in text
        hints = "What to try", "(now 0.004)", "--resume", "--load-from"
        for part in (shown, "refine.loss_bce ", "aux.loss_dice", *hints, str(tmp_path)):
            assert part in text, part
        assert len(re.findall(r"(?m)^    /.*/images/train/.*\.\w+$", text)) == 2  # the files of this batch
        checkpoint = read_checkpoint(tmp_path / "latest.pth")
        assert checkpoint["meta"]["iter"] == 2
        for name, tensor in runner.model.named_parameters():
            assert torch.equal(tensor, checkpoint["state_dict"][name]), name

    def test_without_the_guard_they_are_lost(
        self, run_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The negative control."""
        monkeypatch.setattr(LesionRunner, "register_default_hooks", LesionRunner.__mro__[1].register_default_hooks)
        train_spoiled(run_config(tmp_path), lambda loss: loss * math.nan)
        assert read_checkpoint(tmp_path / "latest.pth")["state_dict"]["refine_head.conv_seg.conv_out.weight"].isnan().any()

    def test_every_batch_of_an_update_is_named(self, run_config: MakeConfig, tmp_path: Path) -> None:
        train_spoiled(run_config(tmp_path, optim_wrapper__accumulative_counts=4), lambda loss: loss * math.nan)
        text = log(tmp_path)
        assert "iteration 4: a loss" in text
        assert len(re.findall(r"(?m)^    /.*/images/train/.*\.\w+$", text)) == 8


def test_a_scaler_of_fp16_looks_for_its_scale_by_gradients_that_overflow() -> None:
    """Of a run with mmengine's AmpOptimWrapper, which needs a GPU to be built, the losses alone are judged."""
    wrapper = AmpOptimWrapper.__new__(AmpOptimWrapper)
    wrapper.__dict__.update(clip_grad_kwargs=None, grad_name="grad_norm", optimizer=None, get_lr=lambda: {"lr": [0.1]})
    parameter = torch.nn.Parameter(torch.ones(2))
    parameter.grad = torch.tensor([1.0, math.inf])
    optimizer = torch.optim.AdamW([parameter])
    hook = NonFiniteGuardHook()
    hook._runner = SimpleNamespace(
        optim_wrapper=wrapper, iter=0, work_dir="w", logger=SimpleNamespace(info=lambda text: None))
    hook._seen = [({"loss": torch.tensor(1.0)}, ["a.jpg"])]
    hook._check(optimizer)
    hook._seen = [({"loss": torch.tensor(math.nan)}, ["a.jpg"])]
    with pytest.raises(UserError, match="iteration 1: a loss or a gradient is not finite"):
        hook._check(optimizer)


def test_a_loss_that_stays_nan_where_a_scaler_leaves_every_update_out() -> None:
    """torch's scaler does not call the step of an optimiser that is not fused, so that nothing but the iteration's end tells."""
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.ones(2))])
    wrapper = AmpOptimWrapper.__new__(AmpOptimWrapper)
    due = iter([True, False, True])
    wrapper.__dict__.update(
        clip_grad_kwargs=None, grad_name="grad_norm", optimizer=optimizer, get_lr=lambda: {"lr": [0.1]},
        should_update=lambda: next(due))
    runner: Any = SimpleNamespace(optim_wrapper=wrapper, iter=0, work_dir="w", logger=SimpleNamespace(info=lambda text: None))
    hook = NonFiniteGuardHook()
    hook._runner = runner
    hook._seen = [({"loss": torch.tensor(1.0)}, ["a.jpg"])]
    hook.after_train_iter(runner, 0)  # gradients overflowed: nothing is wrong, and nothing is kept
    assert hook._seen == []
    hook._seen = [({"loss": torch.tensor(math.nan)}, ["a.jpg"])]
    hook.after_train_iter(runner, 1)  # an update of two iterations is judged as a whole
    with pytest.raises(UserError, match="iteration 1: a loss or a gradient is not finite"):
        hook.after_train_iter(runner, 2)


class TestSignals:
    @pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)])
    def test_the_step_is_finished_and_a_checkpoint_written(
        self, run_config: MakeConfig, whole: Path, tmp_path: Path, number: int, code: int
    ) -> None:
        outside = signal.signal(number, signal.default_int_handler)  # under nohup SIGHUP would be left alone
        try:
            runner = build_runner(run_config(tmp_path, default_hooks__checkpoint__interval=100))
            runner.model.register_forward_hook(lambda *_: os.kill(os.getpid(), number) if runner.iter == 1 else None)
            with pytest.raises(SystemExit) as caught:
                runner.train()
            assert caught.value.code == code
            assert signal.getsignal(number) is signal.default_int_handler
        finally:
            signal.signal(number, outside)
        assert sorted(path.name for path in tmp_path.glob("*.pth")) == ["iter_2.pth", "latest.pth"]
        assert state_differences(tmp_path / "iter_2.pth", whole / "iter_2.pth") == []
        text = log(tmp_path)
        assert f"{signal.Signals(number).name}: stopping after this step" in text
        assert "after iteration 2; go on by --resume" in text
        if number == signal.SIGTERM:
            train(run_config(tmp_path, resume=True))
            assert state_differences(tmp_path / "iter_4.pth", whole / "iter_4.pth") == []

    def test_an_update_of_several_steps_is_finished(self, run_config: MakeConfig, tmp_path: Path) -> None:
        """A checkpoint between two of them would lack the gradients of the first."""
        accumulated = dict(optim_wrapper__accumulative_counts=2)
        train(run_config(tmp_path / "whole", **accumulated))
        runner = build_runner(run_config(tmp_path / "cut", default_hooks__checkpoint__interval=100, **accumulated))
        runner.model.register_forward_hook(lambda *_: os.kill(os.getpid(), signal.SIGTERM) if runner.iter == 0 else None)
        with pytest.raises(SystemExit):
            runner.train()
        assert read_checkpoint(tmp_path / "cut/latest.pth")["meta"]["iter"] == 2
        train(run_config(tmp_path / "cut", resume=True, **accumulated))
        assert state_differences(tmp_path / "cut/iter_4.pth", tmp_path / "whole/iter_4.pth") == []

    def test_nothing_is_validated_after_it(
        self, run_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        config = run_config(tmp_path, train_cfg__val_interval=1)
        config.val_cfg, config.val_dataloader, config.val_evaluator = (
            {"type": "ValLoop"}, config.test_dataloader, config.test_evaluator)
        runner = build_runner(config)
        runner.model.register_forward_hook(lambda *_: os.kill(os.getpid(), signal.SIGTERM))
        monkeypatch.setattr("mmengine.runner.ValLoop.run", lambda self: pytest.fail("validated"))
        with pytest.raises(SystemExit):
            runner.train()
        assert read_checkpoint(tmp_path / "latest.pth")["meta"]["iter"] == 1

    def test_under_nohup_a_closed_terminal_is_ignored(self) -> None:
        former = signal.signal(signal.SIGHUP, signal.SIG_IGN)
        try:
            with StopRequest() as stop:
                os.kill(os.getpid(), signal.SIGHUP)
            assert stop.signal == 0 and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        finally:
            signal.signal(signal.SIGHUP, former)

    def test_one_signal_passed_on_twice_is_one(self) -> None:
        with StopRequest() as stop:
            for _ in range(2):
                os.kill(os.getpid(), signal.SIGINT)
        assert stop.signal == signal.SIGINT

    def test_a_second_one_ends_at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """By the system's own treatment, put back before the signal is sent once more."""
        sent: list[tuple[Any, ...]] = []
        with StopRequest() as stop:
            os.kill(os.getpid(), signal.SIGTERM)
            assert stop.signal == signal.SIGTERM
            stop._time -= 2
            monkeypatch.setattr(os, "kill", lambda *given: sent.append((*given, signal.getsignal(signal.SIGTERM))))
            stop._note(signal.SIGTERM, None)
        assert sent == [(os.getpid(), signal.SIGTERM, signal.SIG_DFL)]


FAULTS = '''
import math, os, signal, time
from mmengine.hooks import Hook
from mmseg.registry import HOOKS

@HOOKS.register_module()
class FaultHook(Hook):
    def __init__(self, kind, rank=1):
        self.kind, self.rank = kind, rank
    def before_train(self, runner):
        if self.kind == "nan" and runner.rank == self.rank:
            dice = runner.bare_model.refine_head.loss_decode[1]
            dice.register_forward_hook(lambda m, a, loss: loss + loss.detach() * math.nan if runner.iter == 1 else loss)
    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == 1 and runner.rank == self.rank:
            if self.kind == "dies":
                os.kill(os.getpid(), signal.SIGKILL)
            if self.kind == "hangs":
                time.sleep(600)
            if self.kind == "stop":
                os.kill(os.getpid(), signal.SIGTERM)
'''


@pytest.mark.slow
class TestTwoProcesses:
    @pytest.fixture
    def run(self, repo: Path, run_config: MakeConfig, tmp_path: Path) -> Callable[..., tuple[int, str, float]]:
        """A function that trains on two processes with a fault in the second at its second step; code, output, seconds."""

        def launch(kind: str, **overrides: Any) -> tuple[int, str, float]:
            (tmp_path / "faults.py").write_text(FAULTS)
            config = run_config(tmp_path / "w", default_hooks__checkpoint__interval=1, **overrides)
            config.custom_imports, config.custom_hooks = dict(imports=["faults"]), [dict(type="FaultHook", kind=kind)]
            config.dump(tmp_path / "tiny.py")
            environment = os.environ | dict(PYTHON=sys.executable, OMP_NUM_THREADS="1", PYTHONPATH=str(tmp_path))
            command = ["bash", str(repo / "tools/dist_train.sh"), str(tmp_path / "tiny.py"), "2"]
            began = time.monotonic()
            done = subprocess.run(command, cwd=repo, env=environment, capture_output=True, text=True, timeout=280)
            return done.returncode, done.stdout + done.stderr, time.monotonic() - began

        return launch

    def test_a_dead_process_ends_the_job(self, run: Callable[..., tuple[int, str, float]], tmp_path: Path) -> None:
        code, _, seconds = run("dies")
        assert code != 0
        assert seconds < 120
        assert read_checkpoint(tmp_path / "w/latest.pth")["meta"]["iter"] == 1

    def test_one_that_hangs_ends_it_after_the_time_out(
        self, run: Callable[..., tuple[int, str, float]], tmp_path: Path
    ) -> None:
        code, text, seconds = run("hangs", env_cfg__dist_cfg__timeout=10)
        assert code != 0
        assert "waits for the others longer than 10 s ends the job" in text
        assert seconds < 200
        assert read_checkpoint(tmp_path / "w/latest.pth")["meta"]["iter"] == 1

    def test_both_stop_before_the_update_where_one_is_not_finite(
        self, run: Callable[..., tuple[int, str, float]], tmp_path: Path
    ) -> None:
        code, text, _ = run("nan")
        assert code == 2
        assert "process 0, finite: " in text
        assert "process 1, not finite: " in text
        told = "error: iteration 2: a loss or a gradient is not finite"
        assert text.count(told) == 1
        assert all(told in log.read_text() for log in (tmp_path / "w/processes").glob("*/*/attempt_0/?/stderr.log"))
        assert read_checkpoint(tmp_path / "w/latest.pth")["meta"]["iter"] == 1

    def test_a_signal_to_one_stops_both_at_the_same_step(
        self, run: Callable[..., tuple[int, str, float]], tmp_path: Path
    ) -> None:
        code, text, _ = run("stop")
        assert code == 143
        assert "stopped by SIGTERM after iteration 2" in text
        assert read_checkpoint(tmp_path / "w/latest.pth")["meta"]["iter"] == 2
