"""Masks as bits, channels and index maps, against loops over pixels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mmengine.structures import PixelData

from mmseg.structures import IGNORE, LESIONS, SegDataSample, flatten_masks, pack_masks, unpack_masks


def random_masks(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.RandomState(seed).randint(0, 2, shape).astype(np.uint8))


def test_the_order_of_the_lesions_is_idrids() -> None:
    assert LESIONS == ("MA", "HE", "EX", "SE")


@pytest.mark.parametrize("channels", [1, 4, 7])
def test_bit_c_of_a_packed_pixel_is_lesion_c(channels: int) -> None:
    masks = random_masks(2, channels, 5, 6)
    packed = pack_masks(masks)
    assert packed.shape == (2, 5, 6)
    assert packed.dtype == torch.uint8
    for b, y, x in np.ndindex(2, 5, 6):
        assert packed[b, y, x] == sum(int(masks[b, c, y, x]) << c for c in range(channels))


def test_packing_takes_any_non_zero_value_and_bool() -> None:
    masks = random_masks(4, 5, 6)
    assert torch.equal(pack_masks(masks * 200), pack_masks(masks))
    assert torch.equal(pack_masks(masks.bool()), pack_masks(masks))


@pytest.mark.parametrize("shape", [(4, 5, 6), (3, 4, 5, 6), (2, 3, 4, 5, 6)])
def test_unpacking_undoes_packing(shape: tuple[int, ...]) -> None:
    masks = random_masks(*shape)
    unpacked = unpack_masks(pack_masks(masks))
    assert unpacked.dtype == torch.uint8
    assert torch.equal(unpacked, masks)


def test_an_ignored_byte_is_ignored_in_every_channel() -> None:
    packed = torch.tensor([[0, 5, IGNORE]], dtype=torch.uint8)
    assert unpack_masks(packed).flatten(1).tolist() == [[0, 1, 255], [0, 0, 255], [0, 1, 255], [0, 0, 255]]


def test_small_lesions_win_in_an_index_map() -> None:
    """All sixteen combinations: MA over SE over HE over EX (docs of the data sets)."""
    for bits in range(16):
        masks = torch.tensor([bits >> c & 1 for c in range(4)], dtype=torch.uint8).view(4, 1, 1)
        there = {lesion for c, lesion in enumerate(LESIONS) if bits >> c & 1}
        expected = next((LESIONS.index(name) + 1 for name in ("MA", "SE", "HE", "EX") if name in there), 0)
        assert flatten_masks(masks).item() == expected, f"lesions {there}"


def test_an_index_map_keeps_batches_and_ignored_pixels() -> None:
    masks = random_masks(2, 4, 5, 6)
    masks[1, :, 2, 3:] = IGNORE
    masks[1, 2, 0, 0] = IGNORE  # of one lesion it is not known whether it is there
    index = flatten_masks(masks)
    assert index.dtype == torch.long
    assert index.shape == (2, 5, 6)
    assert torch.equal(index[0], flatten_masks(masks[0]))
    assert torch.equal(index == IGNORE, (masks == IGNORE).any(1))


@pytest.mark.parametrize("name", ["gt_sem_seg", "probabilities", "pred_sem_seg"])
def test_a_sample_takes_its_maps_wrapped(name: str) -> None:
    sample = SegDataSample(metainfo=dict(img_path="a.jpg"))
    setattr(sample, name, PixelData(data=torch.zeros(4, 2, 3)))
    assert getattr(sample, name).shape == (2, 3)
    with pytest.raises(TypeError, match=f"{name}.*Tensor.*PixelData"):
        setattr(sample, name, torch.zeros(4, 2, 3))
