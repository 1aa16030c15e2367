"""Losses against loops over pixels in float64."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mmseg.models import CrossEntropyLoss, DiceLoss, FocalLoss, LesionDiceLoss
from mmseg.models.losses import Accuracy, accuracy, affinity_loss
from mmseg.models.losses.utils import constant
from mmseg.registry import MODELS

LOSSES = [
    {"type": "CrossEntropyLoss"}, {"type": "CrossEntropyLoss", "use_sigmoid": True}, {"type": "DiceLoss"},
    {"type": "LesionDiceLoss"}, {"type": "LesionDiceLoss", "use_sigmoid": False}, {"type": "FocalLoss"},
    {"type": "FocalLoss", "gamma": 0.5},
]


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def softmax(x: np.ndarray) -> np.ndarray:
    return np.exp(x) / np.exp(x).sum()


@pytest.fixture
def multi_label() -> tuple[Tensor, Tensor]:
    random = np.random.RandomState(0)
    label = random.randint(0, 2, (2, 4, 5, 6))
    label[:, :, 0, :2] = 255
    label[0, 1][label[0, 1] == 1] = 0
    label[:, 3][label[:, 3] == 1] = 0
    return torch.from_numpy(3 * random.standard_normal((2, 4, 5, 6)).astype(np.float32)), torch.from_numpy(label).to(torch.uint8)


@pytest.fixture
def index_map() -> tuple[Tensor, Tensor]:
    random = np.random.RandomState(0)
    label = random.randint(0, 4, (2, 5, 6))
    label[:, 0, :2] = 255
    return torch.from_numpy(3 * random.standard_normal((2, 5, 5, 6)).astype(np.float32)), torch.from_numpy(label)


def as_float64(pair: tuple[Tensor, Tensor]) -> tuple[np.ndarray, np.ndarray]:
    return pair[0].double().numpy(), pair[1].numpy()


def data_for(loss: dict, size: int = 8) -> tuple[Tensor, Tensor]:
    if loss.get("use_sigmoid", loss["type"] != "CrossEntropyLoss"):
        return torch.randn(2, 4, size, size), torch.randint(0, 2, (2, 4, size, size), dtype=torch.uint8)
    return torch.randn(2, 5, size, size), torch.randint(0, 5, (2, size, size))


def test_every_registered_loss_is_here() -> None:
    names = {name for name, cls in MODELS.module_dict.items() if cls.__module__.startswith("mmseg.models.losses")}
    assert names == {loss["type"] for loss in LOSSES}
    assert len(names) == 4


@pytest.mark.parametrize("loss", LOSSES, ids=str)
def test_contract(loss: dict) -> None:
    logit, label = data_for(loss)
    one, half = MODELS.build(loss), MODELS.build({**loss, "loss_weight": 0.5, "loss_name": "loss_x"})
    assert one.loss_name.startswith("loss_") and half.loss_name == "loss_x"
    value = one(logit, label)
    assert value.shape == () and value.dtype == torch.float32 and value > 0
    torch.testing.assert_close(half(logit, label), 0.5 * value)
    torch.testing.assert_close(one(logit.bfloat16(), label), one(logit.bfloat16().float(), label))
    changed = label.clone()
    changed[..., :3] = 255
    ignoring = logit.clone()
    ignoring[..., :3] = 99.0
    expected = one(logit, changed, ignore_index=255)
    torch.testing.assert_close(one(ignoring, changed, ignore_index=255), expected)
    torch.testing.assert_close(one(logit, torch.where(changed == 255, 17, changed), ignore_index=17), expected)


@pytest.mark.parametrize("loss", LOSSES, ids=str)
@pytest.mark.parametrize("value", [0, 255])
def test_nothing_to_find_is_finite_and_attached(loss: dict, value: int) -> None:
    logit, label = data_for(loss)
    logit.requires_grad_()
    result = MODELS.build(loss)(logit, torch.full_like(label, value), ignore_index=255)
    result.backward()
    assert result.isfinite() and logit.grad.isfinite().all()
    if loss["type"] == "LesionDiceLoss" or (value == 255 and loss["type"] != "DiceLoss"):
        assert result == 0


@pytest.mark.parametrize("loss", LOSSES, ids=str)
def test_extreme_logits_stay_finite(loss: dict) -> None:
    logit, label = data_for(loss)
    logit = (1e4 * logit).requires_grad_()
    result = MODELS.build(loss)(logit, label)
    result.backward()
    assert result.isfinite() and logit.grad.isfinite().all()


@pytest.mark.parametrize("loss", LOSSES, ids=str)
def test_a_label_of_the_other_kind_is_named(loss: dict) -> None:
    logit, label = data_for(loss)
    other = label[:, :1] if label.ndim == 4 else label[:, None].expand(-1, 5, -1, -1)
    with pytest.raises(ValueError, match=rf"{loss['type']}: got a label of shape .* expected "):
        MODELS.build(loss)(logit, other)


@pytest.mark.parametrize("avg_non_ignore", [False, True])
@pytest.mark.parametrize("class_weight", [None, [0.5, 1.0, 2.0, 3.0, 4.0]])
def test_softmax_cross_entropy(index_map: tuple[Tensor, Tensor], avg_non_ignore: bool, class_weight: list | None) -> None:
    logit, label = as_float64(index_map)
    values, weights = np.zeros(label.shape), np.zeros(label.shape)
    for b, y, x in np.ndindex(label.shape):
        if label[b, y, x] != 255:
            c = label[b, y, x]
            weights[b, y, x] = (class_weight or [1.0] * 5)[c]
            values[b, y, x] = -math.log(softmax(logit[b, :, y, x])[c]) * weights[b, y, x]
    divisor = weights.sum() if class_weight or avg_non_ignore else label.size
    loss = CrossEntropyLoss(avg_non_ignore=avg_non_ignore, class_weight=class_weight)
    assert loss(*index_map, ignore_index=255).item() == pytest.approx(values.sum() / divisor, rel=1e-5)
    check_reductions(loss, index_map, values, np.random.RandomState(1).random_sample(label.shape))


@pytest.mark.parametrize("avg_non_ignore", [False, True])
@pytest.mark.parametrize("weights", [
    {}, {"pos_weight": 3.0}, {"pos_weight": [1.0, 2.0, 3.0, 4.0]}, {"class_weight": [0.5, 1.0, 2.0, 3.0]},
    {"channel_weight": [6.0, 1.0, 1.5, 3.0]}, {"pos_weight": 3.0, "channel_weight": [6.0, 1.0, 1.5, 3.0]},
])
def test_binary_cross_entropy(multi_label: tuple[Tensor, Tensor], weights: dict, avg_non_ignore: bool) -> None:
    logit, label = as_float64(multi_label)
    values, factors = np.zeros(label.shape), weights.get("channel_weight", [1.0] * 4)
    positive = weights.get("pos_weight") or weights.get("class_weight") or 1.0
    for b, c, y, x in np.ndindex(label.shape):
        if label[b, c, y, x] != 255:
            p, t = sigmoid(logit[b, c, y, x]), label[b, c, y, x]
            w = positive[c] if isinstance(positive, list) else positive
            values[b, c, y, x] = -factors[c] * (w * t * math.log(p) + (1 - t) * math.log(1 - p))
    expected = values.sum() / ((label != 255).sum() if avg_non_ignore else label.size)
    loss = CrossEntropyLoss(use_sigmoid=True, avg_non_ignore=avg_non_ignore, **weights)
    for kind in (torch.uint8, torch.int64):  # the counted form, and element by element
        pair = multi_label[0], multi_label[1].to(kind)
        assert loss(*pair, ignore_index=255).item() == pytest.approx(expected, rel=1e-5)
        check_reductions(loss, pair, values, np.random.RandomState(1).random_sample(label.shape))


def test_binary_cross_entropy_of_an_index_map(index_map: tuple[Tensor, Tensor]) -> None:
    logit, label = as_float64(index_map)
    values = np.zeros(logit.shape)
    for b, c, y, x in np.ndindex(logit.shape):
        if label[b, y, x] != 255:
            p = sigmoid(logit[b, c, y, x])
            values[b, c, y, x] = -math.log(p if label[b, y, x] == c else 1 - p)
    loss, whole = CrossEntropyLoss(use_sigmoid=True), CrossEntropyLoss(use_sigmoid=True, avg_non_ignore=True)
    assert loss(*index_map, ignore_index=255).item() == pytest.approx(values.mean(), rel=1e-5)
    counted = 5 * (label != 255).sum()
    assert whole(*index_map, ignore_index=255).item() == pytest.approx(values.sum() / counted, rel=1e-5)
    weight = np.random.RandomState(1).random_sample(label.shape)
    got = loss(*index_map, torch.from_numpy(weight), reduction_override="none", ignore_index=255)
    np.testing.assert_allclose(got, values * weight[:, None], rtol=1e-5, atol=1e-6)


def test_binary_cross_entropy_of_one_channel() -> None:
    logit, label = torch.tensor([[[[0.5, -1.0, 2.0]]]]), torch.tensor([[[1, 0, 255]]])
    got = CrossEntropyLoss(use_sigmoid=True, reduction="none")(logit, label, ignore_index=255)
    assert got.tolist() == [[pytest.approx([-math.log(sigmoid(0.5)), -math.log(1 - sigmoid(-1.0)), 0])]]


def test_mask_cross_entropy() -> None:
    random = np.random.RandomState(0)
    logit, target, chosen = random.standard_normal((3, 4, 5, 6)), random.randint(0, 2, (3, 5, 6)), [2, 0, 3]
    values = [
        -math.log(sigmoid(logit[n, chosen[n], y, x] * (1 if target[n, y, x] else -1))) for n, y, x in np.ndindex(target.shape)]
    got = CrossEntropyLoss(use_mask=True)(
        torch.from_numpy(logit), torch.from_numpy(target), torch.tensor(chosen), ignore_index=None)
    assert got.tolist() == [pytest.approx(np.mean(values), rel=1e-5)]
    with pytest.raises(ValueError, match="use_mask=True needs weight"):
        CrossEntropyLoss(use_mask=True)(torch.from_numpy(logit), torch.from_numpy(target), ignore_index=None)


def check_reductions(loss: torch.nn.Module, pair: tuple[Tensor, Tensor], values: np.ndarray, weight: np.ndarray) -> None:
    """The other reductions of ``values``, with weights and without."""
    w = torch.from_numpy(weight)
    for given, factor in ((None, 1.0), (w, weight)):
        got = {kind: loss(*pair, given, reduction_override=kind, ignore_index=255) for kind in ("none", "sum")}
        np.testing.assert_allclose(got["none"].numpy(), values * factor, rtol=1e-5, atol=1e-6)
        assert got["sum"].item() == pytest.approx((values * factor).sum(), rel=1e-5)
        assert loss(*pair, given, 7.0, ignore_index=255).item() == pytest.approx((values * factor).sum() / 7, rel=1e-5)
    with pytest.raises(ValueError, match="avg_factor"):
        loss(*pair, avg_factor=7.0, reduction_override="sum", ignore_index=255)


@pytest.mark.parametrize("name", ["weights.npy", "weights.json"])
def test_weights_of_classes_from_a_file(index_map: tuple[Tensor, Tensor], tmp_path: Path, name: str) -> None:
    weights = [0.5, 1.0, 2.0, 3.0, 4.0]
    np.save(tmp_path / "weights.npy", weights)
    (tmp_path / "weights.json").write_text(json.dumps(weights))
    of_file, given = (CrossEntropyLoss(class_weight=found) for found in (str(tmp_path / name), weights))
    losses = [loss(*index_map, ignore_index=255) for loss in (of_file, given, CrossEntropyLoss())]
    assert losses[0] == losses[1] != losses[2]


@pytest.mark.parametrize("class_weight", [None, [0.5, 1.0, 2.0, 3.0]])
@pytest.mark.parametrize("alpha", [0.25, [0.1, 0.2, 0.3, 0.4]])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("indices", [False, True])
def test_focal(multi_label: tuple[Tensor, Tensor], gamma: float, alpha: object, class_weight: list | None, indices: bool) -> None:
    pair = (multi_label[0], multi_label[1][:, 0].long() * 2 % 253) if indices else multi_label  # 255 becomes 4: another value
    ignored = 4 if indices else 255
    logit, label = as_float64(pair)
    values = np.zeros(logit.shape)
    for b, c, y, x in np.ndindex(logit.shape):
        truth = label[b, y, x] if indices else label[b, c, y, x]
        if truth != ignored:
            p, positive = sigmoid(logit[b, c, y, x]), truth == (c if indices else 1)
            a = alpha[c] if isinstance(alpha, list) else alpha
            p_t, a_t = (p, a) if positive else (1 - p, 1 - a)
            values[b, c, y, x] = -a_t * (1 - p_t) ** gamma * math.log(p_t) * (class_weight or [1.0] * 4)[c]
    loss = FocalLoss(gamma=gamma, alpha=alpha, class_weight=class_weight)
    assert loss(*pair, ignore_index=ignored).item() == pytest.approx(values.mean(), rel=1e-5)
    weight = np.random.RandomState(1).random_sample((2, 5, 6))
    for given in (torch.from_numpy(weight), torch.from_numpy(weight).flatten()):
        got = loss(*pair, given, reduction_override="none", ignore_index=ignored)
        np.testing.assert_allclose(got, values * weight[:, None], rtol=1e-5, atol=1e-6)
    assert loss(*pair, avg_factor=7, ignore_index=ignored).item() == pytest.approx(values.sum() / 7, rel=1e-5)


@pytest.mark.parametrize("naive_dice", [False, True])
@pytest.mark.parametrize("left_out", [255, 1])
@pytest.mark.parametrize("activation", ["sigmoid", "softmax", "none"])
def test_dice_of_all_channels(index_map: tuple[Tensor, Tensor], naive_dice: bool, left_out: int, activation: str) -> None:
    logit, label = as_float64(index_map)
    p = {"sigmoid": np.vectorize(sigmoid)(logit), "softmax": np.apply_along_axis(softmax, 1, logit), "none": logit}[activation]
    eps, expected = 0.1, []
    for b in range(2):
        overlap = predicted = positives = 0.0
        for c, y, x in np.ndindex(logit.shape[1:]):
            if c != left_out:
                q, t = p[b, c, y, x], float(label[b, y, x] == c)
                overlap += q * t
                predicted += q if naive_dice else q * q
                positives += t
        top, bottom = (2 * overlap + eps, eps) if naive_dice else (2 * overlap, 2 * eps)
        expected.append(1 - top / (predicted + positives + bottom))
    loss = DiceLoss(activation == "sigmoid", activation != "none", "none", naive_dice, 0.5, left_out, eps)
    np.testing.assert_allclose(loss(*index_map), 0.5 * np.array(expected), rtol=1e-5, atol=1e-6)
    one_hot = torch.stack([index_map[1] == c for c in range(5)], 1).long()
    torch.testing.assert_close(loss(index_map[0], one_hot), loss(*index_map))
    weight = torch.tensor([0.25, 2.0])
    assert loss(*index_map, weight, reduction_override="mean").item() == pytest.approx(
        0.5 * np.mean(np.array(expected) * [0.25, 2.0]), rel=1e-5)
    assert loss(*index_map, weight, 3, "mean").item() == pytest.approx(0.5 * np.dot(expected, [0.25, 2.0]) / 3, rel=1e-5)


def dice_by_loop(probability: np.ndarray, target: np.ndarray, valid: np.ndarray, groups: list, smooth: float) -> float:
    """``groups``: for each Dice its (samples, channel); arrays are (B, C, H, W)."""
    losses = []
    for samples, c in groups:
        p, t, v = (array[samples, c].ravel() for array in (probability, target, valid))
        overlap = sum(pi * ti for pi, ti, vi in zip(p, t, v, strict=True) if vi)
        positives = sum(ti for ti, vi in zip(t, v, strict=True) if vi)
        if positives:
            predicted = sum(pi for pi, vi in zip(p, v, strict=True) if vi)
            losses.append(1 - (2 * overlap + smooth) / (predicted + positives + smooth))
    return float(np.mean(losses))


@pytest.mark.parametrize("batch_dice", [True, False])
@pytest.mark.parametrize("smooth", [1.0, 1e-3])
def test_lesion_dice(multi_label: tuple[Tensor, Tensor], batch_dice: bool, smooth: float) -> None:
    logit, label = as_float64(multi_label)
    probability = np.vectorize(sigmoid)(logit)
    groups = [([0, 1], c) for c in range(4)] if batch_dice else [([b], c) for b in range(2) for c in range(4)]
    expected = dice_by_loop(probability, label == 1, label != 255, groups, smooth)
    assert LesionDiceLoss(batch_dice=batch_dice, smooth=smooth)(*multi_label).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("alpha", [0.0, 0.3, 0.5, 1.0])
def test_false_alarms_may_weigh_less_than_misses(multi_label: tuple[Tensor, Tensor], alpha: float) -> None:
    """The Tversky index by its definition, of true positives, false positives and false negatives."""
    logit, label = as_float64(multi_label)
    losses = []
    for c in range(4):
        p, t = (array[:, c][label[:, c] != 255] for array in (np.vectorize(sigmoid)(logit), label == 1))
        if t.any():
            hits, alarms, missed = (p * t).sum(), (p * ~t).sum(), ((1 - p) * t).sum()
            losses.append(1 - (hits + 0.5) / (hits + alpha * alarms + (1 - alpha) * missed + 0.5))
    assert LesionDiceLoss(alpha=alpha)(*multi_label).item() == pytest.approx(np.mean(losses), rel=1e-5)


def test_a_lesion_that_is_absent_leaves_no_nan(multi_label: tuple[Tensor, Tensor]) -> None:
    """Nothing is in the denominator where only misses count and nothing can be missed."""
    logit, label = multi_label[0].requires_grad_(), multi_label[1]
    loss = LesionDiceLoss(alpha=0.0, smooth=0.0)(logit, label)
    loss.backward()
    assert loss.isfinite() and logit.grad is not None and logit.grad.isfinite().all() and logit.grad[:, 0].any()
    assert not logit.grad[:, 3].any()


@pytest.mark.parametrize("alpha", [-0.1, 1.5, float("nan")])
def test_a_weight_of_false_alarms_is_a_share(alpha: float) -> None:
    with pytest.raises(ValueError, match=r"LesionDiceLoss: got alpha=.*, expected a number from 0 to 1"):
        LesionDiceLoss(alpha=alpha)


def test_lesion_dice_of_a_softmax_head(index_map: tuple[Tensor, Tensor]) -> None:
    logit, label = as_float64(index_map)
    probability = np.apply_along_axis(softmax, 1, logit)
    target = np.stack([label == c for c in range(5)], 1)
    valid = np.stack([label != 255] * 5, 1)
    expected = dice_by_loop(probability, target, valid, [([0, 1], c) for c in range(1, 5)], 1.0)
    assert LesionDiceLoss(use_sigmoid=False)(*index_map).item() == pytest.approx(expected, rel=1e-5)


def test_cross_entropy_of_softmax_is_the_same_where_results_must_repeat(index_map: tuple[Tensor, Tensor]) -> None:
    """A GPU adds up all pixels at once in no certain order, which torch then refuses; one by one it does not."""
    kinds: list[str] = []

    def seen(*args: Any, reduction: str, **kwargs: Any) -> Tensor:
        kinds.append(reduction)
        return cross_entropy(*args, reduction=reduction, **kwargs)

    cross_entropy, values = F.cross_entropy, []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mmseg.models.losses.cross_entropy_loss.F.cross_entropy", seen)
        for repeats in (False, True):
            torch.use_deterministic_algorithms(repeats)
            try:
                values.append(CrossEntropyLoss()(*index_map, ignore_index=255).item())
            finally:
                torch.use_deterministic_algorithms(False)
    assert kinds == ["sum", "none"] and values[0] == pytest.approx(values[1], rel=1e-6)


def test_an_absent_lesion_gets_no_dice_gradient(multi_label: tuple[Tensor, Tensor]) -> None:
    logit = multi_label[0].clone().requires_grad_()
    LesionDiceLoss()(logit, multi_label[1]).backward()
    assert logit.grad[:, 3].abs().max() == 0
    assert logit.grad[:, 0].abs().max() > 0


def test_a_lesion_that_nobody_annotated_is_not_trained(multi_label: tuple[Tensor, Tensor]) -> None:
    """docs/custom_dataset.md: with a channel_weight of 0 its channel gets no gradient at all."""
    logits, label = multi_label
    logits, label = logits.clone().requires_grad_(), label.clone()
    label[:, 0] = label[:, 3] = 0
    entropy = MODELS.build(dict(type="CrossEntropyLoss", use_sigmoid=True, channel_weight=(0, 10, 12, 0)))
    dice = MODELS.build(dict(type="LesionDiceLoss"))
    (entropy(logits, label, ignore_index=255) + dice(logits, label, ignore_index=255)).backward()
    assert logits.grad is not None
    assert [bool(logits.grad[:, channel].any()) for channel in range(4)] == [False, True, True, False]


@pytest.mark.parametrize(("cls", "kwargs", "message"), [
    (FocalLoss, {"use_sigmoid": False}, "FocalLoss: got use_sigmoid=False, expected True"),
    (CrossEntropyLoss, {"pos_weight": 2.0}, "pos_weight needs use_sigmoid=True"),
    (CrossEntropyLoss, {"channel_weight": [2.0]}, "channel_weight needs use_sigmoid=True"),
    (CrossEntropyLoss, {"use_sigmoid": True, "pos_weight": 2.0, "class_weight": [1.0]}, "got class_weight and pos_weight"),
    (CrossEntropyLoss, {"use_sigmoid": True, "use_mask": True}, "use_sigmoid=True and use_mask=True"),
    (DiceLoss, {"reduction": "median"}, "DiceLoss: got reduction='median', expected 'none'"),
])
def test_impossible_arguments_are_named(cls: type, kwargs: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        cls(**kwargs)


def test_accuracy() -> None:
    score = torch.tensor([[0.1, 0.7, 0.2], [0.5, 0.2, 0.3], [0.3, 0.3, 0.4], [0.6, 0.3, 0.1]])
    label = torch.tensor([1, 2, 2, 7])
    assert accuracy(score, label).item() == pytest.approx(50)
    assert [value.item() for value in accuracy(score, label, (1, 2), ignore_index=7)] == pytest.approx([200 / 3, 100])
    assert accuracy(score, label, thresh=0.5, ignore_index=7).item() == pytest.approx(100 / 3)
    picture, labels = score.T[None, :, None], label[None, None]
    assert Accuracy((1,), ignore_index=7)(picture, labels)[0].item() == pytest.approx(200 / 3)
    assert accuracy(score[:0], label[:0]) == 0
    with pytest.raises(ValueError, match="k up to 3"):
        accuracy(score, label, 4)


def test_affinity_by_loop() -> None:
    random = np.random.RandomState(0)
    feature, reference = random.standard_normal((2, 3, 4, 3)), random.standard_normal((2, 5, 4, 3))
    similarities = []
    for array in (feature, reference):
        flat = array.reshape(2, array.shape[1], 12)
        flat = flat / (np.sqrt((flat ** 2).sum(2, keepdims=True)) + 1e-6)
        similarities.append(np.array([[[flat[b, :, i] @ flat[b, :, j] for j in range(12)] for i in range(12)] for b in range(2)]))
    expected = abs(similarities[0] - similarities[1]).mean()
    assert affinity_loss(torch.from_numpy(feature), torch.from_numpy(reference)).item() == pytest.approx(expected, rel=1e-5)


def test_affinity_in_blocks_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    feature, reference = torch.randn(2, 6, 5, 7, requires_grad=True), torch.randn(2, 6, 5, 7, requires_grad=True)
    whole = affinity_loss(feature, reference)
    (gradient,) = torch.autograd.grad(whole, feature)
    monkeypatch.setattr(sys.modules["mmseg.models.losses.affinity_loss"], "_BLOCK_ENTRIES", 2 * 35 * 4)
    blocks = affinity_loss(feature, reference)
    torch.testing.assert_close(blocks, whole)
    blocks.backward()
    torch.testing.assert_close(feature.grad, gradient)
    assert reference.grad is None


def test_affinity_is_float32_under_autocast() -> None:
    feature, reference = torch.randn(1, 6, 5, 7), torch.randn(1, 6, 5, 7)
    with torch.autocast("cpu", torch.bfloat16):
        value = affinity_loss(feature, reference)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, affinity_loss(feature, reference))


def test_factors_are_copied_to_a_device_once() -> None:
    like = torch.zeros(1)
    assert constant((60, 10), like) is constant([60.0, 10.0], like)
    assert torch.equal(constant(5, like.double()), torch.tensor(5.0, dtype=torch.float64))
    with torch.inference_mode():
        kept = constant((1.5, 2.5), like)
    (kept * torch.ones(2, requires_grad=True)).sum().backward()  # no tensor of inference
