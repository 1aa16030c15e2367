"""The intervals against a bootstrap with loops over whole pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, f1_score

from mmseg.evaluation.average_precision import AUPR11_THRESHOLDS
from mmseg.evaluation.bootstrap import COARSE_BINS, bootstrap_intervals
from mmseg.evaluation.score_histogram import ScoreHistogram

CLASSES = ("MA", "HE")


def images(number: int = 12) -> list[tuple[np.ndarray, np.ndarray]]:
    """Probabilities and truths ``(2, 400)``; images differ in how hard they are, the second lesion is in two thirds of them."""
    random = np.random.RandomState(0)
    made = []
    for i in range(number):
        truth = (random.rand(2, 400) < 0.1).astype(np.uint8)
        truth[1] *= i % 3 > 0
        logit = random.randn(2, 400) + (0.5 + 2 * random.rand()) * truth
        made.append(((1 / (1 + np.exp(-logit))).astype(np.float32), truth))
    return made


def kept(pairs: list[tuple[np.ndarray, np.ndarray]]) -> list[dict[str, Any]]:
    results = []
    for probabilities, truth in pairs:
        counted = [
            ScoreHistogram.of_image(torch.from_numpy(p), torch.from_numpy(t), (*AUPR11_THRESHOLDS, 0.5))
            for p, t in zip(probabilities, truth, strict=True)
        ]
        results.append(dict(
            above=np.stack([c.counts_above() for c in counted]), lesion=truth.sum(1),
            coarse=np.stack([c.coarse(COARSE_BINS) for c in counted]),
        ))
    return results


def exact(pairs: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    probabilities, truth = (np.concatenate([pair[i] for pair in pairs], axis=1) for i in (0, 1))
    return np.array([average_precision_score(t, p) if t.any() else np.nan for t, p in zip(truth, probabilities, strict=True)])


def test_against_loops() -> None:
    pairs = images()
    found = bootstrap_intervals(kept(pairs), CLASSES, exact(pairs), samples=100, seed=3)
    draws = np.random.RandomState(3).multinomial(len(pairs), np.full(len(pairs), 1 / len(pairs)), 100)
    precisions, dices = [], []
    for counts in draws:
        chosen = [pair for pair, n in zip(pairs, counts, strict=True) for _ in range(n)]
        precisions.append(exact(chosen))
        probabilities, truth = (np.concatenate([pair[i] for pair in chosen], axis=1) for i in (0, 1))
        dices.append([f1_score(t, p > 0.5) for t, p in zip(truth, probabilities, strict=True)])
    for c, lesion in enumerate(CLASSES):
        assert found[lesion]["Dice"] == pytest.approx(np.percentile(np.array(dices)[:, c], [2.5, 97.5]))
        assert found[lesion]["AP"] == pytest.approx(np.percentile(np.array(precisions)[:, c], [2.5, 97.5]), abs=5e-3)
    assert found["mean"]["Dice"] == pytest.approx(np.percentile(np.mean(dices, axis=1), [2.5, 97.5]))
    assert found["mean"]["AP"] == pytest.approx(np.percentile(np.mean(precisions, axis=1), [2.5, 97.5]), abs=5e-3)


def test_the_seed_decides() -> None:
    pairs = images()
    counted, precisions = kept(pairs), exact(pairs)
    one, same, other = (bootstrap_intervals(counted, CLASSES, precisions, 50, seed) for seed in (0, 0, 1))
    assert one == same != other


def test_an_absent_lesion_has_no_interval() -> None:
    pairs = images()
    for _, truth in pairs:
        truth[1] = 0
    found = bootstrap_intervals(kept(pairs), CLASSES, exact(pairs), 50)
    assert set(found["HE"].values()) == {None}
    assert found["mean"] == found["MA"]


def test_nothing_varies_within_one_image() -> None:
    """An interval of no width would look like certainty."""
    pairs = images(2)[1:]
    found = bootstrap_intervals(kept(pairs), CLASSES, exact(pairs), 50)
    assert {interval for scores in found.values() for interval in scores.values()} == {None}
    pairs = images(5)  # the second lesion is in one of them
    for _, truth in pairs[:4]:
        truth[1] = 0
    found = bootstrap_intervals(kept(pairs), CLASSES, exact(pairs), 50)
    assert None not in found["MA"].values()
    assert set(found["HE"].values()) == set(found["mean"].values()) == {None}


def test_the_mean_is_over_the_same_lesions_in_every_draw() -> None:
    pairs = images(6)
    for i, (_, truth) in enumerate(pairs):
        truth[1] *= i in (1, 2)
    found = bootstrap_intervals(kept(pairs), CLASSES, exact(pairs), samples=200, seed=3)["mean"]["Dice"]
    means, over_less = [], 0
    for counts in np.random.RandomState(3).multinomial(6, np.full(6, 1 / 6), 200):
        chosen = [pair for pair, n in zip(pairs, counts, strict=True) for _ in range(n)]
        probabilities, truth = (np.concatenate([pair[i] for pair in chosen], axis=1) for i in (0, 1))
        if truth.any(1).all():
            means.append(np.mean([f1_score(t, p > 0.5) for t, p in zip(truth, probabilities, strict=True)]))
        else:
            over_less += 1
    assert over_less > 10
    assert found == pytest.approx(np.percentile(means, [2.5, 97.5]))
