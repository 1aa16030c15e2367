"""What a configuration says of itself: every kind of mistake is one finding that names the key."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from mmengine.config import Config
from mmengine.optim.scheduler.param_scheduler import _ParamScheduler

from mmseg.apis import register_all_modules
from mmseg.engine import load_config
from mmseg.engine.preflight.config import config_findings, dig, pretrained_findings
from mmseg.engine.preflight.finding import Finding, exit_code, from_user_error
from mmseg.engine.preflight.types import describe, hints, matches
from mmseg.models import SDCNet
from mmseg.registry import PARAM_SCHEDULERS
from mmseg.utils.errors import UserError


@pytest.fixture(autouse=True, scope="module")
def _registered() -> None:
    register_all_modules()


def told(config: Config, severity: str) -> list[str]:
    return [str(finding) for finding in config_findings(config) if finding.severity == severity]


def test_every_shipped_config_is_clean(repo: Path) -> None:
    paths = sorted((repo / "configs").glob("*net/*.py"))
    assert len(paths) >= 5
    for path in paths:
        assert [finding for finding in config_findings(load_config(path)) if finding.severity != "note"] == []


@pytest.mark.parametrize(("key", "value", "expected"), [
    ("train_dataloader.batch_size", 0, "train_dataloader.batch_size: got 0, expected 1 or more"),
    ("train_dataloader.batch_size", "4", "train_dataloader.batch_size: got '4' (str), expected int"),
    ("train_dataloader.batch_size", None, "train_dataloader.batch_size: got None, expected int"),
    ("test_dataloader.num_workers", -1, "test_dataloader.num_workers: got -1, expected 0 or more"),
    ("train_dataloader.dataset", None, "train_dataloader.dataset: got None, expected a dictionary with a type"),
    ("train_dataloader.dataset.size", [1, 2, 3], "train_dataloader.dataset.size: got [1, 2, 3] (list), expected tuple[int, int]"),
    ("train_dataloader.dataset.size", 512, "train_dataloader.dataset.size: got 512 (int), expected tuple[int, int] or None"),
    ("model.backbone.depth", "18", "model.backbone.depth: got '18' (str), expected int"),
    ("model.backbone.strides", 2, "model.backbone.strides: got 2 (int), expected"),
    ("model.decode_head.1.num_classes", 4.0, "model.decode_head.1.num_classes: got 4.0 (float), expected int"),
    ("data_preprocessor.train_transforms.0.scale", (0.5, "2"), "data_preprocessor.train_transforms.0.scale: got (0.5, '2')"),
    ("data_preprocessor.std", [80.0, 0.0, 13.0], "data_preprocessor.std: got [80.0, 0.0, 13.0], expected numbers greater than 0"),
    ("optim_wrapper.optimizer.lr", "1e-3", "optim_wrapper.optimizer.lr: got '1e-3' (str), expected float"),
    ("train_cfg.max_iters", 0, "train_cfg.max_iters: got 0, expected 1 or more"),
    ("train_cfg", 5, "train_cfg: got 5, expected a dictionary"),
    ("param_scheduler", [3], "param_scheduler.0: got 3, expected a dictionary with a type"),
    ("randomness.seed", -1, "randomness.seed: got -1, expected 0 or more"),
    ("randomness.seed", 2**32, "randomness.seed: got 4294967296, expected less than 2**32"),
    ("default_hooks.checkpoint.interval", 0, "default_hooks.checkpoint.interval: got 0, expected 1 or more"),
    ("default_hooks.checkpoint.save_best", "lesion/mDice", "save_best: got 'lesion/mDice' without validation, expected"),
    ("test_evaluator", None, "test_evaluator: got no test_evaluator, but test_dataloader and test_cfg, expected"),
    ("val_cfg", dict(type="ValLoop"), "val_dataloader: got no val_dataloader and no val_evaluator, but val_cfg, expected"),
    ("test_dataloader.dataset.test_mode", False, "test_dataloader.dataset.test_mode: got False, expected True"),
    ("train_dataloader.dataset.dataset.test_mode", True, "train_dataloader.dataset.dataset.test_mode: got True, expected False"),
    ("test_dataloader.sampler.type", "InfiniteSampler", "test_dataloader.sampler.type: got 'InfiniteSampler', expected"),
    ("train_dataloader.persistent_workers", True, "train_dataloader.persistent_workers: got True without workers"),
    ("test_dataloader.prefetch_factor", 2, "test_dataloader.prefetch_factor: got 2 without workers"),
    ("train_dataloader.shuffle", True, "train_dataloader.shuffle: got True beside the sampler"),
    ("train_dataloader.sampler", None, "train_dataloader.sampler: got nothing"),
    ("train_cfg", dict(type="EpochBasedTrainLoop", max_epochs=3), "train_cfg.type: got 'EpochBasedTrainLoop', expected"),
    ("train_cfg", dict(max_iters=9), "train_cfg.type: got None, expected 'IterBasedTrainLoop'"),
    ("train_cfg", dict(type="IterBasedTrainLoop"), "train_cfg.max_iters: got nothing, expected"),
    ("test_dataloader.dataset.size", (240, "160"), "test_dataloader.dataset.size: got (240, '160') (tuple), expected"),
    ("model.type", SDCNet, "model.type: got the class SDCNet, expected its name, 'SDCNet'"),
    ("optim_wrapper.optimizer.type", torch.optim.AdamW, "optimizer.type: got the class AdamW, expected its name, 'AdamW'"),
    ("optim_wrapper.clip_grad.max_nrom", 1, "clip_grad.max_nrom: a key that nothing reads; did you mean 'max_norm'"),
    ("optim_wrapper.paramwise_cfg", dict(norm_decay_mul=0), "paramwise_cfg.norm_decay_mul: a key that nothing reads"),
    ("env_cfg.cudnn_benchmrk", True, "env_cfg.cudnn_benchmrk: a key that nothing reads; did you mean 'cudnn_benchmark'"),
    ("auto_scale_lr", dict(enable=True), "auto_scale_lr.base_batch_size: got nothing, expected the batch"),
    ("activation_checkpointing", "backbone", "activation_checkpointing: got 'backbone', expected nothing; mmengine's way takes"),
    ("custom_hooks", dict(type="EMAHook"), "custom_hooks: got {'type': 'EMAHook'}, expected a list"),
    ("model.backbone.init_cfg.checkpoint", None, "init_cfg.checkpoint: got None, expected a path; for random weights model."),
])
def test_one_mistake_is_one_error(demo_config: Path, key: str, value: Any, expected: str) -> None:
    config = load_config(demo_config)
    if "." in key:
        config.merge_from_dict({key: value})
    else:
        config[key] = value
    found = told(config, "error")
    if key != "train_cfg":  # which then is missing for the rest, too
        assert len(found) == 1
    assert expected in found[0]


def test_a_misspelt_key_of_test_cfg_is_a_warning(demo_config: Path) -> None:
    """Nothing would read it; configs of other projects may bring keys of their own models."""
    config = load_config(demo_config, {"model.test_cfg": dict(mode="whole", threshold=0.5)})
    assert told(config, "error") == []
    assert told(config, "warning") == [
        "model.test_cfg.threshold: a key that nothing reads; did you mean 'thresholds'?"]


@pytest.mark.parametrize(("key", "value", "expected"), [
    ("param_scheduler.1.by_epoch", True, "param_scheduler.1.by_epoch: got True, expected False; training is counted in iterat"),
    ("train_cfg.val_interval", 500, "train_cfg.val_interval: got 500, expected at most train_cfg.max_iters, 200"),
])
def test_what_would_never_happen_is_a_warning(demo_config: Path, key: str, value: Any, expected: str) -> None:
    config = load_config(demo_config, {key: value})
    config.val_dataloader, config.val_evaluator = config.test_dataloader, config.test_evaluator
    config.val_cfg = dict(type="ValLoop")
    assert told(config, "error") == []
    warnings = told(config, "warning")
    assert any(expected in warning for warning in warnings)
    # without an interval of its own, mmengine's 1000 exceeds the demo's 200 iterations
    assert len(warnings) == 1 + (key != "train_cfg.val_interval")


def test_two_data_preprocessors(demo_config: Path) -> None:
    """As mmsegmentation's configs have them; an override of one of them leaves the other."""
    config = load_config(demo_config)
    config.model.data_preprocessor = copy.deepcopy(config.data_preprocessor)
    assert told(config, "warning") == told(config, "error") == []
    config.model.data_preprocessor.std = [0.0, 1.0, 1.0]
    (warning,), (error,) = told(config, "warning"), told(config, "error")
    assert warning.startswith("data_preprocessor: got other settings than model.data_preprocessor, which is used")
    assert error.startswith("model.data_preprocessor.std: got [0.0, 1.0, 1.0], expected numbers greater than 0")


def test_a_schedule_that_does_not_say_what_it_counts(demo_config: Path) -> None:
    """mmengine's runner takes it for one of epochs, whatever its class does; ours knows LegacyLR."""
    config = load_config(demo_config)
    config.param_scheduler = [dict(type="LegacyLR", policy="poly")]
    assert told(config, "warning") == []

    class OwnLR(_ParamScheduler):
        def __init__(self, optimizer: Any, by_epoch: bool = False, **settings: Any) -> None:
            super().__init__(optimizer, "lr", by_epoch=by_epoch, **settings)

    PARAM_SCHEDULERS.register_module(module=OwnLR)
    try:
        config.param_scheduler = [dict(type="OwnLR")]
        (found,) = told(config, "warning")
    finally:
        del PARAM_SCHEDULERS.module_dict["OwnLR"]
    assert found.startswith("param_scheduler.0.by_epoch: got None, expected False; training is counted in iterations")


@pytest.mark.parametrize("end", [150, 400])
def test_a_schedule_of_another_length(demo_config: Path, end: int) -> None:
    config = load_config(demo_config)
    config.param_scheduler[1].end = end
    (found,) = told(config, "warning")
    assert found.startswith(f"param_scheduler.1.end: got {end}, expected train_cfg.max_iters, {config.train_cfg.max_iters}")


def test_sizes_that_differ(demo_config: Path) -> None:
    config = load_config(demo_config)
    config.train_dataloader.dataset.size = (360, 480)
    (found,) = told(config, "warning")
    assert found.startswith("test_dataloader.dataset.size: got ") and "expected (360, 480) (either way round)" in found
    config.test_dataloader.dataset.size = (480, 360)  # a box may stand on its side
    assert told(config, "warning") == []


def test_normalisation_of_torchvision(demo_config: Path) -> None:
    config = load_config(demo_config)
    config.data_preprocessor.update(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
    assert told(config, "error") == []  # a model may have been trained so
    (found,) = told(config, "warning")
    assert found.startswith("data_preprocessor.mean: got [0.485, 0.456, 0.406], expected numbers from 0 to 255")
    config.data_preprocessor.update(mean=[0.0, 0.0, 0.0], std=[1.0, 1.0, 1.0])
    assert told(config, "warning") == []


@pytest.mark.parametrize(("hook", "iterations", "expected"), [
    (dict(), 2000, "custom_hooks.1.momentum: got 0.0002, expected at least 0.0025; in the end 67 % of the average would be the"),
    (dict(momentum=2e-3, interval=10), 2500, "got 0.002, expected at least 0.02; in the end 61 %"),
    (dict(momentum=0.1), 4, "got 0.1, expected at least 0.5; in the end 66 %"),
    (dict(momentum=2e-3), 2500, ""), (dict(), 40000, ""), (dict(momentum=2e-3, begin_iter=1), 2500, ""),
    (dict(begin_iter=900), 1000, ""), (dict(ema_type="StochasticWeightAverage"), 200, ""), (dict(momentum=2.0), 200, ""),
])
def test_an_average_that_keeps_its_first_weights(
    demo_config: Path, hook: dict[str, Any], iterations: int, expected: str
) -> None:
    config = load_config(demo_config, {"train_cfg.max_iters": iterations})
    config.custom_hooks = [dict(type="CurvesHook"), dict(type="EMAHook", **hook)]
    found = [line for line in told(config, "warning") if line.startswith("custom_hooks")]
    assert len(found) == bool(expected) and all(expected in line for line in found)
    config.custom_hooks[1].type = "mmengine.hooks.EMAHook"
    assert [line for line in told(config, "warning") if line.startswith("custom_hooks")] == found
    testing = config_findings(config, ("test_dataloader",))
    assert not [finding for finding in testing if finding.severity == "warning" and finding.where.startswith("custom_hooks")]


def test_mmengines_own_loop_is_a_warning(demo_config: Path) -> None:
    config = load_config(demo_config)
    config.train_cfg = dict(by_epoch=False, max_iters=config.train_cfg.max_iters)
    assert told(config, "error") == []
    (found,) = told(config, "warning")
    assert found.startswith("train_cfg.type: got None, expected 'IterBasedTrainLoop'")


def test_pretrained_weights_and_the_start(demo_config: Path, tmp_path: Path) -> None:
    config = load_config(demo_config, {"model.backbone.init_cfg": dict(type="Pretrained", checkpoint=f"{tmp_path}/r18.pth")})
    (finding,) = pretrained_findings(config)
    assert (finding.severity, finding.where) == ("warning", "model.backbone.init_cfg.checkpoint")
    assert "r18.pth" in finding.got
    assert "nothing is downloaded" in finding.fix
    (tmp_path / "r18.pth").touch()
    assert list(pretrained_findings(config)) == []
    config.load_from = str(tmp_path / "none.pth")
    (finding,) = pretrained_findings(config)
    assert (finding.severity, finding.where) == ("error", "load_from")
    (tmp_path / "r18.pth").unlink()
    config.load_from, config.resume = None, True  # all weights come from the checkpoint
    assert list(pretrained_findings(config)) == []


def test_an_address_of_pretrained_weights(demo_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDCNET_HOME", str(tmp_path))
    config = load_config(demo_config, {"model.backbone.init_cfg": None})
    config.model.pretrained = "open-mmlab://resnet18_v1c"
    (finding,) = pretrained_findings(config)
    assert (finding.severity, finding.where) == ("warning", "model.pretrained")
    assert finding.got == f"{tmp_path}/model/resnet18_v1c.pth, which is no file"
    (tmp_path / "model").mkdir()
    (tmp_path / "model/resnet18_v1c-b5776b93.pth").touch()
    assert list(pretrained_findings(config)) == []


@pytest.mark.parametrize(("value", "hint", "fits"), [
    (1, int, True), (True, int, False), (1.0, int, False), ("1", int, False), (1, float, True), ("1", float, False),
    (1, bool, False), ("a", str, True), (1, str, False), ([1, 2], tuple[int, int], True), ((1, 2, 3), tuple[int, int], False),
    ([1, 2, 3], tuple[int, ...], True), ([1, "2"], tuple[int, ...], False), ([1], Sequence[int], True),
    ("ab", Sequence[str], False),
    (None, int, True), (None, int | None, True), (1, int | None, True), ("1", int | None, False), ("a", Literal["a", "b"], True),
    ("c", Literal["a", "b"], False), (dict(a=1), dict, True), (3, dict, False), (dict(type="X"), int, False),
    (dict(type="X"), Path, True), (3, Any, True), ([dict(type="X")], list[dict], True), (3, list, False),
])
def test_types(value: Any, hint: Any, fits: bool) -> None:
    assert matches(value, hint) is fits


def test_annotations_come_from_parents_too() -> None:
    class Parent:
        def __init__(self, a: int, b: int) -> None: ...

    class Child(Parent):
        def __init__(self, a: str, **kwargs: Any) -> None: ...

    class Strange(Child):
        def __init__(self, a: "Unknown") -> None: ...  # type: ignore[name-defined] # noqa: F821, UP037

    assert {name: hint for name, hint in hints(Child).items() if name in "ab"} == {"a": str, "b": int}
    assert "a" not in hints(Strange)
    assert describe(tuple[int, int] | None) == "tuple[int, int] or None"


def test_dig() -> None:
    config = Config(dict(a=[dict(b=3)], c=4))
    assert [dig(config, key) for key in ("a.0.b", "c", "a.1.b", "a.x", "c.d", "e")] == [3, 4, None, None, None, None]


def test_a_finding_is_one_sentence() -> None:
    finding = Finding("error", "a.png", "3", "4", "mend it")
    assert str(finding) == "a.png: got 3, expected 4; mend it"
    assert str(Finding("note", "a.png", "seen")) == "a.png: seen"
    assert from_user_error(UserError("a.png: got 3, expected 4; mend it"), "a.png") == finding
    assert from_user_error("cut off", "a.png", "warning") == Finding("warning", "a.png", "cut off")
    assert [exit_code([Finding(s, "", "") for s in severities]) for severities in ([], ["note"], ["warning"])] == [0, 0, 1]
    assert exit_code([finding, Finding("warning", "", "")]) == 2


def test_checkpoints_stand_between_updates(demo_config: Path) -> None:
    config = load_config(demo_config, {"default_hooks.checkpoint.interval": 50})
    before = told(config, "warning")
    for counts, wrong in ((1, 0), (2, 0), (3, 1), (4, 1)):
        config.optim_wrapper.accumulative_counts = counts
        assert len(told(config, "warning")) == len(before) + wrong
        assert told(config, "error") == []  # what was trained so can still be used
    expected = "default_hooks.checkpoint.interval: got 50, expected a multiple of optim_wrapper.accumulative_counts, 4"
    assert any(line.startswith(expected) for line in told(config, "warning"))
    config.default_hooks.checkpoint.interval = 1001  # never reached
    assert not any("accumulative_counts" in line for line in told(config, "warning"))


def test_what_fails_behind_a_dotted_type_is_told(demo_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_losses.py").write_text("import a_package_that_is_not_installed\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    config = load_config(demo_config)
    config.model.decode_head[1].loss_decode = [dict(type="own_losses.OwnLoss")]
    (line,) = told(config, "error")
    assert line.startswith("model.decode_head.1.loss_decode.0.type: ") and "a_package_that_is_not_installed" in line
