"""A resumed run is the run that was never interrupted, bit for bit; and what is told where it cannot be."""

from __future__ import annotations

import copy
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from comparing import MakeConfig, differences, log, logged, scalars, state_differences, train
from mmengine.config import Config

from mmseg.apis import build_runner
from mmseg.datasets.resident import ResidentDataset
from mmseg.engine import loop
from mmseg.engine.checkpoint import read_checkpoint, write_checkpoint
from mmseg.engine.hooks import BatchSeedHook, EMAHook, resume_random_state_hook
from mmseg.engine.resuming import config_differences, newest_readable, resume_candidates
from mmseg.utils.errors import UserError

EMA = dict(type="EMAHook", momentum=0.1)


@pytest.fixture
def resumed(run_config: MakeConfig, whole: Path, tmp_path: Path) -> Callable[..., Path]:
    """A function that goes on from the whole run's second iteration, found as ``latest.pth``, and gives the new work_dir."""

    def run(**overrides: Any) -> Path:
        shutil.copy(whole / "iter_2.pth", tmp_path / "latest.pth")
        torch.manual_seed(12345)  # nothing may depend on what this process drew before
        train(run_config(tmp_path, resume=True, log_processor__window_size=1, **overrides))
        return tmp_path

    return run


class TestResume:
    def test_a_resumed_run_equals_the_whole_one_bit_for_bit(self, resumed: Callable[..., Path], whole: Path) -> None:
        work_dir = resumed()
        assert state_differences(work_dir / "iter_4.pth", whole / "iter_4.pth") == []
        assert [r["step"] for r in scalars(work_dir)] == [3, 4]
        assert logged(work_dir) == logged(whole)[2:]
        assert "resumed at iteration 2" in log(work_dir)

    @pytest.mark.parametrize("broken", ["random state", "augmentation"])
    def test_the_comparison_can_fail(
        self, resumed: Callable[..., Path], whole: Path, monkeypatch: pytest.MonkeyPatch, broken: str
    ) -> None:
        if broken == "random state":  # dropout draws other numbers
            monkeypatch.setattr(resume_random_state_hook, "restore_random_state", lambda state: None)
        else:  # crops and colours are those of iteration 0
            monkeypatch.setattr(BatchSeedHook, "before_train_iter", lambda *_, **__: None)
        assert any(d.startswith("state_dict") for d in state_differences(resumed() / "iter_4.pth", whole / "iter_4.pth"))

    def test_the_seed_is_the_checkpoints(self, resumed: Callable[..., Path], whole: Path) -> None:
        work_dir = resumed(randomness__seed=5)
        assert state_differences(work_dir / "iter_4.pth", whole / "iter_4.pth") == []
        assert read_checkpoint(work_dir / "iter_4.pth")["meta"]["seed"] == 0
        assert "randomness.seed: 0 of the checkpoint is used, not 5 of the config" in log(work_dir)

    def test_another_seed_gives_another_run(self, run_config: MakeConfig, whole: Path, tmp_path: Path) -> None:
        train(run_config(tmp_path, randomness__seed=5, train_cfg__max_iters=1, param_scheduler=[]))
        assert scalars(tmp_path)[0]["loss"] != scalars(whole)[0]["loss"]
        assert read_checkpoint(tmp_path / "iter_1.pth")["meta"]["seed"] == 5

    def test_without_a_checkpoint_it_starts_afresh_and_says_so(
        self, run_config: MakeConfig, whole: Path, tmp_path: Path
    ) -> None:
        pretrained = dict(type="Pretrained", checkpoint=str(tmp_path / "none.pth"))
        train(run_config(tmp_path, resume=True, model__backbone__init_cfg=pretrained))
        assert f"no latest.pth in {tmp_path}; training starts afresh" in log(tmp_path)
        assert "pretrained weights not found" in log(tmp_path)
        assert state_differences(tmp_path / "iter_4.pth", whole / "iter_4.pth") == []

    def test_from_a_named_checkpoint_and_without_looking_for_pretrained_weights(
        self, run_config: MakeConfig, whole: Path, tmp_path: Path
    ) -> None:
        pretrained = dict(type="Pretrained", checkpoint=str(tmp_path / "none.pth"))
        train(run_config(tmp_path, resume=True, load_from=str(whole / "iter_2.pth"), model__backbone__init_cfg=pretrained))
        assert "pretrained weights not found" not in log(tmp_path)
        assert state_differences(tmp_path / "iter_4.pth", whole / "iter_4.pth") == []

    def test_weights_alone_cannot_be_resumed(self, run_config: MakeConfig, whole: Path, tmp_path: Path) -> None:
        path = tmp_path / "weights.pth"
        write_checkpoint(dict(state_dict=read_checkpoint(whole / "iter_2.pth")["state_dict"]), path)
        with pytest.raises(UserError, match=r"weights\.pth: holds no optimizer, .* meta\.iter, .*--load-from"):
            train(run_config(tmp_path, resume=True, load_from=str(path)))

    def test_another_number_of_schedules_is_told(self, run_config: MakeConfig, whole: Path, tmp_path: Path) -> None:
        config = run_config(tmp_path, resume=True, load_from=str(whole / "iter_2.pth"), param_scheduler=[])
        with pytest.raises(UserError, match="2 schedules"):
            train(config)


@pytest.fixture
def both(run_config: MakeConfig, tmp_path: Path) -> Callable[..., tuple[Path, Path]]:
    """A function that trains six iterations at once, and from a checkpoint after the third; gives both work_dirs."""

    def run(prepare: Callable[[Config], None] = lambda config: None, **overrides: Any) -> tuple[Path, Path]:
        overrides = {"train_cfg__max_iters": 6, "default_hooks__checkpoint__interval": 3, **overrides}
        first, second = tmp_path / "whole", tmp_path / "resumed"
        for work_dir, resume in ((first, False), (second, True)):
            if resume:
                second.mkdir()
                shutil.copy(first / "iter_3.pth", second / "latest.pth")
            config = run_config(work_dir, resume=resume, **overrides)
            prepare(config)
            torch.manual_seed(54321)
            train(config)
        return first, second

    return run


class TestEverythingThatIsState:
    @pytest.mark.parametrize("workers", [0, 2])
    def test_workers_and_the_means_of_the_logger(self, both: Callable[..., tuple[Path, Path]], workers: int) -> None:
        """The window of four iterations reaches back beyond the checkpoint."""
        whole, resumed = both(train_dataloader__num_workers=workers, log_processor__window_size=4)
        assert state_differences(resumed / "iter_6.pth", whole / "iter_6.pth") == []
        assert logged(resumed) == logged(whole)[3:]
        assert len(logged(resumed)) == 3

    @pytest.mark.slow
    def test_without_the_window_the_means_differ(
        self, both: Callable[..., tuple[Path, Path]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("mmseg.engine.runner.restore_log_window", lambda *_: None)
        whole, resumed = both(log_processor__window_size=4)
        assert [a["loss"] == b["loss"] for a, b in zip(logged(resumed), logged(whole)[3:], strict=True)] == [False] * 3

    def test_a_window_over_all(self, both: Callable[..., tuple[Path, Path]]) -> None:
        custom = [dict(data_src="loss", log_name="loss_all", method_name="mean", window_size="global")]
        whole, resumed = both(log_processor__custom_cfg=custom)
        assert logged(resumed) == logged(whole)[3:]
        assert "loss_all" in logged(resumed)[0]

    def test_averaged_weights(self, both: Callable[..., tuple[Path, Path]]) -> None:
        whole, resumed = both(custom_hooks=[EMA])
        last = read_checkpoint(whole / "iter_6.pth")
        assert last["averaged_steps"] == 6
        assert not torch.equal(*(last[key]["backbone.layer1.0.conv1.weight"] for key in ("state_dict", "raw_state_dict")))
        assert state_differences(resumed / "iter_6.pth", whole / "iter_6.pth") == []
        assert logged(resumed) == logged(whole)[3:]

    @pytest.mark.slow
    def test_averaged_weights_that_are_not_resumed_are_found(
        self, both: Callable[..., tuple[Path, Path]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        start = EMAHook._start

        def forget(self: EMAHook) -> None:
            self._kept = None
            start(self)

        monkeypatch.setattr(EMAHook, "_start", forget)
        whole, resumed = both(custom_hooks=[EMA])
        found = state_differences(resumed / "iter_6.pth", whole / "iter_6.pth")
        assert found
        assert all(d.startswith(("state_dict", "averaged_steps")) for d in found)

    @pytest.mark.parametrize("kept", [True, pytest.param(False, marks=pytest.mark.slow)])
    def test_validation_between(
        self, both: Callable[..., tuple[Path, Path]], monkeypatch: pytest.MonkeyPatch, kept: bool
    ) -> None:
        """Making a loader's iterator draws a number, which dropout would miss after a resume; without the mend it does."""
        if not kept:
            monkeypatch.setattr(loop, "restore_random_state", lambda state: None)

        def validate(config: Config) -> None:
            config.val_cfg, config.val_evaluator = {"type": "ValLoop"}, config.test_evaluator
            config.val_dataloader = {**config.test_dataloader, "dataset": {**config.test_dataloader.dataset, "indices": 1}}

        whole, resumed = both(validate, train_cfg__val_interval=3, custom_hooks=[EMA])
        same = state_differences(resumed / "iter_6.pth", whole / "iter_6.pth") == []
        assert same is kept
        if kept:  # one that was due when the run was killed is made up for
            assert [record["step"] for record in scalars(resumed) if "lesion/mDice" in record] == [3, 6]


def test_the_best_checkpoint_is_as_exact_as_any(run_config: MakeConfig, tmp_path: Path) -> None:
    """It is written while validation goes on, which has drawn a number by then."""
    config = run_config(tmp_path / "whole", train_cfg__val_interval=2, default_hooks__checkpoint__save_best="lesion/mDice",
                        default_hooks__checkpoint__interval=100)
    config.val_cfg, config.val_evaluator = {"type": "ValLoop"}, config.test_evaluator
    config.val_dataloader = {**config.test_dataloader, "dataset": {**config.test_dataloader.dataset, "indices": 1}}
    again = copy.deepcopy(config)
    torch.manual_seed(54321)
    runner = build_runner(config)
    hook = next(hook for hook in runner.hooks if type(hook).__name__ == "CheckpointHook")
    kept = hook.after_val_epoch

    def keep(runner: Any, metrics: Any = None) -> None:
        kept(runner, metrics={"lesion/mDice": 1.0 / runner.iter})  # the first is the best

    hook.after_val_epoch = keep
    runner.train()
    (best,) = (tmp_path / "whole").glob("best_*.pth")
    assert best.name.endswith("_iter_2.pth")
    again.work_dir, again.load_from, again.resume, again.experiment_name = str(tmp_path / "again"), str(best), True, "best_again"
    train(again)
    assert state_differences(tmp_path / "again/iter_4.pth", tmp_path / "whole/iter_4.pth") == []


class TestAverages:
    def test_averaging_changes_nothing_in_what_is_trained(self, run_config: MakeConfig, whole: Path, tmp_path: Path) -> None:
        train(run_config(tmp_path, custom_hooks=[EMA]))
        averaged, plain = (read_checkpoint(folder / "iter_4.pth") for folder in (tmp_path, whole))
        assert differences(averaged["raw_state_dict"], plain["state_dict"]) == []
        assert differences(averaged["state_dict"], plain["state_dict"]) != []
        assert differences(averaged["rng"], plain["rng"]) == []

    def test_testing_uses_them_and_training_without_the_hook_says_what_it_drops(
        self, run_config: MakeConfig, tmp_path: Path
    ) -> None:
        train(run_config(tmp_path, custom_hooks=[EMA], train_cfg__max_iters=2, param_scheduler=[]))
        checkpoint = read_checkpoint(tmp_path / "latest.pth")
        runner = build_runner(run_config(tmp_path, resume=True, train_cfg__max_iters=3, param_scheduler=[]))
        begun: dict[str, torch.Tensor] = {}
        runner.model.register_forward_pre_hook(
            lambda *_: None if begun else begun.update(copy.deepcopy(runner.bare_model.state_dict())))
        runner.train()
        assert differences(dict(begun), dict(checkpoint["raw_state_dict"])) == []
        assert differences(dict(begun), dict(checkpoint["state_dict"])) != []
        assert "averaged weights of the checkpoint are dropped" in log(tmp_path)
        assert "raw_state_dict" not in read_checkpoint(tmp_path / "iter_3.pth")
        assert runner.iter == 3

    def test_they_begin_at_the_weights_of_a_checkpoint_that_has_none(
        self, run_config: MakeConfig, trained: Path, tmp_path: Path
    ) -> None:
        train(run_config(tmp_path, custom_hooks=[EMA], resume=True, load_from=str(trained), train_cfg__max_iters=5))
        assert "the checkpoint holds no averaged weights" in log(tmp_path)
        last = read_checkpoint(tmp_path / "latest.pth")
        assert last["averaged_steps"] == 1
        assert torch.equal(*(last[key]["backbone.layer1.0.conv1.weight"] for key in ("state_dict", "raw_state_dict")))


class TestNoReplay:
    def test_no_sample_is_read_twice(
        self, run_config: MakeConfig, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """At iteration 30,000 only the samples of what is left are read."""
        checkpoint = read_checkpoint(trained)
        checkpoint["meta"]["iter"] = 30_000
        write_checkpoint(checkpoint, tmp_path / "latest.pth")
        read: list[int] = []
        get = ResidentDataset.__getitem__
        monkeypatch.setattr(ResidentDataset, "__getitem__", lambda self, idx: (read.append(idx), get(self, idx))[1])
        runner = train(run_config(tmp_path, resume=True, train_cfg__max_iters=30_002))
        assert runner.iter == 30_002
        assert len(read) == 2 * 2


class TestDifferences:
    def test_each_is_listed_with_the_side_that_counts(self, resumed: Callable[..., Path]) -> None:
        text = log(resumed(
            train_cfg__max_iters=5, optim_wrapper__optimizer__lr=1.0, optim_wrapper__optimizer__weight_decay=0.5,
            param_scheduler__1__power=2.0, train_dataloader__num_workers=1,
        ))
        assert "the checkpoint and the config differ" in text
        for line in (
            "train_cfg.max_iters: 5 of the config is used, not 4 of the checkpoint",
            "train_dataloader.num_workers: 1 of the config is used, not 0 of the checkpoint",
            "optim_wrapper.optimizer.lr: 0.004 of the checkpoint is used, not 1.0 of the config",
            "optim_wrapper.optimizer.weight_decay: 0.01 of the checkpoint is used, not 0.5 of the config",
            "param_scheduler.1.power: 0.9 of the checkpoint is used, not 2.0 of the config",
            "param_scheduler.1.end: 4 of the checkpoint is used, not 5 of the config",
        ):
            assert f"\n  {line}\n" in text, line
        assert "work_dir" not in text.partition("differ:")[2].partition("resumed at")[0]

    def test_what_went_into_the_rates_of_the_groups_is_the_checkpoints(
        self, run_config: MakeConfig, whole: Path, tmp_path: Path
    ) -> None:
        config = run_config(tmp_path, optim_wrapper__paramwise_cfg=dict(bias_decay_mult=0.5))
        lines = config_differences(read_checkpoint(whole / "iter_2.pth"), build_runner(config).cfg)
        expected = "optim_wrapper.paramwise_cfg.bias_decay_mult: nothing of the checkpoint is used, not 0.5 of the config"
        assert [line for line in lines if "paramwise" in line] == [expected]

    def test_a_gpu_that_is_gone_is_told(self, run_config: MakeConfig, whole: Path, tmp_path: Path) -> None:
        checkpoint = read_checkpoint(whole / "iter_2.pth")
        checkpoint["rng"][0]["torch"]["cuda"] = torch.zeros(16, dtype=torch.uint8)
        write_checkpoint(checkpoint, tmp_path / "latest.pth")
        train(run_config(tmp_path, resume=True))
        gone = "device: the checkpoint was written on a GPU, and this run is on the CPU"
        assert (gone in log(tmp_path)) is not torch.cuda.is_available()

    def test_nothing_is_said_where_nothing_differs(self, run_config: MakeConfig, whole: Path, tmp_path: Path) -> None:
        config = run_config(tmp_path, curves=True, default_hooks__checkpoint__interval=2, log_processor__window_size=1)
        assert config_differences(read_checkpoint(whole / "iter_2.pth"), build_runner(config).cfg) == []

    def test_a_rate_that_would_be_zero_is_refused(self, run_config: MakeConfig, whole: Path, tmp_path: Path) -> None:
        """The end of the schedule comes from the checkpoint."""
        checkpoint = read_checkpoint(whole / "iter_2.pth")
        checkpoint["param_schedulers"][1]["eta_min"] = 0.0
        write_checkpoint(checkpoint, tmp_path / "latest.pth")
        before = (tmp_path / "latest.pth").read_bytes()
        told = r"ends at iteration 4 with a rate of 0, .*max_iters is 9: .*max_iters=4, or .*--load-from"
        with pytest.raises(UserError, match=told):
            train(run_config(tmp_path, resume=True, train_cfg__max_iters=9))
        assert (tmp_path / "latest.pth").read_bytes() == before
        assert not list(tmp_path.glob("*.py")), "the config is that of a training"
        assert train(run_config(tmp_path, resume=True)).iter == 4

    def test_another_optimizer_is_refused(self, run_config: MakeConfig, whole: Path, tmp_path: Path) -> None:
        sgd = dict(type="SGD", lr=0.1)
        config = run_config(tmp_path, resume=True, load_from=str(whole / "iter_2.pth"))
        config.optim_wrapper.optimizer = sgd
        with pytest.raises(UserError, match=r"optim_wrapper\.optimizer\.type: got 'SGD'.*state of 'AdamW'.*--load-from"):
            train(config)


def config_of(checkpoint: dict[str, Any]) -> dict[str, Any]:
    return json.loads(checkpoint["meta"]["config_json"])


class TestWhichCheckpoint:
    @pytest.fixture
    def folder(self, whole: Path, tmp_path: Path) -> Path:
        """A work_dir whose newest checkpoint, under both of its names, is damaged in the middle."""
        for name in ("iter_2.pth", "iter_4.pth"):
            shutil.copy(whole / name, tmp_path / name)
        data = bytearray((tmp_path / "iter_4.pth").read_bytes())
        data[len(data) // 2] ^= 1
        (tmp_path / "iter_4.pth").write_bytes(data)
        (tmp_path / "latest.pth").hardlink_to(tmp_path / "iter_4.pth")
        return tmp_path

    def test_the_one_before_a_damaged_one_is_taken_and_said(self, run_config: MakeConfig, whole: Path, folder: Path) -> None:
        train(run_config(folder, resume=True, log_processor__window_size=1))
        text = log(folder)
        assert "latest.pth: the file is damaged" in text
        assert f"{folder / 'iter_2.pth'} is taken instead" in text
        assert "resumed at iteration 2" in text
        assert state_differences(folder / "iter_4.pth", whole / "iter_4.pth") == []
        assert (folder / "latest.pth").samefile(folder / "iter_4.pth")

    def test_a_damaged_file_that_was_named_is_an_error(self, run_config: MakeConfig, folder: Path, tmp_path: Path) -> None:
        with pytest.raises(UserError, match=r"iter_4\.pth: the file is damaged"):
            train(run_config(tmp_path / "new", resume=True, load_from=str(folder / "iter_4.pth")))

    def test_none_is_whole(self, run_config: MakeConfig, folder: Path) -> None:
        (folder / "iter_2.pth").write_bytes(b"")
        with pytest.raises(UserError, match=r"(?s)latest\.pth: the file is damaged.*iter_2\.pth: not a readable"):
            train(run_config(folder, resume=True))

    def test_order_and_second_names(self, tmp_path: Path) -> None:
        assert resume_candidates(tmp_path) == []
        for age, name in enumerate(("iter_9.pth", "iter_3.pth", "best_x_iter_2.pth", "latest.pth", "other.pth")):
            (tmp_path / name).write_bytes(b"")
            os.utime(tmp_path / name, (age, age))
        (tmp_path / "iter_4.pth").hardlink_to(tmp_path / "latest.pth")
        names = [path.name for path in resume_candidates(tmp_path)]
        assert names == ["latest.pth", "best_x_iter_2.pth", "iter_3.pth", "iter_9.pth"]

    def test_weights_alone_are_passed_over(self, whole: Path, tmp_path: Path) -> None:
        path = tmp_path / "latest.pth"
        write_checkpoint(dict(state_dict={"a": torch.zeros(1)}, meta={}), path)
        assert newest_readable([path, whole / "iter_2.pth"])[0] == whole / "iter_2.pth"


def test_a_test_uses_averaged_weights_and_exact_convolutions(
    run_config: MakeConfig, speckled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a checkpoint with no others the averages are its weights; forgotten, they would be those of the initialisation."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    found, seen = [], set()
    for name, hooks in (("with", [EMA]), ("without", [])):
        runner = build_runner(run_config(tmp_path / name, load_from=str(speckled), custom_hooks=hooks))
        runner.bare_model.backbone.register_forward_hook(lambda *_: seen.add(torch.backends.cudnn.allow_tf32))
        found.append(runner.test())
    assert found[0] == found[1] and found[0]["lesion/mDice"] > 0
    assert seen == {False}


@pytest.mark.parametrize(("done", "due"), [(1, False), (2, True), (3, False), (4, True), (5, True)])
def test_when_and_how_a_run_of_five_is_validated(done: int, due: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every second iteration and the last, with the first process's statistics on all, and exactly."""
    cudnn, told = torch.backends.cudnn, []
    monkeypatch.setattr(cudnn, "allow_tf32", True)
    monkeypatch.setattr(loop, "broadcast", lambda buffer: told.append("statistics"))
    runner = SimpleNamespace(
        distributed=True, bare_model=torch.nn.BatchNorm1d(2),
        val_loop=SimpleNamespace(run=lambda: told.append(f"TF32 {cudnn.allow_tf32}")))
    training = object.__new__(loop.IterBasedTrainLoop)
    training.__dict__.update(
        _runner=runner, _iter=done, _max_iters=5, val_begin=1, dynamic_milestones=[0], dynamic_intervals=[2])
    training._validate_if_due()
    assert told == [*["statistics"] * 3, "TF32 False"] * due
