"""From photographs to the batch that the network sees."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from mmengine.structures import PixelData
from torch import Tensor

from mmseg.datasets.sampling import lesion_points
from mmseg.models import LesionDataPreprocessor
from mmseg.models.data_preprocessors import lesion_data_preprocessor
from mmseg.registry import MODELS, TRANSFORMS
from mmseg.structures import SegDataSample, flatten_masks
from mmseg.utils.errors import UserError

MEAN, STD = (116.513, 56.437, 16.309), (80.206, 41.232, 13.293)
CROP = dict(type="BatchRandomAffine", crop_size=(16, 24), lesion_prob=0.5)
COLOUR = dict(type="BatchPhotometricDistortion")


def make_data(sizes: list[tuple[int, int]], points: bool = False) -> dict[str, Any]:
    random = np.random.RandomState(0)
    inputs = [torch.from_numpy(random.randint(0, 256, (3, *size)).astype(np.uint8)) for size in sizes]
    samples = []
    for number, size in enumerate(sizes):
        mask = torch.from_numpy((random.rand(4, *size) < 0.2).astype(np.uint8))
        sample = SegDataSample(gt_sem_seg=PixelData(data=mask))
        sample.set_metainfo(dict(img_path=f"{number}.jpg", ori_shape=size, img_shape=size))
        if points:
            sample.set_metainfo(dict(lesion_points=lesion_points(mask)))
        samples.append(sample)
    return dict(inputs=inputs, data_samples=samples)


def masks_of(data: dict[str, Any]) -> list[Tensor]:
    return [sample.gt_sem_seg.data for sample in data["data_samples"]]


def normalised(image: Tensor) -> np.ndarray:
    return (image.double().numpy() - np.array(MEAN)[:, None, None]) / np.array(STD)[:, None, None]


@pytest.mark.parametrize("training", [False, True])
def test_normalisation_and_padding(training: bool) -> None:
    """At the right and bottom, with black, and in training with ignored targets."""
    data = make_data([(8, 12), (10, 9)])
    images, masks = data["inputs"], masks_of(data)
    out = LesionDataPreprocessor(MEAN, STD)(data, training=training)
    assert out["inputs"].shape == (2, 3, 10, 12)
    assert out["inputs"].dtype == torch.float32
    assert out["inputs"].is_contiguous(memory_format=torch.channels_last)
    black = normalised(torch.zeros(3, 10, 12))
    for b, (height, width) in enumerate([(8, 12), (10, 9)]):
        expected = black.copy()
        expected[:, :height, :width] = normalised(images[b])
        np.testing.assert_allclose(out["inputs"][b].numpy(), expected, atol=1e-5)
        sample, target = out["data_samples"][b], torch.full((4, 10, 12), 255, dtype=torch.uint8)
        target[:, :height, :width] = masks[b]
        assert torch.equal(sample.gt_sem_seg.data, target if training else masks[b])
        assert sample.img_shape == ((10, 12) if training else (height, width))


def test_testing_runs_no_transform_and_keeps_the_truth_at_its_own_size() -> None:
    data = make_data([(8, 12)])
    truth = torch.ones(4, 80, 120, dtype=torch.uint8)
    data["data_samples"][0].gt_sem_seg = PixelData(data=truth)
    data["data_samples"][0].set_metainfo(dict(ori_shape=(80, 120)))
    out = LesionDataPreprocessor(MEAN, STD, [CROP, COLOUR], target="index")(data)
    assert out["inputs"].shape == (1, 3, 8, 12)
    assert torch.equal(out["data_samples"][0].gt_sem_seg.data, truth)
    assert out["data_samples"][0].ori_shape == (80, 120)
    assert out["data_samples"][0].img_shape == (8, 12)


@pytest.mark.parametrize("training", [False, True])
def test_images_alone(training: bool) -> None:
    """As in inference: no samples, or no key at all; floating-point images too."""
    images = make_data([(8, 12), (8, 12)])["inputs"]
    preprocessor = LesionDataPreprocessor(MEAN, STD, [CROP])
    for data in (dict(inputs=images, data_samples=None), dict(inputs=images), dict(inputs=[i.float() for i in images])):
        out = preprocessor(data, training=training)
        assert out["data_samples"] is None
        np.testing.assert_allclose(out["inputs"][1].numpy(), normalised(images[1]), atol=1e-5)


def test_samples_without_truth_in_testing() -> None:
    data = make_data([(8, 12), (6, 12)])
    data["data_samples"] = [SegDataSample(metainfo=dict(img_path=f"{i}.jpg")) for i in range(2)]
    out = LesionDataPreprocessor(MEAN, STD, [CROP])(data)
    assert [s.img_shape for s in out["data_samples"]] == [(8, 12), (6, 12)]


def test_the_transforms_run_in_order_on_image_and_target() -> None:
    out = LesionDataPreprocessor((0, 0, 0), (1, 1, 1), [CROP, COLOUR])(make_data([(30, 40), (20, 50)]), training=True)
    assert out["inputs"].shape == (2, 3, 16, 24)
    for sample in out["data_samples"]:
        assert sample.gt_sem_seg.data.shape == (4, 16, 24)
        assert sample.gt_sem_seg.data.dtype == torch.uint8
        assert sample.img_shape == (16, 24)
    plain = LesionDataPreprocessor((0, 0, 0), (1, 1, 1), [CROP])(make_data([(30, 40), (20, 50)]), training=True)
    assert torch.equal(plain["data_samples"][0].gt_sem_seg.data, out["data_samples"][0].gt_sem_seg.data)
    assert not torch.equal(plain["inputs"], out["inputs"])


def test_an_index_target_is_the_flattened_multi_label_target() -> None:
    out = {
        target: LesionDataPreprocessor(MEAN, STD, [CROP], target)(make_data([(30, 40), (20, 50)]), training=True)
        for target in ("multilabel", "index")
    }
    assert torch.equal(out["index"]["inputs"], out["multilabel"]["inputs"])
    values = set()
    for index, multi in zip(masks_of(out["index"]), masks_of(out["multilabel"]), strict=True):
        assert index.shape == (1, 16, 24)
        assert index.dtype == torch.long
        assert torch.equal(index[0], flatten_masks(multi))
        values |= set(index.unique().tolist())
    assert {0, 1, 2, 3, 4} <= values


def run(seed: int, iteration: int, rank: int = 0, world_size: int = 1, points: bool = False) -> tuple[Tensor, Tensor]:
    """Images and targets of this process's share of a global batch of four."""
    preprocessor = LesionDataPreprocessor(MEAN, STD, [CROP, COLOUR])
    preprocessor.seed, preprocessor.iteration, preprocessor.rank, preprocessor.world_size = seed, iteration, rank, world_size
    data = {key: value[rank::world_size] for key, value in make_data([(30, 40)] * 4, points).items()}
    out = preprocessor(data, training=True)
    return out["inputs"], torch.stack(masks_of(out))


def test_the_same_seed_and_iteration_give_the_same_batch() -> None:
    images, targets = run(1, 2)
    torch.manual_seed(5)
    np.random.seed(5)
    again_images, again_targets = run(1, 2)
    assert torch.equal(images, again_images)
    assert torch.equal(targets, again_targets)


def test_another_seed_or_iteration_gives_another() -> None:
    targets = [run(*case)[1] for case in ((1, 2), (1, 3), (2, 2))]
    assert not any(torch.equal(targets[a], targets[b]) for a, b in ((0, 1), (0, 2), (1, 2)))


@pytest.mark.parametrize("world_size", [2, 4])
def test_processes_share_out_the_batch_of_one(world_size: int) -> None:
    images, targets = run(1, 2)
    for rank in range(world_size):
        part_images, part_targets = run(1, 2, rank, world_size)
        torch.testing.assert_close(part_images, images[rank::world_size], atol=1e-4, rtol=0)
        assert torch.equal(part_targets, targets[rank::world_size])


def test_points_from_the_data_set_change_nothing_but_the_search() -> None:
    for ours, theirs in zip(run(1, 2), run(1, 2, points=True), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize(("transforms", "least", "most"), [
    ([COLOUR], 0, 0), ([dict(CROP, lesion_prob=0.0), COLOUR], 0, 0), ([CROP], 10, 30), ([dict(CROP, lesion_prob=1.0)], 40, 40),
])
def test_lesions_are_searched_for_where_a_window_is_placed_on_one(
    transforms: list[dict], least: int, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    searched = []
    monkeypatch.setattr(
        lesion_data_preprocessor, "lesion_points", lambda masks: searched.append(masks.shape) or lesion_points(masks))
    LesionDataPreprocessor(MEAN, STD, transforms)(make_data([(20, 30)] * 40), training=True)
    assert least <= len(searched) <= most


@pytest.mark.parametrize("points", [False, True])
def test_a_transform_of_a_users_reads_the_points_as_a_list(points: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[list[Tensor]] = []

    def reader(batch: dict[str, Any]) -> dict[str, Any]:
        found = batch["points"]
        assert len(found) == 3
        read.extend([*found, found[-1], *found[1:]])
        return batch

    monkeypatch.setitem(TRANSFORMS.module_dict, "Reader", lambda: reader)
    data = make_data([(8, 12), (10, 9), (7, 7)], points)
    expected = [lesion_points(mask) for mask in masks_of(data)]
    LesionDataPreprocessor(MEAN, STD, [dict(type="Reader")])(data, training=True)
    for ours, theirs in zip(read, [*expected, expected[2], *expected[1:]], strict=True):
        assert all(torch.equal(one, other) for one, other in zip(ours, theirs, strict=True))


def test_windows_are_placed_on_every_class_of_an_index_map() -> None:
    """A map whose only pixel is of class 3: the middle of the window lies on it, at any scale and angle."""
    truth = torch.zeros(1, 60, 80, dtype=torch.uint8)
    truth[0, 41, 17], truth[0, 0] = 3, 255
    sample = SegDataSample(
        gt_sem_seg=PixelData(data=truth), metainfo=dict(img_path="a.jpg", ori_shape=(60, 80), img_shape=(60, 80)))
    sure = dict(CROP, lesion_prob=1.0, lesion_weights=(0.1, 0.1, 1.0), scale=(1.0, 1.0), rotation=(0.0, 0.0))
    found = LesionDataPreprocessor(MEAN, STD, [sure], target="index")(
        dict(inputs=[torch.zeros(3, 60, 80, dtype=torch.uint8)], data_samples=[sample]), training=True)
    assert (found["data_samples"][0].gt_sem_seg.data == 3).sum() == 1
    short = dict(sure, lesion_weights=(1.0,))
    sample.gt_sem_seg = PixelData(data=truth)
    with pytest.raises(UserError, match="lesion_weights: got 1 numbers, expected one for each of 3"):
        LesionDataPreprocessor(MEAN, STD, [short], target="index")(
            dict(inputs=[torch.zeros(3, 60, 80, dtype=torch.uint8)], data_samples=[sample]), training=True)


def test_float32_under_autocast() -> None:
    """The training step prepares its batch inside its autocast."""
    plain = run(0, 0)
    with torch.autocast("cpu", torch.bfloat16):
        inside = run(0, 0)
    assert all(torch.equal(one, other) for one, other in zip(plain, inside, strict=True))


def test_a_target_that_does_not_exist() -> None:
    with pytest.raises(ValueError, match="target='softmax', expected 'multilabel' or 'index'"):
        MODELS.build(dict(type="LesionDataPreprocessor", mean=MEAN, std=STD, target="softmax"))


def test_checkpoints_hold_no_mean() -> None:
    assert not LesionDataPreprocessor(MEAN, STD).state_dict()


def test_masks_of_another_size_are_told() -> None:
    """As from a data set that is meant for testing: they would be of another place, in silence."""
    data = make_data([(8, 12)])
    data["data_samples"][0].gt_sem_seg = PixelData(data=torch.ones(4, 80, 120, dtype=torch.uint8))
    data.pop("masks", None)
    with pytest.raises(ValueError, match=r"got images of \(8, 12\) with masks of \(80, 120\), expected one size"):
        LesionDataPreprocessor(MEAN, STD, [CROP])(data, training=True)
