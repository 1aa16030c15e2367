"""Lesions one by one, against a slow count region by region."""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage

from mmseg.evaluation.lesion_regions import FROC_THRESHOLDS, region_counts

EIGHT = np.ones((3, 3))


def slow(probabilities: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Every region of every threshold by itself."""
    true, number = ndimage.label(truth == 1, EIGHT)
    rows = []
    for threshold in FROC_THRESHOLDS:
        predicted = (probabilities > np.float32(threshold)) & (truth != 255)
        regions, predictions = ndimage.label(predicted, EIGHT)
        false = [i for i in range(1, predictions + 1) if (truth[regions == i] == 1).mean() <= 0.2]
        right = predicted & ~np.isin(regions, false)
        found = sum(right[true == i].mean() > 0.2 for i in range(1, number + 1))
        rows.append([found, number, len(false)])
    return np.array(rows)


def counts(probabilities: np.ndarray, truth: np.ndarray) -> np.ndarray:
    return region_counts(torch.from_numpy(probabilities), torch.from_numpy(truth))


def blobs(seed: int, ignore: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.RandomState(seed)
    smooth = ndimage.gaussian_filter(random.randn(90, 120), 2)
    truth = (smooth > 2.2 * smooth.std()).astype(np.uint8)
    noise = ndimage.gaussian_filter(random.randn(90, 120), 1.5)
    probabilities = 1 / (1 + np.exp(-3 * (smooth / smooth.std() + 1.2 * noise / noise.std() - 1.5)))
    truth[random.rand(90, 120) < ignore] = 255
    return probabilities.astype(np.float32), truth


def test_against_a_slow_count() -> None:
    for seed in range(4):
        probabilities, truth = blobs(seed, ignore=0.1 * (seed == 3))
        expected = slow(probabilities, truth)
        np.testing.assert_array_equal(counts(probabilities, truth), expected)
        assert 0 < expected[5, 0] < expected[5, 1] and expected[5, 2] > 0, "nothing to compare"


def test_the_overlap_rule() -> None:
    """More than 20 % of a true region finds it; a prediction at most 20 % true is a false alarm."""
    truth = np.zeros((8, 40), np.uint8)
    truth[2, :10] = 1  # ten pixels
    truth[2, 20:30] = 1
    probabilities = np.zeros((8, 40), np.float32)
    probabilities[2, :2] = 0.95  # two of ten: not found, but no false alarm either
    probabilities[2, 20:23] = 0.95  # three of ten: found
    probabilities[6, 30:33] = 0.55  # beside everything: a false alarm up to 0.5
    assert counts(probabilities, truth)[FROC_THRESHOLDS.index(0.5)].tolist() == [1, 2, 1]
    assert counts(probabilities, truth)[-1].tolist() == [1, 2, 0]


def test_flooding_finds_nothing() -> None:
    """One region over everything covers every lesion; if that counted, it would beat every model at one alarm an image."""
    _, truth = blobs(0)
    found, regions, alarms = counts(np.ones(truth.shape, np.float32), truth)[0]
    assert regions > 5 and truth.mean() < 0.2
    assert (found, alarms) == (0, 1)


def test_regions_meet_at_corners() -> None:
    truth = np.eye(6, dtype=np.uint8)
    assert counts(truth.astype(np.float32), truth)[5].tolist() == [1, 1, 0]


def test_nothing_there() -> None:
    empty, zeros = np.zeros((5, 5), np.uint8), np.zeros((5, 5), np.float32)
    assert not counts(zeros, empty).any()
    assert counts(zeros + 1, empty)[:, 2].tolist() == [1] * len(FROC_THRESHOLDS)
    assert counts(zeros, empty + 1)[0].tolist() == [0, 1, 0]
