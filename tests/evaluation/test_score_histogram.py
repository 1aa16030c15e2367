"""Counting by the bits of the probability: thresholds exact, average precision within its computed and its proven bound."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score

from mmseg.evaluation import score_histogram
from mmseg.evaluation.average_precision import (
    AUPR11_THRESHOLDS,
    aupr11,
    average_precision_interval,
    interpolated_average_precision,
)
from mmseg.evaluation.score_histogram import ScoreHistogram

Inputs = tuple[np.ndarray, np.ndarray]


def inputs(kind: str, pixels: int = 40_000, seed: int = 0) -> Inputs:
    """Probabilities float32 and truth uint8 of one kind, ``(pixels,)``."""
    random = np.random.RandomState(seed)
    truth = (random.rand(pixels) < 0.03).astype(np.uint8)
    signal = random.randn(pixels) + 1.5 * truth
    probabilities = 1 / (1 + np.exp(4 - 2 * signal))
    if kind == "tied":
        probabilities = np.round(probabilities, 2)
    elif kind == "8 bit":
        probabilities = np.round(255 * probabilities).astype(np.float32) / np.float32(255)
    elif kind == "constant":
        probabilities[:] = 0.1
    elif kind == "clustered":  # some hundred neighbouring float32 values
        probabilities = 0.1234 + 1e-6 * probabilities
    elif kind == "saturated":
        probabilities = 1 / (1 + np.exp(-12 * signal))
    elif kind == "tiny":
        probabilities = 1e-30 * probabilities
    elif kind == "ends":
        probabilities = (probabilities > 0.1).astype(np.float64)
    elif kind == "silent":
        probabilities[:] = 0
    elif kind == "all lesion":
        truth[:] = 1
    elif kind == "one lesion":
        truth[:] = 0
        truth[7] = 1
    elif kind == "reversed":
        probabilities = 1 - probabilities
    else:
        assert kind == "random"
    return probabilities.astype(np.float32), truth


KINDS = ("random", "tied", "8 bit", "constant", "clustered", "saturated", "tiny", "ends", "silent", "all lesion", "one lesion",
         "reversed")


def histogram(*images: Inputs, thresholds: tuple[float, ...] = AUPR11_THRESHOLDS) -> ScoreHistogram:
    counted = ScoreHistogram(thresholds)
    for probabilities, truth in images:
        counted.add(ScoreHistogram.of_image(torch.from_numpy(probabilities), torch.from_numpy(truth), thresholds))
    return counted


def proven_bound(pixels: int) -> float:
    """Of the error of average precision, as docs/metrics.md states it; not taken from the code, which could loosen it."""
    return (6e-4 + 5e-5 * math.log(pixels)) / 2


def literal_aupr11(probabilities: np.ndarray, truth: np.ndarray) -> float:
    """The field's rule word by word, with loops: thresholds 0, 0.1, ..., 1, ``p > t``, precision nan to 1, trapezoid."""
    points = []
    for threshold in np.linspace(0, 1, 11):
        predicted = probabilities > np.float32(threshold)
        true_positive = float((predicted & (truth == 1)).sum())
        precision = true_positive / predicted.sum() if predicted.sum() else 1.0
        points.append((true_positive / float((truth == 1).sum()), precision))
    area = 0.0
    for (recall_a, precision_a), (recall_b, precision_b) in itertools.pairwise(points):
        area += (recall_a - recall_b) * (precision_a + precision_b) / 2
    return area


@pytest.mark.parametrize("kind", KINDS)
def test_against_scikit_learn(kind: str) -> None:
    """Within the computed bound, which is within the proven one; exact where probabilities are tied."""
    probabilities, truth = inputs(kind)
    value, error = histogram((probabilities, truth)).average_precision() or (math.nan, math.nan)
    expected = average_precision_score(truth, probabilities)
    assert abs(value - expected) <= error + 1e-12
    assert error <= proven_bound(truth.size) < proven_bound(10**12) < 1e-3
    if kind in ("tied", "8 bit", "constant", "ends", "silent", "all lesion"):
        assert error == pytest.approx(0, abs=1e-12)


def test_a_plain_histogram_would_fail_here() -> None:
    """What the resolved values are for: everything lies within one of 1024 equal bins."""
    probabilities, truth = inputs("clustered")
    assert len(np.unique((probabilities * 1024).astype(int))) == 1
    assert len(np.unique(probabilities)) > 50
    assert average_precision_score(truth, probabilities) > truth.mean() + 0.05


@pytest.mark.parametrize("kind", KINDS)
def test_aupr11_against_the_literal_rule(kind: str) -> None:
    probabilities, truth = inputs(kind)
    above = histogram((probabilities, truth)).counts_above()
    found = aupr11(above[:, 0], above[:, 1], np.array(truth.sum()))
    assert found == pytest.approx(literal_aupr11(probabilities, truth), abs=1e-12)


def test_thresholds_that_probabilities_equal() -> None:
    probabilities = np.repeat(np.float32(AUPR11_THRESHOLDS), 2)
    truth = np.tile(np.uint8([0, 1]), 11)
    above = histogram((probabilities, truth)).counts_above()
    np.testing.assert_array_equal(above, [[10 - i, 20 - 2 * i] for i in range(11)])


def test_thresholds_of_the_callers() -> None:
    probabilities, truth = inputs("random")
    thresholds = (0.123, 1e-12, float(probabilities[3]), 1.0)
    above = histogram((probabilities, truth), thresholds=thresholds).counts_above()
    predicted = [probabilities > np.float32(t) for t in thresholds]
    np.testing.assert_array_equal(above, [[(p & (truth == 1)).sum(), p.sum()] for p in predicted])


@pytest.mark.parametrize("merge_at", [500, 2**20])
def test_many_images_are_pooled(merge_at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where values are thinned out after every image."""
    monkeypatch.setattr(score_histogram, "_MERGE_AT", merge_at)
    images = [inputs(kind, 5000, seed) for seed in range(4) for kind in ("random", "clustered", "saturated", "reversed", "8 bit")]
    counted = histogram(*images)
    value, error = counted.average_precision() or (math.nan, math.nan)
    probabilities, truth = (np.concatenate(part) for part in zip(*images, strict=True))
    assert abs(value - average_precision_score(truth, probabilities)) <= error
    assert error <= proven_bound(truth.size)
    above = counted.counts_above()
    found = aupr11(above[:, 0], above[:, 1], np.array(truth.sum()))
    assert found == pytest.approx(literal_aupr11(probabilities, truth), abs=1e-12)
    assert counted.pixels() == (truth.sum(), truth.size)


def test_most_lesion_pixels_unresolved(monkeypatch: pytest.MonkeyPatch) -> None:
    """A million pixels, a fifth of them lesion, of smooth probabilities: what is given up is where the error comes from."""
    monkeypatch.setattr(score_histogram, "_MERGE_AT", 1000)
    images = []
    for seed in range(8):
        random = np.random.RandomState(seed)
        truth = (random.rand(125_000) < 0.2).astype(np.uint8)
        images.append(((1 / (1 + np.exp(1 - truth - random.randn(125_000)))).astype(np.float32), truth))
    counted = histogram(*images)
    value, error = counted.average_precision() or (math.nan, math.nan)
    probabilities, truth = (np.concatenate(part) for part in zip(*images, strict=True))
    assert counted.unresolved[1].sum() > truth.sum() / 2
    assert 0 < abs(value - average_precision_score(truth, probabilities)) <= error <= proven_bound(truth.size)


def test_memory_does_not_grow_with_the_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is kept singly is bounded by the number of bins that can be heavy at once; the others are given up."""
    monkeypatch.setattr(score_histogram, "_MERGE_AT", 1000)
    counted, singly, held = histogram(), 0, []
    for seed in range(30):
        random = np.random.RandomState(seed)
        probabilities = (10 ** -(6 * random.rand(30_000))).astype(np.float32)
        image = probabilities, (random.rand(30_000) < probabilities).astype(np.uint8)
        single = histogram(image)
        single.merge()
        singly += len(single.keys)
        counted.add(single)
        held.append(len(counted.keys) + sum(len(keys) for keys, _ in counted._waiting))
    assert max(held) < singly / 3 and max(held[15:]) < max(held[:15]), "values wait, or are kept, without end"
    counted.merge()
    heavy = len(np.unique(counted.keys >> 9))
    assert heavy <= math.log(30 * 30_000) / 6e-4 + 1 / 5e-5 + 11
    _, error = counted.average_precision() or (math.nan, math.nan)
    assert error < 1e-3


@pytest.mark.parametrize("kind", KINDS)
def test_state_travels(kind: str) -> None:
    """Two halves counted apart, as by two processes, and added are the whole counted at once."""
    first, second = inputs(kind), inputs("saturated", seed=1)
    whole, left, right = histogram(first, second), histogram(first), histogram(second)
    left.add_state(right.state())
    assert left.average_precision() == whole.average_precision()
    np.testing.assert_array_equal(left.counts_above(), whole.counts_above())
    assert left.pixels() == whole.pixels() == (first[1].sum() + second[1].sum(), 80_000)


def test_state_of_what_holds_no_lesion_travels() -> None:
    probabilities, truth = inputs("random")
    left, right = histogram(), histogram((probabilities, truth * np.uint8(0)))
    left.add_state(right.state())
    assert left.average_precision() is None
    assert left.pixels() == (0, 40_000)


def test_ignored_pixels_count_nowhere() -> None:
    probabilities, truth = inputs("random")
    ignored = np.random.RandomState(5).rand(truth.size) < 0.3
    counted = histogram((probabilities, np.where(ignored, np.uint8(255), truth)))
    assert counted.pixels() == (truth[~ignored].sum(), (~ignored).sum())
    value, error = counted.average_precision() or (math.nan, math.nan)
    assert abs(value - average_precision_score(truth[~ignored], probabilities[~ignored])) <= error + 1e-12


def test_nothing_to_find() -> None:
    probabilities, truth = inputs("random")
    assert histogram((probabilities, truth * np.uint8(0))).average_precision() is None
    assert histogram().average_precision() is None


@pytest.mark.parametrize("value", [-0.1, 1.0001, math.nan, math.inf, -math.inf])
def test_what_is_no_probability_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="expected 0 to 1"):
        ScoreHistogram.of_image(torch.tensor([0.5, value]), torch.tensor([0, 1], dtype=torch.uint8), ())


def test_minus_zero_is_zero() -> None:
    counted = ScoreHistogram.of_image(torch.tensor([-0.0, 0.0, 0.5]), torch.tensor([1, 0, 0], dtype=torch.uint8), (0.0,))
    assert counted.average_precision() == (pytest.approx(1 / 3), pytest.approx(0))
    np.testing.assert_array_equal(counted.counts_above(), [[0, 1]])


def test_the_interval_holds_for_every_order_inside_a_bin() -> None:
    """Random bins, then random exact values inside them: the true average precision never leaves the interval."""
    random = np.random.RandomState(0)
    for _ in range(300):
        bins, pixels = random.randint(1, 6), random.randint(1, 40)
        bin_of, truth = random.randint(bins, size=pixels), random.randint(2, size=pixels)
        truth[0] = 1
        value = bin_of + random.choice([0.0, 0.3, 0.6], size=pixels)
        known = random.rand(pixels) < 0.5
        entries: dict[tuple[int, float], list[int]] = {}
        for b, v, t, k in zip(bin_of, value, truth, known, strict=True):
            entries.setdefault((b, v if k else -1.0), [0, 0])[1 - t] += 1
        ordered = sorted(entries, reverse=True)
        low, high = average_precision_interval(
            np.array([entries[e][0] for e in ordered]), np.array([entries[e][1] for e in ordered]),
            np.array([e[0] for e in ordered]), np.array([e[1] >= 0 for e in ordered]),
        )
        assert low - 1e-12 <= average_precision_score(truth, value) <= high + 1e-12


def test_interpolation_is_close_for_smooth_probabilities() -> None:
    probabilities, truth = inputs("random", 200_000)
    coarse = histogram((probabilities, truth)).coarse(1024)
    assert coarse.sum(1).tolist() == [truth.sum(), (1 - truth).sum()]
    found = interpolated_average_precision(*coarse[:, ::-1])
    assert found == pytest.approx(average_precision_score(truth, probabilities), abs=1e-3)
    assert np.isnan(interpolated_average_precision(np.zeros(3), np.ones(3)))
