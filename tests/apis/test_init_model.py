"""From a configuration and a checkpoint to a model: whose thresholds and whose size count, and that nothing is changed."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.logging import MMLogger

from mmseg.apis import LesionInferencer, inference_model, init_model
from mmseg.apis.init import build_model
from mmseg.compat.export import metadata
from mmseg.compat.model_card import model_card
from mmseg.datasets.reading import read_image
from mmseg.engine import check_config
from mmseg.engine.checkpoint import read_checkpoint, write_checkpoint
from mmseg.engine.dataset_info import ignored_pipeline, working_size
from mmseg.structures import LESIONS
from mmseg.utils.errors import UserError

STORED = dict(MA=0.15, HE=0.3, EX=0.2, SE=0.9)


@pytest.fixture(scope="module")
def tuned(speckled: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint that stores thresholds which the configuration inside does not name; read only."""
    checkpoint = read_checkpoint(speckled)
    checkpoint["meta"]["thresholds"] = STORED
    settings = json.loads(checkpoint["meta"]["config_json"])
    settings["model"]["test_cfg"].pop("thresholds", None)
    checkpoint["meta"]["config_json"] = json.dumps(settings)
    path = tmp_path_factory.mktemp("tuned") / "latest.pth"
    write_checkpoint(checkpoint, path)
    return path


@pytest.mark.parametrize(("options", "expected"), [
    ({}, STORED), ({"model.test_cfg.thresholds": 0.4}, dict.fromkeys(LESIONS, 0.4)),
])
def test_one_rule_for_thresholds(
    tuned: Path, tiny_data: Path, options: dict[str, float], expected: dict[str, float]
) -> None:
    """Those of the configuration go before those of the checkpoint, whatever the model is used for."""
    model = init_model(None, tuned, "cpu", options)
    photograph = next((tiny_data / "images/test").iterdir())
    found, sample = LesionInferencer(model, dtype="float32")(photograph), inference_model(model, str(photograph))
    assert found.thresholds == metadata(model, True)["thresholds"] == model_card(model, tuned)["thresholds"] == expected
    above = np.stack([p > np.float32(t) for p, t in zip(sample.probabilities.data.numpy(), expected.values(), strict=True)])
    assert {bool(above[c].any()) for c in range(4)} == {True} or not options
    np.testing.assert_array_equal(sample.pred_sem_seg.data[0].numpy() > 0, above.any(0))
    assert (found.masks == above).mean() > 0.999, "two ways to enlarge, up to rounding"


def test_a_data_set_that_is_not_here(speckled: Path, tmp_path: Path) -> None:
    """As where a model is given to somebody: nothing of the data set's class, hooks or metrics is needed."""
    checkpoint = read_checkpoint(speckled)
    settings = json.loads(checkpoint["meta"]["config_json"])
    for loader in ("train_dataloader", "test_dataloader"):
        settings[loader]["dataset"] = dict(type="ClinicDataset", ward=3, size=[240, 160])
    settings |= dict(custom_hooks=[dict(type="ClinicHook")], test_evaluator=dict(type="ClinicMetric"))
    checkpoint["meta"]["config_json"] = json.dumps(settings)
    write_checkpoint(checkpoint, tmp_path / "given.pth")
    model, own = (init_model(checkpoint=path, device="cpu") for path in (tmp_path / "given.pth", speckled))
    assert (model.working_size, model.dataset_meta) == (own.working_size, own.dataset_meta)


def test_one_number_for_all_lesions(tuned: Path) -> None:
    assert LesionInferencer(tuned, device="cpu", thresholds=0.7).thresholds == dict.fromkeys(LESIONS, 0.7)
    with pytest.raises(UserError, match="thresholds: got 'MAA', expected one of MA, HE, EX, SE; did you mean 'MA'"):
        LesionInferencer(tuned, device="cpu", thresholds={"MAA": 0.7})


@pytest.mark.parametrize("wrong", [{"MA": "high"}, {"MA": 1.5}, {"SE": float("nan")}, [0.5] * 4, "high", torch.ones(4)])
def test_stored_thresholds_that_are_no_probabilities(tuned: Path, tmp_path: Path, wrong: object) -> None:
    checkpoint = read_checkpoint(tuned)
    checkpoint["meta"]["thresholds"] = wrong
    write_checkpoint(checkpoint, tmp_path / "x.pth")
    with pytest.raises(UserError, match=r"x\.pth: meta\.thresholds: got .*, expected by lesion a probability from 0 to 1"):
        init_model(None, tmp_path / "x.pth", "cpu")


@pytest.mark.parametrize("wrong", [-0.1, 1.5, [0.5, 0.5]])
def test_configured_thresholds_that_are_no_probabilities(tuned: Path, wrong: object) -> None:
    with pytest.raises(UserError, match=r"test_cfg\.thresholds: got .*, expected"):
        init_model(None, tuned, "cpu", {"model.test_cfg.thresholds": wrong})


@pytest.mark.parametrize(("preprocessor", "message"), [
    (dict(type="SegDataPreProcessor", mean=[1.0, 2.0, 3.0]), r"got mean=\[1.0, 2.0, 3.0\], std=None, expected both or neither"),
    (dict(type="SegDataPreProcessor", bgr_to_rgb=True, rgb_to_bgr=True), "got bgr_to_rgb=True, rgb_to_bgr=True, expected one"),
    (dict(type="SegDataPreProcessor", mean=[1.0, 2.0], std=[1.0, 2.0]), "mean.* should have 1 or 3 values"),  # by assert
    (dict(type="LesionDataPreprocessor", mean=[1.0] * 3, std=[1.0] * 3, train_transforms=[
        dict(type="BatchPhotometricDistortion", brightness=32)]), "got brightness=32, expected a number, from 0 to 1"),
])
def test_what_a_preprocessor_refuses(
    run_config: Callable[..., Config], tmp_path: Path, preprocessor: dict[str, object], message: str
) -> None:
    config = run_config(tmp_path)
    config.data_preprocessor = preprocessor
    with pytest.raises(UserError, match=message):
        build_model(config)


def test_a_configuration_is_left_as_it_was(run_config: Callable[..., Config], tmp_path: Path) -> None:
    config = run_config(tmp_path)
    before = copy.deepcopy(config.to_dict())
    model = init_model(config, None, "cpu", {"model.test_cfg.flips": ["horizontal"]})
    assert config.to_dict() == before and model.test_cfg["flips"] == ["horizontal"]
    config.test_dataloader.dataset.size = (10, 10)
    assert model.working_size == (240, 160)
    with pytest.raises(UserError, match="--cfg-options does not fit"):
        init_model(config, None, "cpu", {"model.decode_head.7.channels": 1})


def test_what_only_a_training_needs_is_not_asked_of_a_model(run_config: Callable[..., Config], tmp_path: Path) -> None:
    """It may have been trained long ago, by a configuration that would be refused today."""
    config = run_config(tmp_path, data_preprocessor__mean=[0.5, 0.5, 0.5], data_preprocessor__std=[0.2, 0.2, 0.2])
    config.train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=3)
    config.train_dataloader.persistent_workers = True
    with pytest.raises(UserError, match=r"(?s)train_cfg\.type.*persistent_workers"):
        check_config(config)
    assert init_model(config, None, "cpu").dataset_meta["classes"] == LESIONS


@pytest.mark.parametrize("kept", ["of this project", "of 0.x", "of 1.x"])
def test_channels_have_the_names_that_the_checkpoint_gives_them(
    speckled: Path, run_config: Callable[..., Config], tmp_path: Path, kept: str
) -> None:
    """In whatever version's words; else exudates would be written as microaneurysms."""
    names, colours = ["EX", "HE", "SE", "MA"], [[i, i, i] for i in range(4)]
    meta = {"of this project": dict(classes=names, palette=colours), "of 0.x": dict(CLASSES=names, PALETTE=colours),
            "of 1.x": dict(dataset_meta=dict(classes=names, palette=colours))}[kept]
    path = tmp_path / "foreign.pth"
    torch.save(dict(state_dict=read_checkpoint(speckled)["state_dict"], meta=meta), path)
    found = init_model(run_config(tmp_path / "w"), path, "cpu").dataset_meta
    assert found["classes"] == tuple(names) and found["palette"][3] == (3, 3, 3)


def test_classes_without_colours_get_some(run_config: Callable[..., Config], tmp_path: Path) -> None:
    config = run_config(tmp_path)
    config.train_dataloader.dataset = dict(type="BaseSegDataset", metainfo=dict(classes=("road", "clutter/background")))
    config.train_dataloader.sampler = dict(type="InfiniteSampler")
    meta = init_model(config, None, "cpu").dataset_meta
    assert meta["classes"] == ("road", "clutter/background") and len(meta["palette"]) == 2


def test_the_size_without_test_images(run_config: Callable[..., Config], tmp_path: Path) -> None:
    """That of the training images then; and inside of a mixture that of its first data set."""
    config = run_config(tmp_path)
    one = config.test_dataloader.dataset
    config.test_dataloader = config.test_cfg = config.test_evaluator = None
    config.train_dataloader.dataset.size = (120, 80)
    assert init_model(config, None, "cpu").working_size == (120, 80)
    config.test_dataloader = dict(dataset=dict(type="ConcatDataset", datasets=[{**one, "size": (90, 60)}, one]))
    assert working_size(config) == (90, 60)
    config.test_dataloader = dict(dataset={**one, "size": None})
    assert working_size(config) is None


def test_a_photograph_on_its_side_has_the_same_scale(tuned: Path, tiny_data: Path) -> None:
    image = read_image(next((tiny_data / "images/test").iterdir()))
    inferencer = LesionInferencer(tuned, device="cpu", dtype="float32")
    assert inferencer(np.ascontiguousarray(np.rot90(image))).working.shape[1:] == inferencer(image).working.shape[:0:-1]


@pytest.mark.parametrize("image", [
    np.zeros((60, 90, 3), np.float32), np.zeros((60, 90), np.uint8), np.zeros((60, 90, 4), np.uint8),
    np.zeros((1, 90, 3), np.uint8),
])
def test_arrays_that_are_no_photographs(tuned: Path, image: np.ndarray) -> None:
    """The form of mmsegmentation refuses what the inferencer refuses."""
    model = init_model(None, tuned, "cpu")
    for use in (lambda: inference_model(model, image), lambda: LesionInferencer(model)(image)):
        with pytest.raises(UserError, match="image: got "):
            use()


def test_a_pipeline_that_photographs_do_not_go_through_is_told(
    run_config: Callable[..., Config], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(MMLogger.get_current_instance(), "warning", lambda text: said.append(text))
    config = run_config(tmp_path)
    for size, expected in ((None, 1), ((120, 80), 0)):
        config.test_dataloader.dataset = dict(
            type="BaseSegDataset", pipeline=[dict(type="Own")], data_root=".", size=size,
            metainfo=dict(classes=LESIONS, palette=[[0, 0, 0]] * 4))
        assert bool(ignored_pipeline(config)) == bool(expected)
    config = run_config(tmp_path)
    monkeypatch.setattr("mmseg.apis.init.ignored_pipeline", lambda settings: "test_dataloader.dataset")
    init_model(config, device="cpu")
    assert any("test_dataloader.dataset.pipeline is not run on photographs" in text for text in said)
