"""Nothing is brought from the device to the host before the logger wants it; what must not wait does not."""

from __future__ import annotations

import contextlib
import functools
import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mmengine.hooks
import pytest
import torch
from comparing import MakeConfig, log, logged, scalars, train
from mmengine.config import Config
from mmengine.logging import MessageHub
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from mmseg.apis import build_runner
from mmseg.engine import LesionRunner
from mmseg.engine.hooks import IterTimerHook, NonFiniteGuardHook
from mmseg.models.losses import LesionDiceLoss
from mmseg.utils.errors import UserError

FUSED = dict(optim_wrapper__optimizer__fused=True)


@pytest.fixture(autouse=True)
def _lazy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The guard as on a GPU."""
    monkeypatch.setattr("mmseg.engine.runner.NonFiniteGuardHook", functools.partial(NonFiniteGuardHook, lazy=True))


class TestNumbers:
    def test_the_log_is_that_of_a_hook_that_fetches_at_once(
        self, run_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """mmengine's own hook and wrapper; the interval divides neither the window nor the number of iterations."""
        overrides = dict(train_cfg__max_iters=5, default_hooks__logger__interval=2, log_processor__window_size=3)
        train(run_config(tmp_path / "ours", **overrides))
        config = run_config(tmp_path / "theirs", **overrides)
        config.optim_wrapper.type = "OptimWrapper"
        del config.optim_wrapper["dtype"]
        monkeypatch.setattr("mmseg.engine.runner.RuntimeInfoHook", mmengine.hooks.RuntimeInfoHook)
        train(config)
        ours, theirs = logged(tmp_path / "ours"), logged(tmp_path / "theirs")
        assert [list(record.items()) for record in ours] == [list(record.items()) for record in theirs]
        assert len(ours) == 2
        assert "grad_norm" in ours[0]

    def test_few_steps_wait_where_nobody_asks(
        self, run_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("mmseg.engine.hooks.runtime_info_hook._MOST", 2)
        with fetches() as seen:
            runner = train(run_config(
                tmp_path, train_cfg__max_iters=5, default_hooks__logger=None, default_hooks__checkpoint=None))
        assert seen == [1, 3, 5]  # the third when training ends
        assert len(runner.message_hub.get_scalar("train/loss").data[0]) == 5


class TestTimes:
    """Of a GPU whose steps take 100 ms, and are asked for in 20 ms each, but the first in a second."""

    @pytest.fixture
    def times(self, monkeypatch: pytest.MonkeyPatch) -> list[float]:
        clock = SimpleNamespace(now=0.0)
        monkeypatch.setattr("mmengine.hooks.iter_timer_hook.time", SimpleNamespace(time=lambda: clock.now))
        runner = SimpleNamespace(
            message_hub=MessageHub("times of steps"), iter=0, max_iters=12, model=torch.nn.Linear(1, 1, device="meta"))
        hook: Any = IterTimerHook()
        hook.before_train(runner)
        hook.before_train_epoch(runner)
        done = 0.0  # when the GPU will be done
        for runner.iter in range(12):
            hook.before_train_iter(runner, runner.iter)
            clock.now += 0.02 if runner.iter else 1.0
            done = max(done, clock.now) + 0.1
            if runner.iter in (4, 6, 11):  # of five steps, two and, after a validation, three
                hook.fetch(runner)
                clock.now = done
            hook.after_train_iter(runner, runner.iter)
            if runner.iter == 8:
                hook.fetch(runner)
                clock.now = done + 5
                hook.before_val_epoch(runner)
        return runner.message_hub.get_scalar("train/time").data[0].tolist()

    def test_a_step_that_waits_for_others_is_not_slower(self, times: list[float]) -> None:
        assert times[:5] == pytest.approx([1.084, *[0.104] * 4])  # the first of them also waits for 20 ms of Python
        assert times[5:7] == pytest.approx([0.11] * 2)
        assert times[7:9] == pytest.approx([0.02] * 2), "nobody has waited for these"
        assert times[9:] == pytest.approx([(0.02 + 3 * 0.1) / 3] * 3)

    def test_what_is_fetched_in_a_step_is_fetched_before_its_time_is_taken(
        self, run_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """By the hooks that a configuration names, in their order; on a CPU times are mmengine's."""
        seen: list[str] = []
        for name in ("fetch", "after_train_iter"):
            plain = getattr(IterTimerHook, name)
            monkeypatch.setattr(IterTimerHook, name, lambda self, *args, name=name, plain=plain, **kwargs: (
                seen.append(name), plain(self, *args, **kwargs)))
        timer = dict(type="IterTimerHook")
        runner = train(run_config(
            tmp_path, train_cfg__max_iters=4, param_scheduler=[], default_hooks__timer=timer, default_hooks__logger__interval=4))
        assert [type(hook) for hook in runner.hooks if isinstance(hook, mmengine.hooks.IterTimerHook)] == [IterTimerHook]
        ends = [i for i, name in enumerate(seen) if name == "after_train_iter"]
        assert len(ends) == 4 and seen[ends[-1] - 1] == "fetch"
        assert scalars(tmp_path)[-1]["time"] > 0


@contextlib.contextmanager
def fetches() -> Iterator[list[int]]:
    """The iterations in which the hooks were asked to fetch."""
    seen: list[int] = []
    call = LesionRunner.call_hook

    def spy(self: LesionRunner, fn_name: str, **kwargs: Any) -> None:
        if fn_name == "fetch":
            seen.append(self.iter)
        call(self, fn_name, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LesionRunner, "call_hook", spy)
        yield seen


class HostReads(TorchDispatchMode):
    """The iterations in which a number was read from a tensor, but for the augmentation's own."""

    def __init__(self, runner: LesionRunner) -> None:
        super().__init__()
        self.runner, self.seen, self.ours = runner, set[int](), False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if self.ours and func in (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.is_nonzero.default):
            self.seen.add(self.runner.iter)
        return func(*args, **(kwargs or {}))

    def leave_out(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def inside(*args: Any, **kwargs: Any) -> Any:
            self.ours = False
            try:
                return function(*args, **kwargs)
            finally:
                self.ours = True

        return inside


class TestNoStepWaits:
    @pytest.mark.parametrize("clip", [True, False])
    def test_numbers_are_read_at_the_interval_only(
        self, run_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clip: bool
    ) -> None:
        assert self.reads(run_config, tmp_path, monkeypatch, clip) == {1, 2, 5}  # 1: the end of the first epoch

    def test_looking_at_once_is_found(
        self, run_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The negative control."""
        monkeypatch.setattr("mmseg.engine.runner.NonFiniteGuardHook", NonFiniteGuardHook)
        assert self.reads(run_config, tmp_path, monkeypatch, clip=True) == {0, 1, 2, 3, 4, 5}

    def reads(self, run_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clip: bool) -> set[int]:
        config = run_config(
            tmp_path, train_cfg__max_iters=6, default_hooks__logger__interval=3, default_hooks__checkpoint=None, **FUSED)
        if not clip:
            del config.optim_wrapper["clip_grad"]
        runner = build_runner(config)
        counter = HostReads(runner)
        preprocessor = runner.bare_model.data_preprocessor
        monkeypatch.setattr(preprocessor, "forward", counter.leave_out(preprocessor.forward))
        tolist = Tensor.tolist
        monkeypatch.setattr(Tensor, "tolist", lambda tensor: (counter.ours and counter.seen.add(runner.iter), tolist(tensor))[1])
        run_iter = runner.train_loop.run_iter

        def counted(batch: Any) -> None:
            counter.ours = True
            with counter:
                run_iter(batch)
            counter.ours = False

        monkeypatch.setattr(runner.train_loop, "run_iter", counted)
        runner.train()
        return counter.seen


class Spoiled:
    """A run whose third iteration is not finite: the parameters before its update, its files, and those after training."""

    def __init__(self, config: Config) -> None:
        self.runner = runner = build_runner(config)
        self.before: dict[str, Tensor] = {}
        self.files: list[str] = []
        dice = next(m for m in runner.bare_model.refine_head.modules() if isinstance(m, LesionDiceLoss))
        dice.register_forward_hook(lambda module, args, loss: loss * math.nan if runner.iter == 2 else loss)
        runner.bare_model.register_forward_pre_hook(lambda *given: self._note(*given), with_kwargs=True)
        with pytest.raises(UserError, match="iteration 3: a loss or a gradient is not finite"):
            runner.train()

    def _note(self, module: Any, args: Any, kwargs: Any) -> None:
        if self.runner.iter == 2 and kwargs["mode"] == "loss":
            self.before = {name: p.detach().clone() for name, p in module.named_parameters()}
            self.files = [sample.img_path for sample in kwargs["data_samples"]]

    @property
    def changed(self) -> list[str]:
        """Parameters that are not those before the third update."""
        parameters = dict(self.runner.bare_model.named_parameters())
        assert self.before.keys() == parameters.keys()
        return [name for name, tensor in self.before.items() if not torch.equal(tensor, parameters[name])]


class TestLazyGuard:
    @pytest.mark.parametrize("optimizer", [
        dict(type="AdamW", lr=4e-3, fused=True), dict(type="SGD", lr=0.01, momentum=0.9, fused=True),
    ], ids=["AdamW", "SGD"])
    def test_that_update_and_the_later_ones_are_left_out(
        self, run_config: MakeConfig, tmp_path: Path, optimizer: dict[str, Any]
    ) -> None:
        config = run_config(tmp_path, train_cfg__max_iters=6, default_hooks__logger__interval=5)
        config.optim_wrapper.optimizer = optimizer
        run = Spoiled(config)
        assert run.runner.iter == 4  # found when the logger was due
        assert run.changed == []
        text = log(tmp_path)
        assert "ends before this update (nor did the 2 after it reach the weights)" in text
        assert "refine.loss_dice nan" in text
        assert re.findall(r"(?m)^    (/.*/images/train/.*\.\w+)$", text) == run.files
        assert not list(tmp_path.glob("*.pth"))
        steps = {int(state["step"]) for state in run.runner.optim_wrapper.optimizer.state.values() if "step" in state}
        assert steps == ({2} if optimizer["type"] == "AdamW" else set())

    def test_without_the_flag_the_weights_are_lost(
        self, run_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The negative control."""
        before_train = NonFiniteGuardHook.before_train

        def forget(self: NonFiniteGuardHook, runner: Any) -> None:
            before_train(self, runner)
            runner.optim_wrapper.optimizer.found_inf = None

        monkeypatch.setattr(NonFiniteGuardHook, "before_train", forget)
        assert Spoiled(run_config(tmp_path, train_cfg__max_iters=6, default_hooks__logger__interval=5, **FUSED)).changed

    @pytest.mark.parametrize("when", ["checkpoint", "validation", "end"])
    def test_nothing_is_made_of_what_followed(
        self, run_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
    ) -> None:
        config = run_config(
            tmp_path, default_hooks__logger__interval=100, custom_hooks=[dict(type="EMAHook", momentum=0.1)],
            default_hooks__checkpoint__interval=4 if when == "checkpoint" else 100, train_cfg__val_interval=4,
            train_cfg__max_iters=4 if when == "end" else 8, **FUSED)
        if when == "validation":
            config.val_cfg, config.val_dataloader, config.val_evaluator = (
                {"type": "ValLoop"}, config.test_dataloader, config.test_evaluator)
        monkeypatch.setattr("mmseg.models.SDCNet.val_step", lambda *_: pytest.fail("validated"))
        run = Spoiled(config)
        assert run.runner.iter == {"checkpoint": 3, "validation": 4, "end": 3}[when]
        assert run.changed == []
        assert not list(tmp_path.glob("*.pth"))

    def test_another_optimizer_is_looked_after_at_once(self, run_config: MakeConfig, tmp_path: Path) -> None:
        run = Spoiled(run_config(tmp_path, default_hooks__logger__interval=100))
        assert run.runner.iter == 2
        assert run.changed == []
