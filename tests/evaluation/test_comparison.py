"""Two tests of the same images against a paired bootstrap with loops over whole pixels."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.structures import PixelData
from sklearn.metrics import average_precision_score, f1_score

from mmseg.evaluation import LesionMetric, compare_tests
from mmseg.structures import LESIONS, SegDataSample
from mmseg.utils.errors import UserError

Images = list[tuple[np.ndarray, np.ndarray]]


def images(sharpness: float, number: int = 10, seed: int = 0) -> Images:
    """Probabilities and truths ``(4, 12, 15)``; SE occurs nowhere, and images differ in how hard they are."""
    random, noise = np.random.RandomState(seed), np.random.RandomState(100)
    made = []
    for _ in range(number):
        truth = (random.rand(4, 12, 15) < 0.2).astype(np.uint8)
        truth[3] = 0
        logit = noise.randn(4, 12, 15) + (sharpness + 2 * random.rand()) * (2.0 * truth - 1)
        made.append(((1 / (1 + np.exp(-logit))).astype(np.float32), truth))
    return made


def scored(folder: Path, pairs: Images, names: list[str] | None = None, quantised: str | None = None) -> Path:
    """The folder of a test."""
    metric = LesionMetric(out_dir=str(folder), bootstrap=10, quantised=quantised)
    metric.dataset_meta = dict(classes=LESIONS)
    for name, pair in zip(names or [f"{i}.jpg" for i in range(len(pairs))], pairs, strict=True):
        probabilities, truth = (PixelData(data=torch.from_numpy(array)) for array in pair)
        sample = SegDataSample(metainfo=dict(img_path=f"/x/{name}"), probabilities=probabilities, gt_sem_seg=truth)
        metric.process(None, [sample.to_dict()])
    metric.evaluate(len(pairs))
    return folder


@pytest.fixture(scope="module")
def dull(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A test of ``images(0.0)``; read only."""
    return scored(tmp_path_factory.mktemp("dull"), images(0.0))


@pytest.fixture(scope="module")
def sharp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A test of ``images(0.3)``; read only."""
    return scored(tmp_path_factory.mktemp("sharp"), images(0.3))


def pixels(pairs: Images, channel: int) -> tuple[np.ndarray, np.ndarray]:
    return tuple(np.concatenate([pair[i][channel].ravel() for pair in pairs]) for i in (1, 0))  # type: ignore[return-value]


def test_against_loops(dull: Path, sharp: Path) -> None:
    pairs = [images(0.0), images(0.3)]
    found = compare_tests(dull, sharp, samples=40, seed=3)
    draws = np.random.RandomState(3).multinomial(10, np.full(10, 0.1), 40)
    for score, literal, tolerance in (("AP", average_precision_score, 5e-3), ("Dice", lambda t, p: f1_score(t, p > 0.5), 1e-9)):
        differences = np.array([[
            np.subtract(*(literal(*pixels([p for p, n in zip(of, counts, strict=True) for _ in range(n)], c))
                          for of in reversed(pairs)))
            for c in range(3)] for counts in draws])
        for c, lesion in enumerate(LESIONS[:3]):
            whole = [literal(*pixels(of, c)) for of in pairs]
            assert (found[score][lesion]["first"], found[score][lesion]["second"]) == pytest.approx(whole, abs=1e-3)
            assert found[score][lesion]["difference"] == pytest.approx(whole[1] - whole[0], abs=1e-3)
            assert found[score][lesion]["interval"] == pytest.approx(np.percentile(differences[:, c], [2.5, 97.5]), abs=tolerance)
            assert found[score][lesion]["better"] == pytest.approx((differences[:, c] > 0).mean(), abs=0.03)
        assert found[score]["mean"]["interval"] == pytest.approx(
            np.percentile(differences.mean(1), [2.5, 97.5]), abs=tolerance)
        assert found[score]["SE"] is None  # it occurs in no image


def test_how_hard_images_are_cancels_out(dull: Path, tmp_path: Path) -> None:
    """The scores' own intervals overlap; that of the difference lies above 0."""
    found = compare_tests(dull, scored(tmp_path, images(0.15)), samples=200)["AP"]["mean"]
    assert found["interval"][0] > 0 and found["better"] == 1
    same = compare_tests(dull, dull, samples=10)["AP"]["mean"]
    assert (same["difference"], same["interval"], same["better"]) == (0, (0, 0), 0.5)


def test_one_image_tells_no_interval(tmp_path: Path) -> None:
    one, other = (scored(tmp_path / str(i), images(sharpness, 1)) for i, sharpness in enumerate((0.0, 0.3)))
    found = compare_tests(one, other, samples=10)["Dice"]["MA"]
    assert found is not None and found["difference"] != 0
    assert found["interval"] is found["better"] is None


@pytest.mark.parametrize("wrong", [dict(samples=0), dict(samples=-1), dict(seed=-1), dict(seed=2**32)])
def test_numbers_out_of_their_range(dull: Path, wrong: dict[str, int]) -> None:
    with pytest.raises(UserError, match=rf"{next(iter(wrong))}: got {next(iter(wrong.values()))}, expected "):
        compare_tests(dull, dull, **wrong)


def test_the_order_of_the_images_says_nothing(dull: Path, sharp: Path, tmp_path: Path) -> None:
    names = [f"{i}.jpg" for i in range(10)]
    turned = scored(tmp_path, images(0.3)[::-1], names[::-1])
    assert compare_tests(dull, turned, samples=10) == compare_tests(dull, sharp, samples=10)


def test_quantised_predictions_are_compared_with_their_like(dull: Path, tmp_path: Path) -> None:
    """Rounding makes ties, which take from AP; AUPR11 it falsifies altogether."""
    other = scored(tmp_path, images(0.3), quantised="8 bits")
    found = compare_tests(dull, other, samples=10)
    assert set(found["AUPR11"].values()) == set(found["AP"].values()) == {None} and found["Dice"]["MA"] is not None
    found = compare_tests(other, other, samples=10)
    assert set(found["AUPR11"].values()) == {None} and found["AP"]["MA"] is not None


@pytest.mark.parametrize(("other", "names", "message"), [
    (images(0.0, 9), None, "tests of different images"),
    (images(0.0), [f"x{i}.jpg" for i in range(10)], "tests of different images"),
    (images(0.0, seed=1), None, "tests of different masks"),
])
def test_other_images(dull: Path, tmp_path: Path, other: Images, names: list[str] | None, message: str) -> None:
    with pytest.raises(UserError, match=message):
        compare_tests(dull, scored(tmp_path, other, names))


def test_folders_that_are_no_tests(dull: Path, tmp_path: Path) -> None:
    shutil.copytree(dull, tmp_path / "b")
    (tmp_path / "b/counts.npz").write_bytes(b"PK damaged")
    for folder in (tmp_path / "b", tmp_path / "none"):
        with pytest.raises(UserError, match=r"counts\.npz: cannot be read .*: test again"):
            compare_tests(dull, folder)


def test_counts_that_would_fill_the_memory(dull: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mmseg.evaluation.comparison._MOST_BYTES", 1000)
    with pytest.raises(UserError, match="it would take more than"):
        compare_tests(dull, dull)


def test_masks_are_not_compared_with_probabilities_by_ap(dull: Path, tmp_path: Path) -> None:
    masks = [((probabilities > 0.5).astype(np.float32), truth) for probabilities, truth in images(0.3)]
    ours = scored(tmp_path / "ours", masks)
    found = compare_tests(ours, dull, samples=10)
    assert set(found["AP"].values()) == set(found["AUPR11"].values()) == {None} and found["Dice"]["MA"] is not None
    assert compare_tests(ours, scored(tmp_path / "theirs", masks), samples=10)["AP"]["MA"] is not None
