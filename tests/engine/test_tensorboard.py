"""TensorBoard shows a run; without it nothing is missed; and drawing samples changes no result."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from mmseg.apis import build_runner
from mmseg.datasets.reading import read_image
from mmseg.engine.checkpoint import read_checkpoint

MakeConfig = Callable[..., Config]


@pytest.fixture(scope="module")
def run(run_config: MakeConfig, tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that validates and draws every second iteration."""
    config = run_config(tmp_path_factory.mktemp("run"), default_hooks__samples__interval=2)
    config.val_dataloader, config.val_evaluator = config.test_dataloader, config.test_evaluator
    config.val_cfg = dict(type="ValLoop")
    config.train_cfg.val_interval = 2
    build_runner(config).train()
    return Path(config.work_dir)


def test_everything_is_shown(run: Path) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard is not installed: pip install tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (folder,) = {path.parent for path in run.glob("**/events.out.tfevents.*")}
    events = EventAccumulator(str(folder))
    events.Reload()
    assert {"loss", "lr", "lesion/mDice", "lesion/mAP", "lesion/mAUPR11", "lesion/AP.MA"} <= set(events.Tags()["scalars"])
    assert [event.step for event in events.Scalars("loss")] == [1, 2, 3, 4]
    assert [event.step for event in events.Scalars("lesion/mAP")] == [2, 4]
    (name,) = events.Tags()["images"]
    assert [event.step for event in events.Images(name)] == [2, 4]


def test_validation_changes_no_result(run: Path, trained: Path) -> None:
    """It ends in evaluation mode; a run that stayed there would go on without dropout and with the statistics it had."""
    validated, without = (read_checkpoint(path)["state_dict"] for path in (run / "latest.pth", trained))
    assert all(torch.equal(tensor, without[name]) for name, tensor in validated.items())


def test_samples_are_pictures(run: Path) -> None:
    pictures = sorted(run.glob("*/vis_data/vis_image/*.png"))
    assert len(pictures) == 2
    image = read_image(pictures[0])
    assert image.shape[1] == 240
    assert image.shape[0] > 2 * 160


def test_samples_change_no_result(run_config: MakeConfig, trained: Path, tmp_path: Path) -> None:
    config = run_config(tmp_path, default_hooks__samples__interval=1)
    build_runner(config).train()
    with_samples, without = (read_checkpoint(path)["state_dict"] for path in (tmp_path / "latest.pth", trained))
    assert all(torch.equal(tensor, without[name]) for name, tensor in with_samples.items())


def test_without_tensorboard(run_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mmseg.visualization.tensorboard.importlib.util.find_spec", lambda name: None)
    build_runner(run_config(tmp_path, train_cfg__max_iters=1, param_scheduler=[])).train()
    assert not list(tmp_path.glob("**/events.out.tfevents.*"))
    assert list(tmp_path.glob("*/vis_data/scalars.json"))
