"""Train on a mixture, choose by a validation split, test on another data set."""

from __future__ import annotations

import copy
import json
import logging
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from comparing import log
from mmengine.config import Config
from releases import write_ddr, write_fgadr

from mmseg.apis import build_runner, build_tester, init_model
from mmseg.apis.statistics import training_statistics
from mmseg.engine import load_config
from mmseg.engine.checkpoint import read_checkpoint
from mmseg.engine.config import merge_options
from mmseg.engine.dataset_info import input_differences
from mmseg.utils.errors import UserError


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("releases")
    write_ddr(folder / "DDR")
    write_fgadr(folder / "FGADR")
    return {name: str(folder / name) for name in ("DDR", "FGADR")}


@pytest.fixture
def of_release(repo: Path, roots: dict[str, str], run_config: Callable[..., Config], monkeypatch: pytest.MonkeyPatch) -> Any:
    """The tiny, narrow configuration with the data of a shipped one, its sizes and its validation."""

    def make(name: str, work_dir: Path, **overrides: Any) -> Config:
        monkeypatch.setenv(f"{name}_ROOT", roots[name])
        shipped = load_config(repo / f"configs/sdcnet/sdcnetplus_r18-d8_512x512_40k_{name}.py", {
            "train_dataloader.batch_size": 2, "data_preprocessor.train_transforms.0.crop_size": (64, 64),
            **{f"{part}_dataloader.dataset.size": (96, 96) for part in ("train", "val", "test")},
        })
        config = run_config(work_dir, train_cfg__max_iters=2, param_scheduler=[], **overrides)
        for key in ("train_dataloader", "val_dataloader", "test_dataloader", "data_preprocessor", "val_evaluator", "val_cfg"):
            config[key] = shipped[key]
        return config

    return make


@pytest.mark.parametrize("name", ["DDR", "FGADR"])
def test_the_best_checkpoint_is_chosen_on_the_validation_split(name: str, of_release: Any, tmp_path: Path) -> None:
    config = of_release(name, tmp_path, train_cfg__val_interval=2, default_hooks__checkpoint__save_best="lesion/mDice")
    build_runner(config).train()
    (best,) = tmp_path.glob("best_lesion_mDice_iter_2.pth")
    metrics = read_checkpoint(best)["meta"]["metrics"]
    assert 0 <= metrics["lesion/mDice"] <= 1
    written = next(tmp_path.glob("*/*.log")).read_text()
    assert "results over 2 images" in written
    if name == "FGADR":
        assert "split drawn from the image names with split_seed=0: 12 train, 2 valid, 6 test" in written


def test_two_iterations_on_a_mixture(
    repo: Path, roots: dict[str, str], tiny_data: Path, run_config: Callable[..., Config], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The shipped mixture, with synthetic photographs in IDRiD's place; batches hold both kinds, of different sizes."""
    monkeypatch.setenv("IDRID_ROOT", str(tiny_data))
    monkeypatch.setenv("DDR_ROOT", roots["DDR"])
    shipped = load_config(repo / "configs/sdcnet/sdcnetplus_r18-d8_512x512_40k_IDRiD-DDR.py", {
        "train_dataloader.dataset.times": (1, 1),
        "train_dataloader.dataset.datasets.0.size": (240, 160), "train_dataloader.dataset.datasets.1.size": (96, 96),
    })
    config = run_config(tmp_path, train_cfg__max_iters=2, param_scheduler=[])
    config.train_dataloader = shipped.train_dataloader
    runner = build_runner(config)
    loader = runner.build_dataloader(config.train_dataloader, seed=0)
    batches = iter(loader)
    sizes = [{tuple(image.shape[1:]) for image in next(batches)["inputs"]} for _ in range(2)]
    assert any((160, 240) in batch and len(batch) > 1 for batch in sizes), "no batch mixes the data sets"
    runner.train()
    assert read_checkpoint(tmp_path / "latest.pth")["meta"]["iter"] == 2
    assert "mixture of 2 data sets: 1 x 4 + 1 x 3 = 7 images" in next(tmp_path.glob("*/*.log")).read_text()
    with pytest.raises(UserError, match="no single data set"):
        training_statistics(config)


class TestAnotherDataSet:
    """Trained on synthetic photographs, tested on DDR by its config."""

    @pytest.fixture
    def run(
        self, repo: Path, of_release: Any, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> Callable[..., str]:
        """tools/test.py; gives the log."""

        def test(*options: str) -> str:
            of_release("DDR", tmp_path).dump(tmp_path / "ddr.py")
            arguments = [tmp_path / "ddr.py", trained, "--work-dir", tmp_path, "--out", tmp_path / "out", *options]
            monkeypatch.setattr(sys, "argv", ["test.py", *map(str, arguments)])
            monkeypatch.setattr(sys, "path", [str(repo / "tools"), *sys.path])
            monkeypatch.setenv("LOCAL_RANK", "0")
            monkeypatch.setattr(logging, "raiseExceptions", False)  # loggers of earlier tests hold streams that are closed
            runpy.run_path(str(repo / "tools/test.py"), run_name="__main__")
            (log,) = tmp_path.glob("*/*.log")
            return log.read_text()

        return test

    def test_scores_and_a_warning(self, run: Callable[..., str], tmp_path: Path) -> None:
        """DDR's config brings DDR's mean; the warning tells how to keep the training's."""
        written = run()
        assert set(json.loads((tmp_path / "out/metrics.json").read_text())) == {"MA", "HE", "EX", "SE", "mean"}
        assert json.loads((tmp_path / "out/details.json").read_text())["images"] == 2
        assert "normalisation: got mean=[81.205, 50.636, 21.216], std=[76.252, 48.798, 21.625] from the config" in written
        assert "data_preprocessor.mean=[116.513,56.437,16.309] data_preprocessor.std=[80.206,41.232,13.293]" in written

    @pytest.mark.parametrize("named", [
        dict(CLASSES=("bg", "EX", "HE", "SE", "MA")), dict(dataset_meta=dict(classes=["EX", "HE", "SE", "MA"])),
    ])
    def test_channels_in_another_order(
        self, named: dict[str, Any], trained: Path, run_config: Callable[..., Config], tmp_path: Path
    ) -> None:
        """Strictly loaded, M2MRF's EX would be scored as MA. A training may begin with such weights, and says so."""
        checkpoint = read_checkpoint(trained)
        meta = {key: value for key, value in checkpoint["meta"].items() if key not in ("classes", "palette")} | named
        torch.save({**checkpoint, "meta": meta}, tmp_path / "theirs.pth")
        config = Config(json.loads(checkpoint["meta"]["config_json"]))
        with pytest.raises(UserError, match="got channels in the order EX, HE, SE, MA, expected MA, HE, EX, SE as in the data"):
            build_tester(config, tmp_path / "theirs.pth", tmp_path / "out").test()
        config = run_config(tmp_path / "w")
        config.load_from = str(tmp_path / "theirs.pth")
        build_runner(config).train()
        assert "each classifier begins with the weights of another lesion" in log(tmp_path / "w")

    def test_where_the_model_has_its_own_preprocessor_and_another_size(self, tiny_data: Path, trained: Path) -> None:
        """The model's own counts; a warning that looks elsewhere is silenced by its own advice."""
        written = json.loads(read_checkpoint(trained)["meta"]["config_json"])
        own = Config(copy.deepcopy(written))
        assert input_differences(own, written) == []
        limits = (Config(dict(written, model=dict(written["model"], test_cfg=dict(thresholds=kind([0.5, 0.25, 0.5, 0.5])))))
                  for kind in (tuple, list))  # as a file of Python has them, and as a published checkpoint
        assert input_differences(*limits) == []
        nothing = Config(copy.deepcopy(written))
        nothing.data_preprocessor.update(mean=None, std=None)  # as SegDataPreProcessor may have it
        assert input_differences(nothing, nothing.to_dict()) == []
        own.model.data_preprocessor = {**own.pop("data_preprocessor"), "mean": [9.0, 9.0, 9.0]}
        own.test_dataloader.dataset.size = (120, 80)
        (normalisation, first), (size, second) = input_differences(own, written)
        assert first.startswith("model.data_preprocessor.mean=[116.513,") and second == "test_dataloader.dataset.size=[240,160]"
        assert "got images within 120x80 from the config, but the model was trained for 240x160" in size
        own.model.test_cfg = dict(thresholds=[0.5, 0.25, 0.5, 0.5])
        (what, option) = input_differences(own, written)[1]
        assert what == "thresholds: got [0.5, 0.25, 0.5, 0.5] from the config, but the model was trained for 0.5"
        assert option == "model.test_cfg.thresholds=0.5"
        own.model.test_cfg = dict(thresholds=[0.5, 0.5, 0.5, 0.5])
        options = {key: json.loads(value) for key, value in (pair.split("=") for pair in (*first.split(), second))}
        mended = merge_options(copy.deepcopy(own), options)
        assert input_differences(mended, written) == []
        with pytest.MonkeyPatch.context() as patch:
            told: list[str] = []
            patch.setattr("mmengine.logging.MMLogger.warning", lambda self, text: told.append(text))
            init_model(own, trained, "cpu")
        assert told == [f"{what}; name no config, or have in it {way}" for what, way in ((normalisation, first), (size, second))]

    def test_no_warning_with_the_training_s_own(self, run: Callable[..., str]) -> None:
        mean, std = "data_preprocessor.mean=[116.513,56.437,16.309]", "data_preprocessor.std=[80.206,41.232,13.293]"
        written = run("--cfg-options", mean, std)
        assert "results over 2 images" in written
        assert "normalisation: got" not in written
