"""Tests on images that a model was trained on are found, whatever chose them."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from comparing import log
from mmengine.config import Config

from mmseg.apis import build_runner, build_tester, register_all_modules
from mmseg.datasets import SyntheticFundusDataset
from mmseg.engine.checkpoint import write_checkpoint
from mmseg.engine.trained_images import TrainedImages, trained_images
from mmseg.registry import DATASETS

NONE = TrainedImages([], [], "")


def config_of(root: Path, train: dict[str, Any], test: dict[str, Any]) -> Config:
    register_all_modules()
    data = dict(type="SyntheticFundusDataset", data_root=str(root))
    return Config(dict(
        train_dataloader=dict(dataset=dict(type="ResidentDataset", dataset={**data, "split": "train", **train})),
        test_dataloader=dict(dataset={**data, "split": "train", "test_mode": True, **test})))


@pytest.mark.parametrize(("train", "test", "shared"), [
    (dict(fold=0, num_folds=2), dict(fold=0, num_folds=2, held_out=True), 0),
    (dict(fold=1, num_folds=2), dict(fold=0, num_folds=2, held_out=True), 2),
    (dict(indices=[0, 1]), dict(indices=[2, 3]), 0), (dict(indices=3), dict(indices=[2, 3]), 1), (dict(indices=3), {}, 3),
    (dict(fold=0, num_folds=2, fold_seed=1), dict(fold=0, num_folds=2, held_out=True, fold_seed=1), 0),
    ({}, {}, 4), ({}, dict(split="test"), 0), (dict(split="test"), dict(split="test"), 3),
])
def test_folds_and_splits(tiny_data: Path, train: dict[str, Any], test: dict[str, Any], shared: int) -> None:
    config = config_of(tiny_data, train, test)
    found = trained_images(config.to_dict(), config)
    assert len(found.certain) == shared and found.possible == []
    assert found.chosen == ", ".join(f"{key}={value!r}" for key, value in ({"split": "train"} | train).items() if shared)


def test_data_that_the_training_had_elsewhere(tiny_data: Path, tmp_path: Path) -> None:
    config = config_of(tiny_data, {}, {})
    written = json.loads(json.dumps(config.to_dict()).replace(str(tiny_data), str(tmp_path / "gone")))
    found = trained_images(written, config)
    assert found.certain == [], "which the report would state as a fact"
    assert len(found.possible) == 4 and found.chosen == "split='train' of a folder that is not here: if it held the same images"
    shutil.copytree(tiny_data, tmp_path / "gone")  # other images under the same names, as of a clinic's folders for each use
    assert trained_images(written, config) == NONE


def test_arguments_of_a_class_of_the_users(tiny_data: Path) -> None:
    """They may choose images, as where one clinic is left out."""

    @DATASETS.register_module(force=True)
    class SitesDataset(SyntheticFundusDataset):
        def __init__(self, sites: Sequence[str] = (), **arguments: Any) -> None:
            super().__init__(**arguments)

    try:
        for sites, shared in ((["B"], 0), (("A",), 4)):
            kind = dict(type="SitesDataset")
            config = config_of(tiny_data, {**kind, "sites": ["A"]}, {**kind, "sites": sites, "size": (9, 9)})
            assert len(trained_images(json.loads(json.dumps(config.to_dict())), config).certain) == shared
    finally:
        DATASETS.module_dict.pop("SitesDataset")


def test_a_folder_that_must_not_be_looked_into(tiny_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As /root, of whoever trained there."""
    config = config_of(tiny_data, {}, {})
    written = json.loads(json.dumps(config.to_dict()).replace(str(tiny_data), "/forbidden/data"))
    stat = os.stat

    def forbid(path: Any, *args: Any, **more: Any) -> Any:
        if str(path).startswith("/forbidden"):
            raise PermissionError(13, "Permission denied", str(path))
        return stat(path, *args, **more)

    monkeypatch.setattr(os, "stat", forbid)
    assert len(trained_images(written, config).possible) == 4


def test_nothing_is_known(tiny_data: Path, tmp_path: Path) -> None:
    config = config_of(tiny_data, {}, {})
    for written in ({}, dict(train_dataloader=None), config_of(tiny_data, dict(split="nowhere"), {}).to_dict()):
        assert trained_images(written, config) == NONE
    assert trained_images(config.to_dict(), config_of(tmp_path / "gone", {}, {})) == NONE


def test_what_the_first_weights_had_seen(tiny_data: Path, tmp_path: Path) -> None:
    """A fold's model that was fine-tuned from one of all images, by way of another; and files that name each other."""
    paths = [str(tmp_path / f"{name}.pth") for name in ("all", "half", "gone")]
    for path, chosen, start in ((paths[0], {}, paths[1]), (paths[1], dict(fold=0, num_folds=2), paths[0])):
        meta = dict(config_json=json.dumps(config_of(tiny_data, chosen, {}).to_dict() | dict(load_from=start)))
        write_checkpoint(dict(meta=meta, state_dict={}), path)
    config = config_of(tiny_data, dict(fold=0, num_folds=2), dict(fold=0, num_folds=2, held_out=True))
    for start, shared in ((paths[0], 2), (paths[1], 2), (paths[2], 0), (None, 0), (5, 0)):
        assert len(trained_images(config.to_dict() | dict(load_from=start), config).certain) == shared


@pytest.mark.usefixtures("briefly")
def test_training_from_weights_that_have_seen_what_it_is_scored_on(
    run_config: Callable[..., Config], trained: Path, tmp_path: Path
) -> None:
    for name, split, warned in (("seen", "train", True), ("unseen", "test", False)):
        config = run_config(tmp_path / name, test_dataloader__dataset__split=split)
        config.load_from = str(trained)
        config.val_dataloader, config.val_evaluator = config.test_dataloader, config.test_evaluator
        config.val_cfg = {"type": "ValLoop"}
        config.train_cfg.val_interval = 9
        build_runner(config).train()
        for loader in ("val", "test"):
            told = f"{loader}_dataloader.dataset: got 4 images that the model was trained on"
            assert (told in log(tmp_path / name)) is warned


@pytest.mark.usefixtures("briefly")
def test_the_report_says_so(run_config: Callable[..., Config], speckled: Path, tmp_path: Path) -> None:
    for name, split, trained in (("own", "train", 4), ("others", "test", 0)):
        config = run_config(tmp_path / name, test_dataloader__dataset__split=split, test_evaluator__bootstrap=10)
        build_tester(config, speckled, tmp_path / name / "out", command="python tools/test.py").test()
        warned = "got 4 images that the model was trained on, such as synthetic_" in log(tmp_path / name)
        page = (tmp_path / name / "out/report.html").read_text()
        assert "<pre>python tools/test.py" in page and "&quot;lesion_prob&quot;" in page
        assert warned is ("THE MODEL WAS TRAINED ON 4 OF THESE IMAGES" in page) is bool(trained)
        assert json.loads((tmp_path / name / "out/details.json").read_text())["trained_on"] == trained
