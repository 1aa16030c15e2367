"""Training runs of a few iterations: their numbers, resuming, what is loaded, and what becomes of a GPU's settings on a CPU."""

from __future__ import annotations

import contextlib
import copy
import fcntl
import hashlib
import os
import signal
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from comparing import MakeConfig, differences, log, scalars, train
from mmengine.config import Config
from mmengine.hooks import LoggerHook
from mmengine.optim import OptimWrapper
from mmengine.runner import find_latest_checkpoint
from torch import nn
from torch.nn.modules.batchnorm import SyncBatchNorm, _BatchNorm

from mmseg.apis import build_runner, build_tester
from mmseg.engine import AutocastOptimWrapper, LesionRunner, load_config, load_weights
from mmseg.engine.agreement import check_same
from mmseg.engine.checkpoint import read_checkpoint, write_checkpoint
from mmseg.engine.hooks import BatchSeedHook, CheckpointHook, ReplaceRunHook, checkpoint_hook, curves_hook
from mmseg.engine.hooks.non_finite_guard_hook import _can_skip
from mmseg.engine.preflight.model import build_parts
from mmseg.engine.work_dir import RUNNING
from mmseg.registry import RUNNERS
from mmseg.utils.errors import UserError
from mmseg.utils.locks import hold

GOLDEN = {
    "loss": [5.462411, 9.136205, 11.801309, 5.626514],
    "refine.loss_bce": [1.117703, 2.5314, 3.546332, 1.179428],
    "refine.loss_dice": [0.98401, 0.982749, 0.98128, 0.983701],
    "aux.loss_bce": [0.446397, 1.012806, 1.427633, 0.471556],
}
"""Losses of the tiny configuration: seed 0, float32, CPU, torch 2.13; the last changes of the network or the augmentation that
move them are meant to be seen here."""

class TestTraining:
    def test_golden_losses(self, whole: Path) -> None:
        records = scalars(whole)
        assert [record["step"] for record in records] == [1, 2, 3, 4]
        for name, values in GOLDEN.items():
            assert [record[name] for record in records] == pytest.approx(values, rel=1e-3), name

    def test_the_logged_loss_is_the_sum_of_its_terms(self, whole: Path) -> None:
        for record in scalars(whole):
            assert record["loss"] == pytest.approx(sum(v for k, v in record.items() if ".loss" in k), rel=1e-5)

    def test_what_lies_in_the_work_dir(self, whole: Path) -> None:
        names = {path.name for path in whole.iterdir() if path.is_file()}
        assert {"iter_2.pth", "iter_4.pth", "latest.pth", "last_checkpoint", "curves.png"} < names
        assert (whole / "latest.pth").samefile(whole / "iter_4.pth")
        assert Path(find_latest_checkpoint(whole)).samefile(whole / "iter_4.pth")  # type: ignore[arg-type]

    def test_schedule_reaches_its_peak_and_its_end(self, whole: Path) -> None:
        rates = [record["lr"] for record in scalars(whole)]
        assert rates == pytest.approx([0.02 * 4e-3, 4e-3, 4e-3, 0.0])

    def test_sync_bn_becomes_bn_on_a_cpu(self, run_config: MakeConfig, tmp_path: Path) -> None:
        config = run_config(tmp_path)
        assert config.model.backbone.norm_cfg.type == "SyncBN"
        modules = list(build_runner(config).model.modules())
        assert not any(isinstance(module, SyncBatchNorm) for module in modules)
        assert any(isinstance(module, _BatchNorm) for module in modules)

    def test_console_is_brief_and_the_file_is_whole(
        self, run_config: MakeConfig, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        train(run_config(tmp_path, train_cfg__max_iters=1, param_scheduler=[]))
        console = "".join(capfd.readouterr())
        assert "System environment" in log(tmp_path)
        assert "System environment" not in console
        assert "Iter(train) [1/1]" in console


class TestCheckpointHook:
    def test_keeps_the_newest_and_removes_only_after_writing(
        self, run_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before: list[list[str]] = []
        save = LesionRunner.save_checkpoint

        def spy(self: LesionRunner, *args: Any, **kwargs: Any) -> Path:
            path = save(self, *args, **kwargs)
            before.append(sorted(p.name for p in tmp_path.glob("iter_*.pth")))
            return path

        (tmp_path / "iter_900.pth").write_text("of a longer run")
        monkeypatch.setattr(LesionRunner, "save_checkpoint", spy)
        train(run_config(tmp_path, default_hooks__checkpoint__interval=1, default_hooks__checkpoint__max_keep_ckpts=2))
        assert [len(names) for names in before] == [2, 3, 4, 4]
        assert sorted(p.name for p in tmp_path.glob("iter_*.pth")) == ["iter_3.pth", "iter_4.pth", "iter_900.pth"]
        assert (tmp_path / "latest.pth").samefile(tmp_path / "iter_4.pth")

    def test_a_full_disk_leaves_the_former_ones(
        self, run_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        save = torch.save

        def full(checkpoint: dict, file: Any) -> None:
            if checkpoint["meta"]["iter"] == 3:
                raise OSError(28, "No space left on device")
            save(checkpoint, file)

        monkeypatch.setattr(torch, "save", full)
        with pytest.raises(UserError, match=r"iter_3\.pth.*No space left"):
            train(run_config(tmp_path, default_hooks__checkpoint__interval=1, default_hooks__checkpoint__max_keep_ckpts=1))
        assert [p.name for p in tmp_path.glob("iter_*.pth")] == ["iter_2.pth"]
        assert read_checkpoint(tmp_path / "latest.pth")["meta"]["iter"] == 2

    def test_best_by_a_validation_metric_also_after_a_resume(
        self, run_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        scores = iter([0.1, 0.3, 0.2, 0.2, 0.25])  # a resumed run repeats the validation of its checkpoint
        monkeypatch.setattr(
            "mmseg.evaluation.lesion_metric.LesionMetric.compute_metrics", lambda self, results: {"mDice": next(scores)}
        )

        def config(last: int, **overrides: Any) -> Config:
            made = run_config(
                tmp_path, train_cfg__val_interval=1, default_hooks__checkpoint__save_best="lesion/mDice",
                train_cfg__max_iters=last, param_scheduler=[], test_dataloader__dataset__indices=1, **overrides,
            )
            made.val_cfg, made.val_dataloader, made.val_evaluator = {"type": "ValLoop"}, made.test_dataloader, made.test_evaluator
            return made

        train(config(3))
        best = [p.name for p in tmp_path.glob("best_*.pth")]
        assert best == ["best_lesion_mDice_iter_2.pth"]
        meta = read_checkpoint(tmp_path / best[0])["meta"]
        assert (meta["iter"], meta["metrics"]) == (2, {"lesion/mDice": 0.3})
        train(config(4, resume=True))  # scores 0.25, less than the best of before
        assert [p.name for p in tmp_path.glob("best_*.pth")] == best

    def test_nan_is_better_than_nothing_and_worse_than_all(
        self, run_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        scores = iter([float("nan"), 0.1, float("nan"), 0.05])
        monkeypatch.setattr(
            "mmseg.evaluation.lesion_metric.LesionMetric.compute_metrics", lambda self, results: {"mDice": next(scores)}
        )
        config = run_config(tmp_path, train_cfg__val_interval=1, default_hooks__checkpoint__save_best="lesion/mDice",
                            test_dataloader__dataset__indices=1)
        config.val_cfg, config.val_dataloader, config.val_evaluator = (
            {"type": "ValLoop"}, config.test_dataloader, config.test_evaluator)
        train(config)
        assert [path.name for path in tmp_path.glob("best_*.pth")] == ["best_lesion_mDice_iter_2.pth"]
        kept = read_checkpoint(tmp_path / "best_lesion_mDice_iter_2.pth")  # an earlier version kept nan
        kept["meta"]["metrics"]["lesion/mDice"] = float("nan")
        write_checkpoint(kept, tmp_path / "best_lesion_mDice_iter_2.pth")
        hook = CheckpointHook(save_best="lesion/mDice")
        resumed = SimpleNamespace(
            iter=2, describe=lambda _: {}, work_dir=tmp_path, logger=None, _resume_path=tmp_path / "latest.pth")
        hook.before_train(resumed)
        assert hook._best is None

    def test_the_best_of_another_run_is_no_rival(self, run_config: MakeConfig, whole: Path, tmp_path: Path) -> None:
        """As of one that is going to be replaced by a run that was begun elsewhere."""
        best = tmp_path / "best_lesion_mDice_iter_2.pth"
        other = read_checkpoint(whole / "iter_2.pth")
        other["meta"]["metrics"] = {"lesion/mDice": 0.9}
        write_checkpoint(other, best)
        for source, expected in ((whole / "iter_2.pth", None), (best, 0.9)):
            hook = CheckpointHook(save_best="lesion/mDice")
            hook.before_train(SimpleNamespace(
                iter=2, describe=lambda _: {}, work_dir=tmp_path, logger=None, _resume_path=source))
            assert hook._best == expected

    @pytest.mark.parametrize(("imported", "told"), [
        (np.zeros(3), r"cannot be stored in checkpoints \(.*ndarray.*\); expected names, numbers, lists and dictionaries"),
        (Path, r"cannot be stored in checkpoints \(.*type.*\); expected names, numbers, lists and dictionaries"),
        (None, r"train_dataloader\.dataset: got a ResidentDataset whose metainfo has no classes, palette"),
    ])
    def test_what_checkpoints_cannot_carry_is_told_before_the_first_iteration(
        self, run_config: MakeConfig, tmp_path: Path, imported: Any, told: str
    ) -> None:
        config = run_config(tmp_path)
        if imported is not None:
            config.imported = imported
            with pytest.raises(UserError, match=told):
                build_runner(config)
            return
        steps: list[int] = []
        runner = build_runner(config)
        runner.train_loop.dataloader.dataset.metainfo = {}
        runner.model.register_forward_hook(lambda *_: steps.append(1))
        with pytest.raises(UserError, match=told):
            runner.train()
        assert steps == []

    def test_a_picture_comes_after_the_checkpoint(self, run_config: MakeConfig, tmp_path: Path) -> None:
        """So that one that fails costs none."""
        runner = build_runner(run_config(tmp_path, custom_hooks=[dict(type="SampleOverlayHook", interval=2)]))
        order = [type(hook).__name__ for hook in runner.hooks]
        assert order.index("CheckpointHook") < order.index("SampleOverlayHook")

    def test_counting_in_epochs_is_refused(self, run_config: MakeConfig, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="by_epoch=True, expected False"):
            build_runner(run_config(tmp_path, default_hooks__checkpoint__by_epoch=True))


class TestAutocast:
    def test_bfloat16_inside_float32_gradients(self) -> None:
        model = nn.Linear(4, 4)
        wrapper = AutocastOptimWrapper(optimizer=torch.optim.SGD(model.parameters(), lr=0.1))
        with wrapper.optim_context(model):
            out = model(torch.ones(2, 4))
            assert out.dtype == torch.bfloat16
        wrapper.update_params(out.float().sum())
        assert model(torch.ones(2, 4)).dtype == torch.float32
        assert {p.dtype for p in model.parameters()} == {torch.float32}
        assert wrapper.optimizer.state_dict()["param_groups"][0]["lr"] == 0.1

    def test_off(self) -> None:
        model = nn.Linear(4, 4)
        wrapper = AutocastOptimWrapper("float32", optimizer=torch.optim.SGD(model.parameters(), lr=0.1))
        with wrapper.optim_context(model):
            assert model(torch.ones(2, 4)).dtype == torch.float32
        with pytest.raises(ValueError, match=r"'float16'.*expected 'auto', 'bfloat16' or 'float32'"):
            AutocastOptimWrapper("float16", optimizer=wrapper.optimizer)

    def test_in_a_run(self, run_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        seen: dict[str, torch.dtype] = {}
        update = OptimWrapper.update_params

        def spy(self: OptimWrapper, loss: torch.Tensor, *args: Any, **kwargs: Any) -> None:
            seen["loss"] = loss.dtype
            update(self, loss, *args, **kwargs)

        monkeypatch.setattr(OptimWrapper, "update_params", spy)
        runner = build_runner(run_config(tmp_path, optim_wrapper__dtype="bfloat16", log_processor__window_size=1))
        runner.model.backbone.layer1[0].conv1.register_forward_hook(lambda *args: seen.update(convolution=args[2].dtype))
        runner.train()
        assert seen == {"loss": torch.float32, "convolution": torch.bfloat16}
        assert {tensor.dtype for tensor in runner.model.parameters()} == {torch.float32}
        assert [r["loss"] for r in scalars(tmp_path)] == pytest.approx(GOLDEN["loss"], rel=0.05)


    @pytest.mark.parametrize("native", [True, False])
    def test_auto_asks_the_device(self, native: bool, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("mmseg.engine.autocast.has_native_bfloat16", lambda device: native)
        model = nn.Linear(4, 3)
        wrapper = AutocastOptimWrapper("auto", optimizer=torch.optim.SGD(model.parameters(), lr=0.1))
        with wrapper.optim_context(model):
            assert (model(torch.ones(2, 4)).dtype == torch.bfloat16) is native


def test_a_config_without_a_work_dir(demo_config: Path, tmp_path: Path) -> None:
    """As load_config gives it; the tools fill it in."""
    for build in (build_runner, lambda config: build_tester(config, "latest.pth", tmp_path)):
        with pytest.raises(UserError, match=r"^work_dir: got none, expected a folder: config\.work_dir = '"):
            build(load_config(demo_config))


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what happens where there is no GPU")
def test_slurm_without_a_gpu_is_told(run_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    config = run_config(tmp_path)
    config.launcher = "slurm"
    with pytest.raises(UserError, match="--launcher slurm: without a GPU processes are started by torchrun"):
        build_runner(config)


def test_what_is_logged_is_kept_no_longer_than_its_window(run_config: MakeConfig, tmp_path: Path) -> None:
    """mmengine appends to all that was ever logged, by a copy, at each step."""
    runner = train(run_config(tmp_path, train_cfg__max_iters=8, log_processor__window_size=3, param_scheduler=[]))
    kept = {name: len(buffer.data[0]) for name, buffer in runner.message_hub.log_scalars.items() if name.startswith("train/")}
    assert set(kept.values()) == {3} and len(kept) > 8
    wide = [dict(data_src="loss", log_name="loss_all", method_name="mean", window_size="global")]
    runner = train(run_config(tmp_path / "all", train_cfg__max_iters=8, log_processor__custom_cfg=wide, param_scheduler=[]))
    assert len(runner.message_hub.log_scalars["train/loss"].data[0]) == 8


@pytest.mark.parametrize("fused", [True, False])
def test_only_a_fused_optimiser_skips_updates_on_the_device(fused: bool) -> None:
    """A checkpoint of an optimiser that was not makes this one so."""
    optimizer = torch.optim.AdamW(nn.Linear(2, 2).parameters(), fused=True)
    optimizer.load_state_dict(torch.optim.AdamW(nn.Linear(2, 2).parameters(), fused=fused).state_dict())
    assert _can_skip(optimizer) is fused


class TestLoadWeights:
    @pytest.fixture
    def model(self) -> nn.Module:
        return nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 4))

    def test_all_fit(self, model: nn.Module) -> None:
        other = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 4)).state_dict()
        load_weights(model, {f"module.{name}": tensor for name, tensor in other.items()}, "x.pth")
        assert differences(dict(model.state_dict()), dict(other)) == []

    def test_every_difference_is_told_at_once(self, model: nn.Module) -> None:
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        shapes = {"0.weight": (3, 2), "1.weight": (5, 3), "1.bias": (5,), "2.bias": (1,)}
        weights = {name: torch.zeros(shape) for name, shape in shapes.items()}
        with pytest.raises(UserError) as caught:
            load_weights(model, weights, "x.pth")
        text = str(caught.value)
        assert text.startswith("x.pth does not fit the model: ")
        assert "1 tensors missing (0.bias)" in text
        assert "1 tensors unexpected (2.bias)" in text
        assert "2 tensors of another shape (1.weight: got (5, 3), expected (4, 3), 1.bias" in text
        assert "other classes?" in text
        assert differences(dict(model.state_dict()), before) == []

    def test_fine_tuning_takes_what_fits(self, model: nn.Module) -> None:
        before = model[1].weight.clone()
        load_weights(model, {"0.weight": torch.zeros(3, 2), "1.weight": torch.zeros(5, 3)}, "x.pth", strict=False)
        assert not model[0].weight.any()
        assert torch.equal(model[1].weight, before)

    @pytest.mark.parametrize("strict", [True, False])
    def test_nothing_fits(self, model: nn.Module, strict: bool) -> None:
        with pytest.raises(UserError, match="does not fit the model"):
            load_weights(model, {"other": torch.zeros(1)}, "x.pth", strict)


class TestOtherClasses:
    def test_fine_tuning_leaves_the_classifiers_out_and_says_so(
        self, run_config: MakeConfig, two_classes: Path, tmp_path: Path
    ) -> None:
        runner = train(run_config(tmp_path / "w", load_from=str(two_classes), train_cfg__max_iters=1, param_scheduler=[]))
        text = log(tmp_path / "w")
        assert "two_classes.pth does not fit the model" in text
        assert "tensors of another shape" in text
        assert "expected (4, " in text
        assert runner.iter == 1

    def test_fine_tuning_starts_from_the_weights(self, run_config: MakeConfig, trained: Path, tmp_path: Path) -> None:
        config = run_config(
            tmp_path, load_from=str(trained), train_cfg__max_iters=1, param_scheduler=[], optim_wrapper__optimizer__lr=0.0
        )
        mine, theirs = train(config).model.state_dict(), read_checkpoint(trained)["state_dict"]
        assert all(torch.equal(tensor, theirs[name]) for name, tensor in mine.items() if name.endswith("weight"))
        digest = hashlib.sha256(trained.read_bytes()).hexdigest()[:12]
        assert read_checkpoint(tmp_path / "latest.pth")["meta"]["init"] == f"{trained.name} sha256:{digest}"

    def test_testing_refuses(self, run_config: MakeConfig, two_classes: Path, tmp_path: Path) -> None:
        with pytest.raises(UserError, match=r"of another shape.*other classes"):
            build_runner(run_config(tmp_path / "w", load_from=str(two_classes))).test()


def test_augmentation_moves_on_whatever_the_hooks(run_config: MakeConfig, tmp_path: Path) -> None:
    """A configuration with default hooks of its own would draw those of the first iteration for ever."""
    config = run_config(tmp_path, train_cfg__max_iters=2, param_scheduler=[])
    del config.default_hooks.batch_seed
    runner = build_runner(config)
    runner.train()
    assert runner.bare_model.data_preprocessor.iteration == 1


def test_checkpoints_of_a_config_that_says_nothing_of_them(run_config: MakeConfig, tmp_path: Path) -> None:
    """mmengine's default, which means epochs, would be this project's hook with an interval of one iteration."""
    config = run_config(tmp_path, train_cfg__max_iters=2, param_scheduler=[])
    del config.default_hooks.checkpoint
    runner = train(config)
    (hook,) = [hook for hook in runner.hooks if isinstance(hook, CheckpointHook)]
    assert (hook.interval, hook.max_keep_ckpts) == (1000, 3)
    assert {path.name for path in tmp_path.glob("*.pth")} == {"iter_2.pth", "latest.pth"}


def test_a_checkpoint_hook_of_mmengine_writes_what_can_be_resumed(run_config: MakeConfig, tmp_path: Path) -> None:
    hook = dict(type="mmengine.CheckpointHook", by_epoch=False, interval=1, save_best="lesion/mDice", rule="greater")
    config = run_config(
        tmp_path, train_cfg__max_iters=2, train_cfg__val_interval=2, param_scheduler=[], default_hooks__checkpoint=hook)
    config.val_cfg, config.val_evaluator = {"type": "ValLoop"}, config.test_evaluator
    config.val_dataloader = {**config.test_dataloader, "dataset": {**config.test_dataloader.dataset, "indices": 1}}
    again = copy.deepcopy(config)
    train(config)
    assert read_checkpoint(tmp_path / "iter_1.pth")["meta"]["iter"] == 1
    (best,) = tmp_path.glob("best_*.pth")
    assert read_checkpoint(best)["meta"]["iter"] == 2
    again.train_cfg.max_iters, again.resume, again.experiment_name = 3, True, "again"
    runner = train(again)
    assert runner.iter == 3 and "resumed at iteration 2" in log(tmp_path)


def test_first_weights_that_are_missing_and_stay(run_config: MakeConfig, trained: Path, tmp_path: Path) -> None:
    """A frozen stage of random weights learns nothing and says nothing."""
    missing = dict(type="Pretrained", checkpoint=str(tmp_path / "none.pth"))
    frozen = dict(model__backbone__init_cfg=missing, model__backbone__frozen_stages=1, train_cfg__max_iters=1, param_scheduler=[])
    with pytest.raises(UserError, match=r"model\.backbone\.init_cfg: its file is not there, and frozen_stages, norm_eval or"):
        train(run_config(tmp_path / "a", **frozen))
    assert train(run_config(tmp_path / "b", load_from=str(trained), **frozen)).iter == 1
    plain = dict(model__backbone__init_cfg=missing, train_cfg__max_iters=1, param_scheduler=[])
    assert read_checkpoint(tmp_path / "b/latest.pth")["meta"]["init"].startswith("latest.pth sha256:")
    train(run_config(tmp_path / "c", **plain))
    assert read_checkpoint(tmp_path / "c/latest.pth")["meta"]["init"] == "scratch"


def test_the_config_that_is_kept_begins_with_the_same_weights(run_config: MakeConfig, trained: Path, tmp_path: Path) -> None:
    """Also after a resume, which has none to begin with."""
    for number, more in enumerate((dict(load_from=str(trained)), dict(resume=True))):
        train(run_config(tmp_path, train_cfg__max_iters=number + 1, param_scheduler=[], **more))
        (path,) = tmp_path.glob("*.py")
        kept = Config.fromfile(path)
        assert (kept.load_from, kept.resume, kept.train_cfg.max_iters) == (str(trained), False, number + 1)
    for checkpoint in tmp_path.glob("*.pth"):
        checkpoint.unlink()
    train(run_config(tmp_path, train_cfg__max_iters=1, param_scheduler=[], resume=True))  # which starts afresh
    assert Config.fromfile(path).load_from is None


def test_the_first_weights_of_any_part_are_told(run_config: MakeConfig, tmp_path: Path) -> None:
    shallow = build_runner(run_config(tmp_path / "a")).bare_model.refine_head
    torch.save(shallow.shallow_net.state_dict(), tmp_path / "shallow.pth")
    first = dict(type="Pretrained", checkpoint=str(tmp_path / "shallow.pth"))
    config = run_config(tmp_path / "b", train_cfg__max_iters=1, param_scheduler=[], model__decode_head__1__shallow_init_cfg=first)
    train(config)
    assert read_checkpoint(tmp_path / "b/latest.pth")["meta"]["init"].startswith("shallow.pth sha256:")


def test_all_processes_know_the_same_best_score(
    run_config: MakeConfig, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What another machine sees of a shared folder may be old; where they judge apart, one waits for a checkpoint for ever."""
    hook = CheckpointHook(save_best="lesion/mDice")
    monkeypatch.setattr(checkpoint_hook, "is_main_process", lambda: False)
    monkeypatch.setattr(checkpoint_hook, "best_checkpoints", lambda *_: pytest.fail("the first process reads, for all"))
    monkeypatch.setattr(checkpoint_hook, "broadcast_object_list", lambda box: box.__setitem__(0, 0.25))
    runner = SimpleNamespace(iter=4, work_dir=str(trained.parent), _resume_path=trained, describe=lambda _: {})
    hook.before_train(runner)
    assert hook._best == 0.25


def test_curves_are_of_this_run_and_those_it_resumed(
    run_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that died before its first checkpoint leaves numbers, and is no part of the next."""
    dead = tmp_path / "20260101_000000/vis_data/scalars.json"
    dead.parent.mkdir(parents=True)
    dead.write_text('{"step": 900, "loss": 1.0}\n')
    drawn: list[list[int]] = []
    monkeypatch.setattr(curves_hook, "draw_curves", lambda records, _: drawn.append([record["step"] for record in records]))
    train(run_config(tmp_path, curves=True, train_cfg__max_iters=2, param_scheduler=[]))
    train(run_config(tmp_path, curves=True, train_cfg__max_iters=3, param_scheduler=[], resume=True))
    assert drawn == [[1, 2], [1, 2, 3]]


@pytest.mark.parametrize("given", [None, dict(type="LoggerHook", interval=1), dict(type="LoggerHook", log_metric_by_epoch=True)])
def test_validations_are_logged_by_iteration(run_config: MakeConfig, tmp_path: Path, given: dict[str, Any] | None) -> None:
    """mmengine's own default would put them all at epoch 0."""
    config = run_config(tmp_path)
    del config.default_hooks.logger
    if given is not None:
        config.default_hooks.logger = given
    (hook,) = (hook for hook in build_runner(config).hooks if isinstance(hook, LoggerHook))
    assert hook.log_metric_by_epoch is (given or {}).get("log_metric_by_epoch", False)


def test_a_config_without_a_scope_and_a_backend_that_is_not_installed(
    run_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = run_config(tmp_path)
    config.pop("default_scope")
    assert build_runner(config).bare_model is not None
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(UserError, match="wandb"):
        build_runner(run_config(tmp_path, visualizer__vis_backends=[dict(type="WandbVisBackend")]))


def test_a_hook_of_a_priority_that_there_is_not(run_config: MakeConfig, tmp_path: Path) -> None:
    (found,) = build_parts(run_config(tmp_path, custom_hooks=[dict(type="EMAHook", priority="HIGHER")])).findings
    assert found.where == "custom_hooks.0" and "'HIGHER'" in str(found)


def test_two_runs_in_one_folder(run_config: MakeConfig, tmp_path: Path) -> None:
    """Each would remove the other's checkpoints; the lock goes with the process that holds it."""
    (tmp_path / "iter_4.pth").touch()
    runner = build_runner(run_config(tmp_path, train_cfg__max_iters=1, param_scheduler=[]))
    with (tmp_path / RUNNING).open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        runner.register_hook(ReplaceRunHook())
        with pytest.raises(UserError, match="another training is writing there"):
            runner.train()
        assert not list(tmp_path.glob("*.py")), "the config is that of the run which is writing"
        assert [path.name for path in tmp_path.glob("*.pth")] == ["iter_4.pth"]
    runner.train()
    assert (tmp_path / "latest.pth").is_file()


def test_a_first_step_that_fails_leaves_the_earlier_runs_config(
    run_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one that a GPU has no room for: the earlier run's checkpoints are still there, and are tested by its config."""

    def one_step(runner: LesionRunner) -> None:
        runner.register_hook(ReplaceRunHook())
        runner.train()

    (tmp_path / "iter_9.pth").touch()
    with monkeypatch.context() as patch:
        patch.setattr("mmengine.model.BaseModel.train_step", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            one_step(build_runner(run_config(tmp_path, train_cfg__max_iters=1, param_scheduler=[])))
    assert (tmp_path / "iter_9.pth").exists() and not list(tmp_path.glob("*.py"))
    one_step(build_runner(run_config(tmp_path, train_cfg__max_iters=1, param_scheduler=[])))
    assert not (tmp_path / "iter_9.pth").exists() and len(list(tmp_path.glob("*.py"))) == 1


def test_what_only_a_training_needs_is_not_asked_of_a_test(run_config: MakeConfig, trained: Path, tmp_path: Path) -> None:
    """As of one that was made for another program, or long ago."""
    config = run_config(tmp_path)
    config.train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=3)
    config.train_dataloader.persistent_workers = True
    with pytest.raises(UserError, match=r"(?s)train_cfg\.type.*persistent_workers"):
        build_runner(config)
    assert build_tester(config, trained, tmp_path / "out").cfg.test_evaluator.out_dir == str(tmp_path / "out")


def test_workers_are_out_of_reach_of_the_signals_of_a_run(run_config: MakeConfig, tmp_path: Path) -> None:
    """Ctrl-C and launchers signal the group of processes; a worker that ended would take the last batches with it."""
    config = run_config(tmp_path, train_dataloader__num_workers=1, train_dataloader__persistent_workers=True)
    loader = iter(build_runner(config).build_dataloader(config.train_dataloader, seed=0))
    next(loader)
    (worker,) = loader._workers
    assert os.getpgid(worker.pid) == worker.pid != os.getpgid(0)


def test_dropout_differs_between_processes(run_config: MakeConfig, tmp_path: Path) -> None:
    runner, drawn = build_runner(run_config(tmp_path)), []
    for rank in (0, 0, 1):
        runner._rank = rank
        torch.manual_seed(runner.seed)
        BatchSeedHook().before_train(runner)
        drawn.append(torch.rand(3).tolist())
    assert drawn[0] == drawn[1] != drawn[2]


def test_processes_that_would_train_another_thing(
    run_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a command was typed twice, and an option forgotten once; paths may differ."""
    facts = [
        build_runner(run_config(tmp_path / str(i), optim_wrapper__optimizer__lr=lr, model__decode_head__0__channels=8,
                                train_dataloader__dataset__cache_dir=f"/disk{i}/cache"))._facts()
        for i, lr in enumerate((1e-3, 1e-3, 3e-3))
    ]
    for told, wrong in ((facts[:2], ""), (facts, r"optim_wrapper\.optimizer\.lr: 0\.001 in process 0, 0\.003 in process 2$")):
        monkeypatch.setattr("mmseg.engine.agreement.all_gather_object", lambda _, told=told: told)
        with pytest.raises(UserError, match=wrong) if wrong else contextlib.nullcontext():
            check_same({})


def test_a_runner_of_ones_own(run_config: MakeConfig, tmp_path: Path) -> None:
    @RUNNERS.register_module(force=True)
    class OwnRunner(LesionRunner):
        pass

    assert isinstance(build_runner(run_config(tmp_path, runner_type="OwnRunner")), OwnRunner)
    for other in ("Runner", "NoRunner"):
        with pytest.raises(UserError, match=f"runner_type: got '{other}', expected LesionRunner or a registered subclass of it"):
            build_runner(run_config(tmp_path, runner_type=other))


@pytest.mark.parametrize("unused", [False, True])
def test_several_processes_on_a_cpu_are_wrapped_as_the_config_says(
    run_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unused: bool
) -> None:
    wrapped: list[dict[str, Any]] = []
    monkeypatch.setattr("mmengine.model.wrappers.MMDistributedDataParallel.__init__", lambda self, **given: wrapped.append(given))
    runner = build_runner(run_config(tmp_path, find_unused_parameters=unused))
    runner._distributed = True
    runner.wrap_model(None, nn.Conv2d(1, 1, 1))
    runner.wrap_model(dict(static_graph=True), nn.Conv2d(1, 1, 1))
    assert [given.get("find_unused_parameters") for given in wrapped] == [unused, None]
    assert wrapped[1]["static_graph"] is True
    assert not any("device_ids" in given for given in wrapped)  # which torch refuses for weights on a CPU


def test_a_gpu_of_apple_is_not_used(run_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """mmengine would take one; float64, which the scores need, is not there."""
    runner = build_runner(run_config(tmp_path))
    monkeypatch.setattr("mmengine.runner.runner.get_device", lambda: "mps")
    model = nn.Conv2d(1, 1, 1)
    monkeypatch.setattr(model, "to", lambda *where, **order: pytest.fail(str(where)) if where else model)
    assert runner.wrap_model(None, model) is model


def test_what_train_freezes_is_frozen_from_the_first_step(run_config: MakeConfig, tmp_path: Path) -> None:
    """A new module says that it trains already."""
    runner = build_runner(run_config(tmp_path, model__backbone__norm_eval=True, train_cfg__max_iters=1, param_scheduler=[]))
    modes: list[bool] = []
    runner.bare_model.backbone.layer1[0].bn1.register_forward_hook(lambda module, *_: modes.append(module.training))
    runner.train()
    assert modes and not any(modes)


def test_the_log_tells_the_number_format(whole: Path) -> None:
    assert "forward passes compute in float32, on cpu" in log(whole)
    assert "only emulates" not in log(whole)


def test_emulated_bfloat16_is_slower_and_said(run_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mmseg.engine.hooks.runtime_info_hook.has_native_bfloat16", lambda _: False)
    train(run_config(tmp_path, optim_wrapper__dtype="bfloat16", train_cfg__max_iters=1, param_scheduler=[]))
    assert "got bfloat16, which this cpu only emulates, more slowly than float32; leave out --amp" in log(tmp_path)


def test_a_lock_ends_with_its_process_though_a_child_lives_on(tmp_path: Path) -> None:
    """As the workers of a loader do for some seconds after their process was killed."""
    if (middle := os.fork()) == 0:
        with hold(tmp_path / "lock"):
            if os.fork() == 0:
                (tmp_path / "child").touch()
                time.sleep(20)
            while not (tmp_path / "child").exists():
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(middle, 0)
    with hold(tmp_path / "lock", wait=False):
        pass
