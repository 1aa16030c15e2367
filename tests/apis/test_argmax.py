"""Models that give every pixel its likeliest class, ``test_cfg.thresholds=None``."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.structures import PixelData
from PIL import Image

from mmseg.apis import LesionInferencer, inference_model, init_model, show_result_pyplot, write_results
from mmseg.datasets import DeepGlobeDataset, LesionDataset
from mmseg.engine import load_config
from mmseg.engine.hooks import OverlayHook, SampleOverlayHook
from mmseg.engine.preflight import class_findings
from mmseg.models.segmentors.base import BaseSegmentor
from mmseg.structures import LESIONS
from mmseg.utils.errors import UserError

CLASSES = DeepGlobeDataset.METAINFO["classes"]


def make(repo: Path, name: str, **options: object) -> BaseSegmentor:
    """A small image's worth of network, whose classifier prefers no class by much."""
    torch.manual_seed(0)
    config = load_config(repo / f"configs/isdnet/{name}.py", {"test_dataloader.dataset.size": (96, 64), **options}, tell=False)
    model = init_model(config, device="cpu")
    for parameter in model.refine_head.parameters():
        parameter.data.normal_(std=0.3)
    return model


@pytest.fixture(scope="module")
def model(repo: Path) -> BaseSegmentor:
    return make(repo, "isdnet_r18-d8_1224x1224_80k_DeepGlobe")


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return np.random.RandomState(0).randint(0, 256, (70, 100, 3), dtype=np.uint8)


def test_classes_of_every_pixel(model: BaseSegmentor, image: np.ndarray, tmp_path: Path) -> None:
    found = LesionInferencer(model, dtype="float32")(image)
    assert found.classes == CLASSES and found.thresholds == {}
    np.testing.assert_array_equal(found.index_map, found.probabilities.argmax(0))
    assert len(np.unique(found.index_map)) > 1
    np.testing.assert_array_equal(found.masks, np.eye(7, dtype=bool)[found.index_map].transpose(2, 0, 1))
    sample = inference_model(model, image)
    assert (sample.pred_sem_seg.data[0].numpy() == found.index_map).mean() > 0.999, "two ways to enlarge, up to rounding"
    assert sum(len(regions) for regions in found.regions.values()) > 1
    write_results(found, tmp_path, "a", {})
    with Image.open(tmp_path / "a_mask.png") as picture:
        colours = np.asarray(picture.convert("RGB"))
    np.testing.assert_array_equal(colours, np.array(DeepGlobeDataset.METAINFO["palette"], np.uint8)[found.index_map])
    report = json.loads((tmp_path / "a.json").read_text())
    assert list(report["lesions"]) == list(CLASSES)
    assert sum(one["pixels"] for one in report["lesions"].values()) == 70 * 100


def test_pictures(model: BaseSegmentor, image: np.ndarray, tmp_path: Path) -> None:
    sample = inference_model(model, image)
    drawn = show_result_pyplot(model, image, sample, opacity=1.0)
    index = sample.pred_sem_seg.data[0].numpy()
    palette = np.array(DeepGlobeDataset.METAINFO["palette"], np.uint8)
    assert (drawn[:70] == palette[index]).all(2).mean() > 0.6, "contours of a neighbour are drawn over small regions"
    Image.fromarray(image).save(tmp_path / "a.png")
    sample.set_metainfo(dict(img_path=str(tmp_path / "a.png")))
    info = type("Dataset", (), {"metainfo": DeepGlobeDataset.METAINFO})
    runner = type("Runner", (), {"bare_model": model, "test_dataloader": type("Loader", (), {"dataset": info})})
    OverlayHook(str(tmp_path / "out")).after_test_iter(runner, 0, None, [sample])
    assert (tmp_path / "out/a_overlay.png").is_file()


def sample_overlay(model: BaseSegmentor, image: np.ndarray, meta: dict, truth: torch.Tensor | None = None) -> np.ndarray:
    """What the hook draws of a data set that draws random numbers."""
    pictures = []

    class Dataset:
        metainfo = meta

        def __getitem__(self, index: int) -> dict:
            torch.rand(1)
            sample = inference_model(model, image)
            sample.gt_sem_seg = sample.pred_sem_seg if truth is None else PixelData(data=truth)
            return dict(inputs=torch.from_numpy(image).permute(2, 0, 1), data_samples=sample)

    class Runner:
        iter, bare_model = 0, model
        train_dataloader = type("Loader", (), {"dataset": Dataset()})
        visualizer = type("Visualizer", (), {"add_image": lambda self, name, picture, step: pictures.append(picture)})()

    before = torch.get_rng_state()
    SampleOverlayHook(interval=1).after_train_iter(Runner(), 0)
    assert torch.equal(torch.get_rng_state(), before)
    return pictures[0]


def test_a_training_image(model: BaseSegmentor, image: np.ndarray) -> None:
    """Its truth is an index map."""
    height, width = sample_overlay(model, image, DeepGlobeDataset.METAINFO).shape[:2]
    assert width == 100 and height > 140


def test_thresholds_are_refused(model: BaseSegmentor) -> None:
    with pytest.raises(UserError, match=r"thresholds: got {'water': 0.4}, expected none: .*test_cfg.thresholds=None"):
        LesionInferencer(model, thresholds={"water": 0.4})


def test_lesions_have_a_background(repo: Path, image: np.ndarray, tmp_path: Path) -> None:
    model = make(repo, "isdnet_r18-d8_softmax_512x512_2500_IDRiD_cv", **{"model.test_cfg.thresholds": None})
    found = LesionInferencer(model, dtype="float32")(image)
    assert found.classes == ("background", *LESIONS) and found.masks.shape == (5, 70, 100)
    np.testing.assert_array_equal(found.index_map, found.probabilities.argmax(0))
    write_results(found, tmp_path, "a", {})
    assert show_result_pyplot(model, image, inference_model(model, image)).shape[1] == 100
    truth = torch.ones(4, 70, 100, dtype=torch.uint8)  # which has no background
    assert sample_overlay(model, image, LesionDataset.METAINFO, truth).shape[1] == 100
    config = load_config(repo / "configs/isdnet/isdnet_r18-d8_softmax_512x512_2500_IDRiD_cv.py")
    found = [finding for finding in class_findings(model, config) if finding.severity == "error"]
    assert [finding.where for finding in found] == ["val_evaluator.0", "test_evaluator.0"]
    tested = [finding for finding in class_findings(model, config, ("test_dataloader",)) if finding.severity == "error"]
    assert [finding.where for finding in tested] == ["test_evaluator.0"]
