"""The resampling of a batch, against a loop over pixels in float64."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from mmseg.datasets import BatchRandom, BatchRandomAffine, IDRiDDataset
from mmseg.datasets.sampling import lesion_points
from mmseg.datasets.transforms.affine import sample_nearest
from mmseg.models import LesionDataPreprocessor
from mmseg.registry import TRANSFORMS
from mmseg.structures import IGNORE, pack_masks, unpack_masks

SIZES = [(30, 40), (24, 34)]
"""Heights and widths of two photographs in a batch of 30x40."""

Fixed = Callable[..., BatchRandomAffine]


def make_batch(sizes: list[tuple[int, int]], seed: int = 0, iteration: int = 0) -> dict[str, Any]:
    """Noise; beyond its size an image is black and its masks are ignored, as the data preprocessor pads them."""
    random = np.random.RandomState(seed)
    height, width = max(s[0] for s in sizes), max(s[1] for s in sizes)
    images = np.zeros((len(sizes), 3, height, width), np.float32)
    masks = np.full((len(sizes), 4, height, width), IGNORE, np.uint8)
    for i, (h, w) in enumerate(sizes):
        images[i, :, :h, :w] = random.randint(0, 256, (3, h, w))
        masks[i, :, :h, :w] = random.randint(0, 2, (4, h, w))
    inside = [torch.from_numpy(m[:, :h, :w]) for m, (h, w) in zip(masks, sizes, strict=True)]
    return dict(
        images=torch.from_numpy(images), masks=torch.from_numpy(masks), sizes=torch.tensor(sizes),
        points=[lesion_points(m) for m in inside], random=BatchRandom(seed, iteration, range(len(sizes))),
    )


def fixed(crop_size: tuple[int, int], scale: float = 1.0, angle: float = 0.0, mirror: bool = False) -> BatchRandomAffine:
    """Nothing left to chance but the place."""
    return BatchRandomAffine(crop_size, (scale, scale), (angle, angle), float(mirror))


def bilinear(image: np.ndarray, x: float, y: float) -> np.ndarray:
    """Value at a position, in pixels whose centres are at halves; black outside. ``(C, H, W)``, float64."""
    left, top = math.floor(x - 0.5), math.floor(y - 0.5)
    total = np.zeros(image.shape[0])
    for row in (top, top + 1):
        for column in (left, left + 1):
            if 0 <= row < image.shape[1] and 0 <= column < image.shape[2]:
                total += (1 - abs(y - 0.5 - row)) * (1 - abs(x - 0.5 - column)) * image[:, row, column]
    return total


def near_an_edge(position: float) -> bool:
    """Whether float32 may put the position into the neighbouring pixel."""
    return abs(position - round(position)) < 1e-4


@pytest.mark.parametrize("iteration", range(4))
def test_against_a_loop_over_pixels(iteration: int) -> None:
    """What ``draw`` drew, applied by the equation of the class: ``c + M u``."""
    transform = BatchRandomAffine((20, 26), scale=(0.5, 2.0), rotation=(-180, 180), lesion_prob=0.5)
    batch = make_batch(SIZES, iteration=iteration)
    centres, matrices = transform.draw(BatchRandom(0, iteration, range(2)), batch["sizes"].float(), batch["points"])
    images, masks = batch["images"].double().numpy(), batch["masks"].numpy()
    out = transform(batch)
    assert out["images"].shape == (2, 3, 20, 26)
    assert out["masks"].shape == (2, 4, 20, 26)
    assert out["masks"].dtype == torch.uint8
    assert out["sizes"].tolist() == [[20, 26]] * 2
    compared = 0
    for b, i, j in np.ndindex(2, 20, 26):
        x, y = centres[b].double().numpy() + matrices[b].double().numpy() @ [j + 0.5 - 13, i + 0.5 - 10]
        np.testing.assert_allclose(out["images"][b, :, i, j], bilinear(images[b], x, y), atol=0.02)
        height, width = SIZES[b]
        if near_an_edge(x) or near_an_edge(y):
            continue
        compared += 1
        inside = 0 <= x < width and 0 <= y < height
        expected = masks[b, :, math.floor(y), math.floor(x)].tolist() if inside else [IGNORE] * 4
        assert out["masks"][b, :, i, j].tolist() == expected
    assert compared > 0.9 * 2 * 20 * 26


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize(("scale", "angle"), [(1.0, 0.0), (0.5, 30.0), (2.0, -120.0)])
def test_the_matrix_is_rotation_times_mirror_by_scale(scale: float, angle: float, mirror: bool) -> None:
    sizes = torch.tensor([[30.0, 40.0]] * 3)
    _, matrices = fixed((8, 8), scale, angle, mirror).draw(BatchRandom(0, 0, range(3)), sizes, [[]] * 3)
    a = math.radians(angle)
    rotation = np.array([[math.cos(a), -math.sin(a)], [math.sin(a), math.cos(a)]])
    expected = rotation @ np.diag([-1 if mirror else 1, 1]) / scale
    for matrix in matrices:
        np.testing.assert_allclose(matrix, expected, atol=1e-6)


def test_the_draws_fill_their_ranges() -> None:
    count = 1000
    transform = BatchRandomAffine((10, 10), scale=(0.5, 2.0), rotation=(-30, 60), flip_prob=0.25)
    sizes = torch.tensor([[60.0, 90.0]]).expand(count, 2)
    centres, matrices = transform.draw(BatchRandom(0, 0, range(count)), sizes, [[]] * count)
    determinants = torch.linalg.det(matrices)
    assert abs((determinants < 0).float().mean() - 0.25) < 0.05
    scales = determinants.abs().pow(-0.5)
    assert scales.min() >= 0.5 - 1e-5
    assert scales.max() <= 2 + 1e-5
    assert abs((scales < 1).float().mean() - 0.5) < 0.06, "halving must be as likely as doubling"
    angles = torch.rad2deg(torch.atan2(-matrices[:, 0, 1], matrices[:, 1, 1]))
    assert -30.01 < angles.min() < -28
    assert 58 < angles.max() < 60.01
    half = 5 / scales
    assert (centres[:, 0] >= half - 1e-4).all()
    assert (centres[:, 0] <= 90 - half + 1e-4).all()
    assert (centres[:, 1] >= half - 1e-4).all()
    assert (centres[:, 1] <= 60 - half + 1e-4).all()
    assert centres[:, 0].min() < 10
    assert centres[:, 0].max() > 80


def test_the_whole_photograph_unchanged() -> None:
    batch = make_batch([(30, 40), (30, 40)])
    images, masks = batch["images"].clone(), batch["masks"].clone()
    out = fixed((30, 40))(batch)
    assert torch.equal(out["masks"], masks)
    torch.testing.assert_close(out["images"], images, atol=2e-3, rtol=0)


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("quarters", [-1, 0, 1, 2])
def test_quarter_turns_and_mirror_images_move_pixels_and_change_none(quarters: int, mirror: bool) -> None:
    """A window turned by ``q`` quarters clockwise shows the photograph turned by ``q`` quarters anticlockwise."""
    batch = make_batch([(31, 31)])
    images, masks = batch["images"].clone(), batch["masks"].clone()

    def expected(t: Tensor) -> Tensor:
        turned = torch.rot90(t, quarters, (2, 3))
        return turned.flip(3) if mirror else turned

    out = fixed((31, 31), angle=90.0 * quarters, mirror=mirror)(batch)
    assert torch.equal(out["masks"], expected(masks))
    torch.testing.assert_close(out["images"], expected(images), atol=0.02, rtol=0)


def test_outside_is_black_and_ignored_for_every_photograph_by_its_own_size() -> None:
    """Two photographs in windows of 50x60 that hold them whole: what is padding to one is photograph to the other."""
    batch = make_batch(SIZES)
    images, masks = batch["images"].clone(), batch["masks"].clone()
    out = fixed((50, 60))(batch)
    for b, (height, width) in enumerate(SIZES):
        expected = torch.full((4, 50, 60), IGNORE, dtype=torch.uint8)
        top, left = (50 - height) // 2, (60 - width) // 2
        expected[:, top : top + height, left : left + width] = masks[b, :, :height, :width]
        assert torch.equal(out["masks"][b], expected)
        shown = out["images"][b, :, top : top + height, left : left + width]
        torch.testing.assert_close(shown, images[b, :, :height, :width], atol=2e-3, rtol=0)
        assert out["images"][b, :, :5].max() == 0


def test_masks_keep_their_values_and_ignored_pixels() -> None:
    batch = make_batch(SIZES)
    batch["masks"][:, :, 5:15] = IGNORE
    out = BatchRandomAffine((64, 64))(batch)
    assert out["masks"].unique().tolist() == [0, 1, IGNORE]
    assert out["images"].min() >= 0
    assert out["images"].max() <= 255 + 1e-3


@pytest.mark.parametrize("iteration", range(3))
def test_image_and_mask_stay_aligned(iteration: int) -> None:
    """The image shows the mask; where it shows 200 all around, the mask must be 1, where it shows 0, the mask must be 0."""
    rows, columns = np.mgrid[:60, :80]
    shape = ((rows - 20) ** 2 + (columns - 50) ** 2 < 15**2) | ((abs(rows - 45) < 6) & (abs(columns - 25) < 17))
    mask = torch.from_numpy(shape.astype(np.uint8)).expand(8, 4, 60, 80).contiguous()
    batch = dict(
        images=200.0 * mask[:, :3], masks=mask, sizes=torch.tensor([[60, 80]] * 8), points=[lesion_points(m) for m in mask],
        random=BatchRandom(0, iteration, range(8)),
    )
    out = BatchRandomAffine((48, 48), lesion_prob=1.0)(batch)
    image, mask = out["images"][:, 0], out["masks"][:, 0]
    assert (mask[image > 199.9] == 1).all()
    assert (mask[(image < 0.1) & (mask != IGNORE)] == 0).all()
    assert ((image > 100) == (mask == 1))[mask != IGNORE].float().mean() > 0.99
    assert (image > 199.9).float().mean() > 0.05


def lone_lesions(count: int) -> dict[str, Any]:
    """One pixel of MA, a field of 20x20 of EX, in every photograph of 60x80."""
    masks = torch.zeros(count, 4, 60, 80, dtype=torch.uint8)
    masks[:, 0, 7, 71] = 1
    masks[:, 2, 30:50, 10:30] = 1
    return dict(
        images=torch.zeros(count, 3, 60, 80), masks=masks, sizes=torch.tensor([[60, 80]] * count),
        points=[lesion_points(masks[0])] * count, random=BatchRandom(0, 0, range(count)),
    )


def test_every_window_holds_a_lesion_when_asked_and_every_lesion_gets_its_share() -> None:
    """Enlarged by 1.5 a pixel cannot fall between the window's pixels: at most sqrt(0.5) / 1.5 < 0.5 from one."""
    out = BatchRandomAffine((16, 16), scale=(1.5, 2.0), lesion_prob=1.0)(lone_lesions(300))
    there = (out["masks"] == 1).flatten(2).any(2)
    assert there.any(1).all()
    assert 0.4 < there[:, 0].float().mean() < 0.6, "one pixel of one lesion must count as much as 400 of another"
    ys, xs = (out["masks"][:, 0] == 1).nonzero()[:, 1:].unbind(1)
    assert ys.min() <= 1, "the lesion always lies in the middle of the window"
    assert ys.max() >= 14
    assert xs.min() <= 1
    assert xs.max() >= 14


def test_a_share_of_the_windows_is_placed_on_lesions() -> None:
    for prob, least, most in ((0.0, 0.0, 0.03), (0.5, 0.2, 0.3)):
        masks = BatchRandomAffine((8, 8), scale=(2, 2), lesion_prob=prob)(lone_lesions(300))["masks"]
        assert least <= (masks[:, 0] == 1).flatten(1).any(1).float().mean() < most


@pytest.mark.parametrize(("weights", "share"), [((3, 1, 1, 1), 0.75), ((1, 0, 0, 9), 1.0), ((0, 5, 2, 5), 0.0)])
def test_a_chosen_lesion_gets_its_weight_among_those_that_occur(weights: tuple[float, ...], share: float) -> None:
    out = BatchRandomAffine((16, 16), scale=(1.5, 2.0), lesion_prob=1.0, lesion_weights=weights)(lone_lesions(400))
    assert (out["masks"][:, 0] == 1).flatten(1).any(1).float().mean() == pytest.approx(share, abs=0.07)


def test_lesions_of_weight_zero_alone_leave_the_crop_to_chance() -> None:
    batch = BatchRandomAffine((16, 16), scale=(2, 2), lesion_prob=1.0, lesion_weights=(0, 1, 0, 1))(lone_lesions(300))
    assert (batch["masks"][:, 0] == 1).flatten(1).any(1).float().mean() < 0.1


def test_negative_weights_are_refused() -> None:
    with pytest.raises(ValueError, match=r"lesion_weights=\(1, -1\), expected none below 0"):
        BatchRandomAffine((16, 16), lesion_weights=(1, -1))


def test_packed_masks_are_moved_as_they_are() -> None:
    whole, packed = make_batch(SIZES), make_batch(SIZES)
    packed["masks"] = pack_masks(packed["masks"])[:, None]
    transform = BatchRandomAffine((20, 26))
    assert torch.equal(unpack_masks(transform(packed)["masks"][:, 0]), transform(whole)["masks"])


def test_whole_numbers_are_sampled_as_their_floats() -> None:
    whole, floats = make_batch(SIZES), make_batch(SIZES)
    whole["images"] = whole["images"].to(torch.uint8)
    transform = BatchRandomAffine((20, 26))
    assert torch.equal(transform(whole)["images"], transform(floats)["images"])


def test_places_in_a_plane_too_large_for_float32_are_exact() -> None:
    masks = torch.zeros(1, 1, 4100, 4101, dtype=torch.uint8)
    masks[0, 0, -1, -1] = masks[0, 0, -3, -2] = 1
    y, x = torch.tensor([4099.5, 4099.5, 4097.5]), torch.tensor([4100.5, 4099.5, 4099.5])
    assert sample_nearest(masks, x.view(1, 1, 3), y.view(1, 1, 3)).flatten().tolist() == [1, 0, 1]


def test_a_photograph_without_lesions_is_cropped_anywhere() -> None:
    batch = lone_lesions(3)
    batch["points"] = [[torch.zeros(0, 2, dtype=torch.int16)] * 4] * 3
    assert (BatchRandomAffine((16, 16), lesion_prob=1.0)(batch)["masks"] != IGNORE).any()


def test_a_share_that_was_rounded_up_to_one_picks_the_last_lesion() -> None:
    """float32 makes 1 of the largest of float64's shares."""

    class Greatest:
        def uniform(self, low: float, high: float) -> Tensor:
            return torch.tensor([high], dtype=torch.float32)

        def chance(self, probability: float) -> Tensor:
            return torch.tensor([probability > 0])

    batch = lone_lesions(1) | dict(random=Greatest())
    assert BatchRandomAffine((16, 16), lesion_prob=1.0)(batch)["masks"].shape == (1, 4, 16, 16)


def test_only_seed_iteration_and_slot_matter() -> None:
    """Two processes with two samples each see what one process with four sees."""
    sizes = [(30, 40)] * 4
    transform = BatchRandomAffine((16, 16), lesion_prob=0.5)
    whole = transform(make_batch(sizes, iteration=5))
    other = transform(make_batch(sizes, iteration=6))
    assert not torch.equal(whole["masks"], other["masks"])
    for rank in range(2):
        batch = make_batch(sizes)
        part = {k: v[rank::2] for k, v in batch.items() if k != "random"}
        part["random"] = BatchRandom(0, 5, [rank, 2 + rank])
        out = transform(part)
        assert torch.equal(out["masks"], whole["masks"][rank::2])
        assert torch.equal(out["images"], whole["images"][rank::2])


def test_it_is_registered_and_refuses_impossible_scales() -> None:
    assert isinstance(TRANSFORMS.build(dict(type="BatchRandomAffine", crop_size=[8, 8])), BatchRandomAffine)
    for scale in ((0.0, 1.0), (2.0, 1.0)):
        with pytest.raises(ValueError, match="BatchRandomAffine: got scale="):
            BatchRandomAffine((8, 8), scale=scale)


@pytest.mark.parametrize("name", ["flip_prob", "lesion_prob"])
@pytest.mark.parametrize("value", [-0.1, 50, float("nan"), "half"])
def test_what_is_no_probability_is_named(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"BatchRandomAffine: got {name}={value!r}, expected a number, from 0 to 1"):
        BatchRandomAffine((8, 8), **{name: value})


@pytest.mark.gpu
def test_the_gpu_gives_what_the_cpu_gives() -> None:
    transform = BatchRandomAffine((20, 26), lesion_prob=0.5)
    cpu = transform(make_batch(SIZES))
    gpu = transform({k: v.cuda() if isinstance(v, Tensor) and k != "sizes" else v for k, v in make_batch(SIZES).items()})
    assert (gpu["masks"].cpu() == cpu["masks"]).float().mean() > 0.999
    torch.testing.assert_close(gpu["images"].cpu(), cpu["images"], atol=0.1, rtol=0)


@pytest.mark.idrid
def test_crops_of_a_real_photograph(idrid_root: Path) -> None:
    item = IDRiDDataset(str(idrid_root), "train", size=(1440, 960), indices=1)[0]
    preprocessor = LesionDataPreprocessor(
        (0, 0, 0), (1, 1, 1),
        [dict(type="BatchRandomAffine", crop_size=(256, 256), lesion_prob=1.0), dict(type="BatchPhotometricDistortion")],
    )
    samples = [item["data_samples"].clone() for _ in range(2)]
    data = preprocessor(dict(inputs=[item["inputs"]] * 2, data_samples=samples), training=True)
    assert data["inputs"].shape == (2, 3, 256, 256)
    for crop, sample in zip(data["inputs"], data["data_samples"], strict=True):
        assert crop.min() >= 0
        assert 60 < crop.max() <= 255
        red, green, blue = crop.mean((1, 2)).tolist()
        assert red > green > blue
        assert (sample.gt_sem_seg.data == 1).any()
