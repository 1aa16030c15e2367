"""The metric against scikit-learn on all pixels at once, and the files it writes."""

from __future__ import annotations

import csv
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.logging import MMLogger
from mmengine.structures import PixelData
from sklearn.metrics import f1_score, jaccard_score, precision_score, recall_score

from mmseg.evaluation import LesionMetric
from mmseg.registry import METRICS
from mmseg.structures import LESIONS, SegDataSample

REFERENCES = {"IoU": jaccard_score, "Dice": f1_score, "sensitivity": recall_score, "precision": precision_score}
KEYS = ["IoU", "Dice", "sensitivity", "precision", "AP", "AUPR11"]

Pair = tuple[np.ndarray, np.ndarray]


def random_pairs(ignore: float = 0.0) -> list[Pair]:
    """Probabilities and truths ``(4, H, W)`` of three photographs of different sizes; lesions of different shares."""
    random = np.random.RandomState(0)
    pairs = []
    for shape in ((20, 30), (8, 9), (31, 17)):
        truth = (random.rand(4, *shape) < np.array([0.02, 0.1, 0.3, 0.5])[:, None, None]).astype(np.uint8)
        probabilities = (0.4 * truth + 0.7 * random.rand(4, *shape)).clip(0, 1).astype(np.float32)
        truth[random.rand(4, *shape) < ignore] = 255
        pairs.append((probabilities, truth))
    return pairs


def sample(probabilities: np.ndarray, truth: np.ndarray, name: str = "a.jpg") -> dict[str, Any]:
    """As mmengine's evaluator hands it to the metric."""
    maps = dict(probabilities=torch.as_tensor(probabilities), gt_sem_seg=torch.as_tensor(truth))
    wrapped = {key: PixelData(data=value) for key, value in maps.items()}
    return SegDataSample(metainfo=dict(img_path=f"/somewhere/{name}"), **wrapped).to_dict()


def evaluate(pairs: list[Pair], out_dir: Path | None = None) -> dict[str, float]:
    metric = LesionMetric(out_dir=out_dir if out_dir is None else str(out_dir))
    metric.dataset_meta = dict(classes=LESIONS)
    for number, pair in enumerate(pairs):
        metric.process(None, [sample(*pair, name=f"{number}.jpg")])
    return metric.evaluate(len(pairs))


def reference(pairs: list[Pair], channel: int) -> dict[str, float]:
    """All pixels of all images in one list, without the ignored ones."""
    truth = np.concatenate([t[channel].ravel() for _, t in pairs])
    predicted = np.concatenate([p[channel].ravel() for p, _ in pairs]) > 0.5
    counted = truth != 255
    return {name: score(truth[counted] == 1, predicted[counted], zero_division=0) for name, score in REFERENCES.items()}


@pytest.mark.parametrize("ignore", [0.0, 0.3])
def test_against_scikit_learn_pooled(ignore: float, tmp_path: Path) -> None:
    pairs = random_pairs(ignore)
    logged = evaluate(pairs, tmp_path)
    written = json.loads((tmp_path / "metrics.json").read_text())
    references = [reference(pairs, c) for c in range(4)]
    for lesion, expected in zip(LESIONS, references, strict=True):
        for name, value in expected.items():
            assert written[lesion][name] == pytest.approx(value, abs=1e-9)
            assert logged[f"lesion/{name}.{lesion}"] == pytest.approx(value, abs=1e-9)
            assert 0.01 < value < 0.99, "nothing to compare"
    for name in REFERENCES:
        mean = np.mean([r[name] for r in references])
        assert written["mean"][name] == pytest.approx(mean, abs=1e-9)
        assert logged[f"lesion/m{name}"] == pytest.approx(mean, abs=1e-9)


def test_pooling_is_not_averaging_over_images() -> None:
    pairs = random_pairs()
    averages = np.mean([reference([pair], 3)["IoU"] for pair in pairs])
    pooled = reference(pairs, 3)["IoU"]
    assert abs(pooled - averages) > 1e-3, "nothing to compare"
    assert evaluate(pairs)["lesion/IoU.SE"] == pytest.approx(pooled, abs=1e-9)


def test_ignored_pixels_count_nowhere(tmp_path: Path) -> None:
    """Neither as hits, nor as misses, nor as false alarms."""
    truth = np.array([[[1, 1, 0, 255, 255]]] * 4, np.uint8)
    probabilities = np.array([[[0.9, 0.1, 0.9, 0.9, 0.1]]] * 4, np.float32)
    evaluate([(probabilities, truth)], tmp_path)
    with (tmp_path / "per_image.csv").open() as file:
        row = next(csv.DictReader(file))
    assert [row["true_positive"], row["false_positive"], row["false_negative"]] == ["1", "1", "1"]


def test_exactly_half_is_not_a_lesion() -> None:
    truth = np.array([[[1, 1]]] * 4, np.uint8)
    logged = evaluate([(np.array([[[0.5, 0.5000001]]] * 4, np.float32), truth)])
    assert logged["lesion/sensitivity.MA"] == 0.5


def test_the_files_keys_are_fixed(tmp_path: Path) -> None:
    """Other programs read them; AP and AUPR11 are named, and null as long as they are not computed."""
    evaluate(random_pairs(), tmp_path)
    written = json.loads((tmp_path / "metrics.json").read_text())
    assert list(written) == ["MA", "HE", "EX", "SE", "mean"]
    assert all(list(values) == KEYS for values in written.values())
    assert all(values["AP"] is None and values["AUPR11"] is None for values in written.values())
    details = json.loads((tmp_path / "details.json").read_text())
    assert details["images"] == 3
    assert details["threshold"] == "p > 0.5"
    assert details["not_measured"] == ["AP", "AUPR11"]
    assert details["absent"] == []
    assert {path.name for path in tmp_path.iterdir()} == {"metrics.json", "details.json", "per_image.csv"}


def test_every_image_and_lesion_has_a_row(tmp_path: Path) -> None:
    pairs = random_pairs()
    pairs[1][1][3] = 0
    evaluate(pairs, tmp_path / "new" / "folder")
    with (tmp_path / "new" / "folder" / "per_image.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["image"], row["lesion"]) for row in rows] == [(f"{i}.jpg", lesion) for i in range(3) for lesion in LESIONS]
    for number, row in enumerate(rows):
        image, channel = divmod(number, 4)
        probabilities, truth = pairs[image][0][channel] > 0.5, pairs[image][1][channel] == 1
        counts = [(probabilities & truth).sum(), (probabilities & ~truth).sum(), (~probabilities & truth).sum()]
        assert [int(row[k]) for k in ("true_positive", "false_positive", "false_negative")] == counts
        for name, value in reference([pairs[image]], channel).items():
            assert row[name] == (f"{value:.6f}" if truth.any() else "")


def test_an_absent_lesion_has_no_score_and_the_table_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pairs = random_pairs()
    for _, truth in pairs:
        truth[3] = 0
    logged = evaluate(pairs, tmp_path)
    written = json.loads((tmp_path / "metrics.json").read_text())
    assert written["SE"] == dict.fromkeys(KEYS)
    assert not [name for name in logged if name.endswith(".SE")]
    for name in REFERENCES:
        assert written["mean"][name] == pytest.approx(np.mean([reference(pairs, c)[name] for c in range(3)]))
    assert json.loads((tmp_path / "details.json").read_text())["absent"] == ["SE"]
    lines = capsys.readouterr().out.splitlines()
    (row,) = {line.strip() for line in lines if line.startswith("SE ")}
    assert row.split() == ["SE", "n/a", "n/a", "n/a", "n/a"]
    assert any("no true pixel of SE in this set" in line and "left out of the mean" in line for line in lines)


def test_a_set_without_any_lesion(tmp_path: Path) -> None:
    pairs = [(np.full((4, 3, 3), 0.9, np.float32), np.zeros((4, 3, 3), np.uint8))]
    assert evaluate(pairs, tmp_path) == {}
    assert json.loads((tmp_path / "metrics.json").read_text())["mean"] == dict.fromkeys(KEYS)


def test_nothing_predicted_is_a_precision_of_0_not_an_exception(tmp_path: Path) -> None:
    pairs = random_pairs()
    for probabilities, _ in pairs:
        probabilities[0] = 0
    evaluate(pairs, tmp_path)
    written = json.loads((tmp_path / "metrics.json").read_text())
    assert written["MA"] == dict(IoU=0, Dice=0, sensitivity=0, precision=0, AP=None, AUPR11=None)
    assert written["mean"]["Dice"] == pytest.approx(np.mean([0] + [reference(pairs, c)["Dice"] for c in (1, 2, 3)]))


def test_a_perfect_prediction_is_1() -> None:
    assert set(evaluate([(t.astype(np.float32), t) for _, t in random_pairs()]).values()) == {1.0}


def test_the_table_is_in_percent(capsys: pytest.CaptureFixture[str]) -> None:
    pairs = random_pairs()
    evaluate(pairs)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["lesion", "IoU", "Dice", "sensitivity", "precision"] in lines
    for c, lesion in enumerate(LESIONS):
        assert [lesion, *(f"{100 * v:.2f}" for v in reference(pairs, c).values())] in lines


def test_the_table_is_logged(tmp_path: Path) -> None:
    messages: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())  # type: ignore[method-assign]
    logger = MMLogger.get_current_instance()
    logger.addHandler(handler)
    evaluate(random_pairs())
    logger.removeHandler(handler)
    assert any("results over 3 images" in message and "sensitivity" in message for message in messages)


@pytest.mark.parametrize("truth", [(1, 8, 9), (4, 9, 8)])
def test_a_truth_of_another_shape_is_refused(truth: tuple[int, ...]) -> None:
    """An index map, or masks at another resolution."""
    metric = METRICS.build(dict(type="LesionMetric"))
    with pytest.raises(ValueError, match=r"0\.jpg: got probabilities \(4, 8, 9\), expected .*multi-label truth at the original"):
        metric.process(None, [sample(np.zeros((4, 8, 9), np.float32), np.zeros(truth, np.uint8), "0.jpg")])
