"""Index maps, against scikit-learn's confusion matrix and mmsegmentation's definitions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.structures import PixelData
from PIL import Image
from sklearn.metrics import accuracy_score, f1_score, fbeta_score, jaccard_score, precision_score, recall_score

from mmseg.evaluation import IoUMetric
from mmseg.registry import METRICS
from mmseg.structures import LESIONS, SegDataSample

Pair = tuple[np.ndarray, np.ndarray]


def pairs(classes: int = 5) -> list[Pair]:
    random = np.random.RandomState(0)
    made = []
    for shape in ((20, 30), (9, 7)):
        truth = random.randint(classes, size=(1, *shape)).astype(np.uint8)
        predicted = np.where(random.rand(1, *shape) < 0.6, truth, random.randint(classes, size=(1, *shape))).astype(np.uint8)
        made.append((predicted, truth))
    return made


def evaluate(made: list[Pair], **arguments: Any) -> dict[str, float]:
    metric = IoUMetric(**arguments)
    metric.dataset_meta = dict(classes=LESIONS)
    for number, (predicted, truth) in enumerate(made):
        maps = dict(pred_sem_seg=torch.as_tensor(predicted), gt_sem_seg=torch.as_tensor(truth))
        sample = SegDataSample(
            metainfo=dict(img_path=f"/x/{number}.jpg"), **{name: PixelData(data=value) for name, value in maps.items()}
        )
        metric.process(None, [sample.to_dict()])
    return metric.evaluate(len(made))


def flat(made: list[Pair]) -> tuple[np.ndarray, np.ndarray]:
    predicted, truth = (np.concatenate([pair[i].ravel() for pair in made]) for i in (0, 1))
    return truth[truth != 255], predicted[truth != 255]


def test_names_and_values() -> None:
    made = pairs()
    made[0][1][0, :5] = 255
    found = evaluate(made, iou_metrics=["mIoU", "mDice", "mFscore"])
    expected = dict(
        aAcc=accuracy_score(*flat(made)),
        mIoU=jaccard_score(*flat(made), average="macro"),
        mAcc=recall_score(*flat(made), average="macro"),
        mDice=f1_score(*flat(made), average="macro"),
        mFscore=f1_score(*flat(made), average="macro"),
        mPrecision=precision_score(*flat(made), average="macro"),
        mRecall=recall_score(*flat(made), average="macro"),
    )
    assert found == {name: round(100 * value, 2) for name, value in expected.items()}
    assert 0.1 < expected["mIoU"] < 0.9


def test_default_is_mIoU() -> None:
    assert list(evaluate(pairs())) == ["aAcc", "mIoU", "mAcc"]
    assert list(evaluate(pairs(), prefix="val")) == ["val/aAcc", "val/mIoU", "val/mAcc"]


def test_beta() -> None:
    found = evaluate(pairs(), iou_metrics="mFscore", beta=2)
    assert found["mFscore"] == round(100 * fbeta_score(*flat(pairs()), beta=2, average="macro"), 2)


def test_a_class_that_does_not_occur(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    told: list[str] = []
    monkeypatch.setattr("mmseg.evaluation.iou_metric.print_log", lambda text, **_: told.append(text))
    evaluate(pairs())
    assert len(told) == 1 and "SE " in capsys.readouterr().out, "the console shows the table, which the log hides from it"
    evaluate(pairs(4))
    assert [text for text in told if "in no map of the set" in text] == [told[-1]] and told[-1].startswith("SE: ")
    made = pairs(4)  # no SE anywhere
    assert evaluate(made)["mIoU"] == round(100 * jaccard_score(*flat(made), average="macro"), 2)
    with_zero = np.mean([*jaccard_score(*flat(made), average=None), 0])
    assert evaluate(made, nan_to_num=0)["mIoU"] == round(100 * with_zero, 2)


def test_a_class_that_is_never_predicted() -> None:
    """Of mmsegmentation 0 / 0 is no number, and left out of the mean, where scikit-learn puts 0; by its formulas, in loops."""
    made = pairs()
    for predicted, _ in made:
        predicted[predicted == 4] = 0  # SE, which a network finds last
    truth, predicted = flat(made)
    precisions, scores = [], []
    for label in range(5):
        hit, found, there = ((truth == label) & (predicted == label)).sum(), (predicted == label).sum(), (truth == label).sum()
        if found:
            precision, recall = hit / found, hit / there
            precisions.append(precision)
            scores.append(2 * precision * recall / (precision + recall))
    found = evaluate(made, iou_metrics=["mFscore", "mIoU"])
    assert len(precisions) == 4
    assert found["mPrecision"] == round(100 * float(np.mean(precisions)), 2)
    assert found["mFscore"] == round(100 * float(np.mean(scores)), 2)
    assert found["mRecall"] == round(100 * recall_score(truth, predicted, average="macro"), 2)
    assert found["mIoU"] == round(100 * jaccard_score(truth, predicted, average="macro"), 2)


def test_multi_label_truth_is_flattened() -> None:
    masks = np.zeros((4, 2, 3), np.uint8)
    masks[1, 0], masks[0, 0, 0], masks[:, 1, 2] = 1, 1, 255  # MA on top of HE
    index = np.array([[[1, 2, 2], [0, 0, 4]]], np.uint8)
    assert evaluate([(index, masks)])["aAcc"] == 100


def test_index_maps_are_written(tmp_path: Path) -> None:
    made = pairs()
    assert evaluate(made, output_dir=str(tmp_path / "out"), format_only=True) == {}
    for number, (predicted, _) in enumerate(made):
        np.testing.assert_array_equal(np.array(Image.open(tmp_path / f"out/{number}.png")), predicted[0])


def test_mistakes() -> None:
    with pytest.raises(ValueError, match=r"iou_metrics: got \['mIOU'\], expected any of mIoU, mDice, mFscore"):
        METRICS.build(dict(type="IoUMetric", iou_metrics=["mIOU"]))
    with pytest.raises(ValueError, match="expected output_dir"):
        IoUMetric(format_only=True)
    with pytest.raises(ValueError, match=r"0\.jpg: got an index map \(2, 3\), expected \(3, 2\)"):
        evaluate([(np.zeros((1, 2, 3), np.uint8), np.zeros((1, 3, 2), np.uint8))])
    with pytest.raises(ValueError, match="got a class index above 4"):
        evaluate([(np.full((1, 2, 3), 7, np.uint8), np.zeros((1, 2, 3), np.uint8))])


def test_index_maps_of_a_data_set_have_its_own_classes_only() -> None:
    """The first of them may be called otherwise than background; a model without one has a channel for each."""
    metric = IoUMetric()
    metric.dataset_meta = dict(classes=("unknown", "urban", "water"))
    truth = torch.tensor([[[0, 0, 1, 2]]])
    sample = SegDataSample(
        metainfo=dict(img_path="/x/a.jpg"), pred_sem_seg=PixelData(data=torch.tensor([[[0, 1, 1, 2]]])),
        gt_sem_seg=PixelData(data=truth), probabilities=PixelData(data=torch.rand(3, 1, 4)))
    metric.process(None, [sample.to_dict()])
    assert metric.evaluate(1)["mIoU"] == pytest.approx(100 * (1 / 2 + 1 / 2 + 1) / 3, abs=0.01)


def test_maps_of_a_data_set_without_zero_are_written_in_its_own_numbers(tmp_path: Path) -> None:
    metric = IoUMetric(format_only=True, output_dir=str(tmp_path))
    sample = SegDataSample(
        metainfo=dict(img_path="/x/a.jpg", reduce_zero_label=True), pred_sem_seg=PixelData(data=torch.tensor([[[0, 1, 2]]])))
    metric.process(None, [sample.to_dict()])
    assert np.array(Image.open(tmp_path / "a.png")).tolist() == [[1, 2, 3]]
