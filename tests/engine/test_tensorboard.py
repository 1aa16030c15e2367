"""TensorBoard shows a run; without it nothing is missed; and drawing samples changes no result."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.structures import PixelData
from torch import nn

from mmseg.apis import build_runner
from mmseg.datasets import LesionDataset
from mmseg.datasets.reading import read_image
from mmseg.engine.checkpoint import read_checkpoint
from mmseg.engine.hooks import SampleOverlayHook
from mmseg.structures import SegDataSample

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
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (folder,) = {path.parent for path in run.glob("**/events.out.tfevents.*")}
    events = EventAccumulator(str(folder))
    events.Reload()
    shown = {"loss", "refine.loss_dice", "lr", "lesion/mDice", "lesion/mAP", "lesion/mAUPR11", "lesion/AP.MA"}
    assert shown <= set(events.Tags()["scalars"])
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


def test_truth_stands_above_and_prediction_below() -> None:
    """Of a network that finds a haemorrhage where there is a microaneurysm."""
    truth, found = np.zeros((4, 40, 60), np.uint8), np.zeros((4, 40, 60), np.uint8)
    truth[0, 8:14, 8:14], found[1, 20:30, 40:50] = 1, 1
    photograph = np.full((40, 60, 3), (150, 90, 60), np.uint8)
    pictures: list[np.ndarray] = []

    class Fixed(nn.Module):
        data_preprocessor = None

        def test_step(self, data: dict) -> list[SegDataSample]:
            assert torch.equal(data["inputs"][0], torch.from_numpy(photograph).permute(2, 0, 1))
            return [SegDataSample(probabilities=PixelData(data=torch.from_numpy(found).float()))]

        def shown_classes(self, meta: dict) -> tuple:
            return meta["classes"], meta["palette"]

        def shown_masks(self, sample: SegDataSample) -> torch.Tensor:
            return sample.probabilities.data > 0.5

    class One:
        metainfo = LesionDataset.METAINFO

        def __getitem__(self, index: int) -> dict:
            sample = SegDataSample(gt_sem_seg=PixelData(data=torch.from_numpy(truth)))
            return dict(inputs=torch.from_numpy(photograph).permute(2, 0, 1), data_samples=sample)

    runner = SimpleNamespace(
        iter=0, train_dataloader=SimpleNamespace(dataset=One()), bare_model=Fixed(),
        visualizer=SimpleNamespace(add_image=lambda name, image, step: pictures.append(image)))
    SampleOverlayHook(interval=1).after_train_iter(runner, 0)
    (drawn,) = pictures
    red, blue = LesionDataset.METAINFO["palette"][:2]
    half = len(drawn) // 2
    above, below = drawn[:half][:40], drawn[half:][:40]
    assert (above[8, 8:14] == red).all() and (above[22:28, 42:48] == photograph[0, 0]).all()
    assert (below[20, 40:50] == blue).all() and (below[9:13, 9:13] == photograph[0, 0]).all()
    assert runner.bare_model.training


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
