"""Losses against loops over pixels in float64."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest
import torch
from torch import Tensor

from mmseg.models import CrossEntropyLoss, DiceLoss, FocalLoss
from mmseg.models.losses import affinity_loss
from mmseg.registry import MODELS

LOSSES = [
    {"type": "CrossEntropyLoss"}, {"type": "CrossEntropyLoss", "use_sigmoid": True}, {"type": "DiceLoss"},
    {"type": "DiceLoss", "use_sigmoid": False}, {"type": "FocalLoss"},
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
    assert len(names) == 3


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
    torch.testing.assert_close(one(logit, changed), one(ignoring, changed))
    torch.testing.assert_close(one(logit, torch.where(changed == 255, 17, changed), ignore_index=17), one(logit, changed))


@pytest.mark.parametrize("loss", LOSSES, ids=str)
@pytest.mark.parametrize("value", [0, 255])
def test_nothing_to_find_is_finite_and_attached(loss: dict, value: int) -> None:
    logit, label = data_for(loss)
    logit.requires_grad_()
    result = MODELS.build(loss)(logit, torch.full_like(label, value))
    result.backward()
    assert result.isfinite() and logit.grad.isfinite().all()
    if value == 255 or loss["type"] == "DiceLoss":
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
    other = label[:, 0] if label.ndim == 4 else label[:, None].expand(-1, 5, -1, -1)
    with pytest.raises(ValueError, match=rf"{loss['type']}: got a label of shape .* expected .*use_sigmoid="):
        MODELS.build(loss)(logit, other)


@pytest.mark.parametrize("avg_non_ignore", [False, True])
@pytest.mark.parametrize("class_weight", [None, [0.5, 1.0, 2.0, 3.0, 4.0]])
def test_softmax_cross_entropy(index_map: tuple[Tensor, Tensor], avg_non_ignore: bool, class_weight: list | None) -> None:
    logit, label = as_float64(index_map)
    total, count = 0.0, 0
    for b, y, x in np.ndindex(label.shape):
        if label[b, y, x] != 255:
            c = label[b, y, x]
            total -= math.log(softmax(logit[b, :, y, x])[c]) * (class_weight or [1.0] * 5)[c]
            count += 1
    expected = total / (count if avg_non_ignore else label.size)
    loss = CrossEntropyLoss(avg_non_ignore=avg_non_ignore, class_weight=class_weight)
    assert loss(*index_map).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("pos_weight", [None, 3.0, [1.0, 2.0, 3.0, 4.0]])
@pytest.mark.parametrize("class_weight", [None, [0.5, 1.0, 2.0, 3.0]])
def test_binary_cross_entropy(multi_label: tuple[Tensor, Tensor], pos_weight: object, class_weight: list | None) -> None:
    logit, label = as_float64(multi_label)
    values = []
    for b, c, y, x in np.ndindex(label.shape):
        if label[b, c, y, x] != 255:
            p, t = sigmoid(logit[b, c, y, x]), label[b, c, y, x]
            positive = pos_weight[c] if isinstance(pos_weight, list) else pos_weight or 1.0
            values.append(-(positive * t * math.log(p) + (1 - t) * math.log(1 - p)) * (class_weight or [1.0] * 4)[c])
    loss = CrossEntropyLoss(use_sigmoid=True, pos_weight=pos_weight, class_weight=class_weight)
    assert loss(*multi_label).item() == pytest.approx(np.mean(values), rel=1e-5)


@pytest.mark.parametrize("alpha", [0.25, [0.1, 0.2, 0.3, 0.4]])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_focal(multi_label: tuple[Tensor, Tensor], gamma: float, alpha: object) -> None:
    logit, label = as_float64(multi_label)
    values = []
    for b, c, y, x in np.ndindex(label.shape):
        if label[b, c, y, x] != 255:
            p, positive = sigmoid(logit[b, c, y, x]), label[b, c, y, x] == 1
            a = alpha[c] if isinstance(alpha, list) else alpha
            p_t, a_t = (p, a) if positive else (1 - p, 1 - a)
            values.append(-a_t * (1 - p_t) ** gamma * math.log(p_t))
    assert FocalLoss(gamma=gamma, alpha=alpha)(*multi_label).item() == pytest.approx(np.mean(values), rel=1e-5)


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
def test_dice(multi_label: tuple[Tensor, Tensor], batch_dice: bool, smooth: float) -> None:
    logit, label = as_float64(multi_label)
    probability = np.vectorize(sigmoid)(logit)
    groups = [([0, 1], c) for c in range(4)] if batch_dice else [([b], c) for b in range(2) for c in range(4)]
    expected = dice_by_loop(probability, label == 1, label != 255, groups, smooth)
    assert DiceLoss(batch_dice=batch_dice, smooth=smooth)(*multi_label).item() == pytest.approx(expected, rel=1e-5)


def test_dice_of_a_softmax_head(index_map: tuple[Tensor, Tensor]) -> None:
    logit, label = as_float64(index_map)
    probability = np.apply_along_axis(softmax, 1, logit)
    target = np.stack([label == c for c in range(5)], 1)
    valid = np.stack([label != 255] * 5, 1)
    expected = dice_by_loop(probability, target, valid, [([0, 1], c) for c in range(1, 5)], 1.0)
    assert DiceLoss(use_sigmoid=False)(*index_map).item() == pytest.approx(expected, rel=1e-5)


def test_an_absent_lesion_gets_no_dice_gradient(multi_label: tuple[Tensor, Tensor]) -> None:
    logit = multi_label[0].clone().requires_grad_()
    DiceLoss()(logit, multi_label[1]).backward()
    assert logit.grad[:, 3].abs().max() == 0
    assert logit.grad[:, 0].abs().max() > 0


@pytest.mark.parametrize(("cls", "kwargs", "message"), [
    (FocalLoss, {"use_sigmoid": False}, "FocalLoss: got use_sigmoid=False, expected True"),
    (CrossEntropyLoss, {"pos_weight": 2.0}, "pos_weight needs use_sigmoid=True"),
])
def test_impossible_arguments_are_named(cls: type, kwargs: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        cls(**kwargs)


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
