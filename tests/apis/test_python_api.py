"""What a Python program may rely on: every kind of input, regions, batches, progress, and threads."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy import ndimage

from mmseg.apis import LesionInferencer, Segmentation, find_regions, init_model
from mmseg.datasets.reading import read_image
from mmseg.models.segmentors.base import BaseSegmentor
from mmseg.structures import LESIONS
from mmseg.utils.errors import UserError


@pytest.fixture(scope="module")
def photographs(tiny_data: Path) -> list[Path]:
    return sorted((tiny_data / "images/test").iterdir())


@pytest.fixture(scope="module")
def model(speckled: Path) -> BaseSegmentor:
    return init_model(checkpoint=speckled, device="cpu")


@pytest.fixture(scope="module")
def inferencer(model: BaseSegmentor) -> LesionInferencer:
    return LesionInferencer(model, dtype="float32")


@pytest.fixture(scope="module")
def expected(inferencer: LesionInferencer, photographs: list[Path]) -> list[Segmentation]:
    """Each photograph alone."""
    return [inferencer(path) for path in photographs]


def agree(found: Segmentation, expected: Segmentation) -> None:
    np.testing.assert_array_equal(found.image, expected.image)
    np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=1e-5)


class TestInputs:
    def test_one_photograph_gives_one_result(
        self, inferencer: LesionInferencer, photographs: list[Path], expected: list[Segmentation]
    ) -> None:
        array = inferencer(read_image(photographs[0]))
        assert isinstance(array, Segmentation) and array.path is None
        for found in (inferencer(str(photographs[0])), inferencer(photographs[0])):
            assert isinstance(found, Segmentation) and found.path == photographs[0]
            agree(found, array)
        assert expected[0].probabilities.shape == (4, *array.image.shape[:2])
        assert expected[0].probabilities.dtype == np.float32

    @pytest.mark.parametrize("batch_size", [1, 2, 5])
    def test_several_give_one_each_in_order(
        self, inferencer: LesionInferencer, photographs: list[Path], expected: list[Segmentation], batch_size: int
    ) -> None:
        folder = photographs[0].parent
        for inputs in (folder, str(folder), f"{folder}/*.jpg", photographs, [str(p) for p in photographs], [folder]):
            found = list(inferencer(inputs, batch_size, progress=False))
            assert [one.path for one in found] == photographs
            for one, other in zip(found, expected, strict=True):
                agree(one, other)

    def test_a_mixed_list(self, inferencer: LesionInferencer, photographs: list[Path], expected: list[Segmentation]) -> None:
        found = list(inferencer([read_image(photographs[1]), photographs[0], str(photographs[0])], progress=False))
        assert [one.path for one in found] == [None, photographs[0], photographs[0]]
        for one, i in zip(found, (1, 0, 0), strict=True):
            agree(one, expected[i])

    def test_batches_are_segmented_when_they_are_asked_for(
        self, inferencer: LesionInferencer, photographs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sizes: list[int] = []
        step = type(inferencer.model).test_step
        monkeypatch.setattr(
            type(inferencer.model), "test_step", lambda self, data: sizes.append(len(data["inputs"])) or step(self, data))
        results = inferencer(photographs, batch_size=2, progress=False)
        assert sizes == []
        next(results)
        assert sizes == [2]
        assert len(list(results)) == 2
        assert sizes == [2, 1]

    @pytest.mark.parametrize(("image", "message"), [
        (np.zeros((8, 8, 3)), r"got an array float64 \(8, 8, 3\), expected uint8 \(height, width, 3\)"),
        (np.zeros((8, 8), np.uint8), "got an array uint8"), (np.zeros((0, 8, 3), np.uint8), "got an array uint8"),
        (3, "got a int, expected a path, an array, or a list of these"), ([None], "got a NoneType"),
        ("none.jpg", "no such file"), (["none.jpg"], "no such file"),
    ])
    def test_mistakes(self, inferencer: LesionInferencer, image: object, message: str) -> None:
        with pytest.raises(UserError, match=message):
            inferencer(image)  # type: ignore[call-overload]

    def test_more_mistakes(self, inferencer: LesionInferencer, photographs: list[Path], tmp_path: Path) -> None:
        with pytest.raises(UserError, match="batch_size: got 0"):
            inferencer(photographs, 0)
        with pytest.raises(ValueError, match="a model with a config or a device"):
            LesionInferencer(inferencer.model, device="cpu")
        shutil.copy(photographs[0], tmp_path / "a.jpg")
        (tmp_path / "b.jpg").write_bytes(b"no picture")
        results = inferencer(tmp_path, progress=False)
        assert next(results).path == tmp_path / "a.jpg"
        with pytest.raises(UserError, match=r"b\.jpg: not an image"):
            next(results)


class TestProgress:
    def test_shown_for_several(
        self, inferencer: LesionInferencer, photographs: list[Path], capfd: pytest.CaptureFixture[str]
    ) -> None:
        list(inferencer(photographs))
        captured = capfd.readouterr()
        assert "3/3" in captured.err and captured.err.endswith("\n") and captured.out == ""

    def test_not_for_one_nor_when_switched_off(
        self, inferencer: LesionInferencer, photographs: list[Path], capfd: pytest.CaptureFixture[str]
    ) -> None:
        inferencer(photographs[0])
        list(inferencer(photographs[:1]))
        list(inferencer(photographs, progress=False))
        captured = capfd.readouterr()
        assert (captured.out, captured.err) == ("", "")


class TestRegions:
    def test_against_scipy(self) -> None:
        noise = np.random.default_rng(0).random((2, 90, 110), np.float32)
        probabilities = np.stack([cv2.GaussianBlur(one, (0, 0), 2) for one in noise])
        masks = probabilities > np.float32(0.52)
        found = find_regions(probabilities, masks, ("MA", "HE"))
        for lesion, probability, mask in zip(("MA", "HE"), probabilities, masks, strict=True):
            labels, count = ndimage.label(mask, np.ones((3, 3)))
            expected = []
            for i, (rows, columns) in enumerate(ndimage.find_objects(labels), start=1):
                own = labels == i
                y, x = ndimage.center_of_mass(own)
                box = (columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start)
                mean = probability[own].mean(dtype=np.float64)
                expected.append((*box, own.sum(), x, y, mean, probability[own].max()))
            got = [(*r.box, r.area, *r.centroid, r.mean_probability, r.peak_probability) for r in found[lesion]]
            assert count == len(got) > 20
            np.testing.assert_allclose(sorted(got), sorted(expected), rtol=1e-6)
            assert [r.area for r in found[lesion]] == sorted((r.area for r in found[lesion]), reverse=True)
            assert {r.lesion for r in found[lesion]} == {lesion}

    def test_of_a_photograph(self, expected: list[Segmentation]) -> None:
        found = expected[0]
        assert list(found.regions) == list(LESIONS)
        assert found.masks.any()
        for mask, regions in zip(found.masks, found.regions.values(), strict=True):
            assert sum(region.area for region in regions) == mask.sum()

    def test_by_hand(self) -> None:
        probability = np.zeros((2, 5, 6), np.float32)
        probability[0, 0, 0], probability[0, 1, 1] = 0.6, 0.8  # touch at a corner
        probability[0, 2:5, 3:6] = 0.9
        probability[0, 3, 4] = 1.0
        large, small = find_regions(probability, probability > 0.5, ("MA", "HE"))["MA"]
        assert (large.box, large.area, large.centroid, large.peak_probability) == ((3, 2, 3, 3), 9, (4.0, 3.0), 1.0)
        assert large.mean_probability == pytest.approx((8 * 0.9 + 1) / 9)
        assert (small.box, small.area, small.centroid) == ((0, 0, 2, 2), 2, (0.5, 0.5))
        assert small.mean_probability == pytest.approx(0.7)
        assert find_regions(probability, probability > 0.5, ("MA", "HE"))["HE"] == []


class TestThreads:
    def at_once(self, tasks: list[Callable[[], list[Segmentation]]]) -> list[list[Segmentation]]:
        barrier = threading.Barrier(len(tasks))

        def start(task: Callable[[], list[Segmentation]]) -> list[Segmentation]:
            barrier.wait()
            return task()

        with ThreadPoolExecutor(len(tasks)) as pool:
            return list(pool.map(start, tasks))

    def test_two_thresholds_on_one_model(self, model: BaseSegmentor, photographs: list[Path]) -> None:
        before = dict(model.test_cfg)
        low, high = (LesionInferencer(model, thresholds=dict.fromkeys(LESIONS, t)) for t in (0.4, 0.6))
        found = self.at_once([lambda: list(low(3 * photographs, 2, False)), lambda: list(high(3 * photographs, 2, False))])
        assert dict(model.test_cfg) == before
        for results, threshold in zip(found, (0.4, 0.6), strict=True):
            for one in results:
                seen = np.where(one.probabilities > np.float32(threshold), one.probabilities, -1)
                np.testing.assert_array_equal(one.index_map, np.where(seen.max(0) >= 0, seen.argmax(0) + 1, 0))
                assert one.thresholds == dict.fromkeys(LESIONS, threshold)
        for one, other in zip(*found, strict=True):
            np.testing.assert_allclose(one.probabilities, other.probabilities, atol=1e-5)
            assert (one.index_map != other.index_map).any()

    def test_two_models_built_at_once(
        self, speckled: Path, photographs: list[Path], expected: list[Segmentation]
    ) -> None:
        def build() -> list[Segmentation]:
            return list(LesionInferencer(speckled, device="cpu", dtype="float32")(photographs, progress=False))

        for results in self.at_once([build, build, build]):
            for one, other in zip(results, expected, strict=True):
                agree(one, other)

    def test_thresholds_of_the_model_count_where_none_are_given(self, model: BaseSegmentor, photographs: list[Path]) -> None:
        inferencer = LesionInferencer(model, thresholds={"MA": 0.4})
        assert inferencer.thresholds == {"MA": 0.4, "HE": 0.5, "EX": 0.5, "SE": 0.5}
        found = inferencer(photographs[0])
        inferencer.thresholds["MA"] = 0.9
        assert found.thresholds["MA"] == 0.4
