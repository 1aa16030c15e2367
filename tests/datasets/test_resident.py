"""The data set in memory: the same samples, decoded once, small."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import pytest
import torch
from mmengine.structures import PixelData
from torch.utils.data import DataLoader, Dataset

from mmseg.datasets import ResidentDataset, SyntheticFundusDataset, resident
from mmseg.datasets.sampling import lesion_points
from mmseg.structures import LESIONS, unpack_masks
from mmseg.utils.errors import UserError

SIZE = (120, 80)


@pytest.fixture
def source(tiny_data: Path) -> SyntheticFundusDataset:
    return SyntheticFundusDataset(str(tiny_data), "train", size=SIZE)


def test_the_same_samples_as_decoded(source: SyntheticFundusDataset) -> None:
    resident = ResidentDataset(source)
    assert len(resident) == len(source) == 4
    assert resident.metainfo["classes"] == LESIONS
    for i in range(len(source)):
        kept, decoded = resident[i], source[i]
        assert torch.equal(kept["inputs"], decoded["inputs"])
        assert torch.equal(unpack_masks(kept["masks"]), decoded["data_samples"].gt_sem_seg.data)
        meta = dict(kept["data_samples"].metainfo)
        points = meta.pop("lesion_points")
        assert meta == decoded["data_samples"].metainfo
        expected = lesion_points(decoded["data_samples"].gt_sem_seg.data)
        assert all(torch.equal(a, b) for a, b in zip(points, expected, strict=True))


def test_from_a_configuration(tiny_data: Path, source: SyntheticFundusDataset) -> None:
    config = dict(type="SyntheticFundusDataset", data_root=str(tiny_data), split="train")
    assert ResidentDataset(config)[0]["inputs"].shape == (3, 160, 240)
    resident = ResidentDataset(config, size=SIZE, num_threads=1)
    assert torch.equal(resident[3]["inputs"], source[3]["inputs"])
    assert "size" not in config, "the configuration was changed"


def test_nothing_is_decoded_twice(tiny_data: Path, tmp_path: Path, source: SyntheticFundusDataset) -> None:
    shutil.copytree(tiny_data, tmp_path / "data")
    resident = ResidentDataset(SyntheticFundusDataset(str(tmp_path / "data"), "train", size=SIZE))
    shutil.rmtree(tmp_path / "data")
    for _ in range(2):
        assert torch.equal(resident[1]["inputs"], source[1]["inputs"])
        assert torch.equal(unpack_masks(resident[1]["masks"]), source[1]["data_samples"].gt_sem_seg.data)
    one, other = resident[1]["inputs"], resident[1]["inputs"]
    assert one.data_ptr() == other.data_ptr(), "the image is copied"


def test_four_bytes_a_pixel_are_kept(source: SyntheticFundusDataset) -> None:
    """Three of the image and one of all masks; lists of lesion pixels come on top."""
    height, width = 80, 120
    size = len(pickle.dumps(ResidentDataset(source)))
    points = sum(p.numel() * 2 for i in range(4) for p in lesion_points(source[i]["data_samples"].gt_sem_seg.data))
    assert 4 * 4 * height * width <= size - points < 4 * 4.4 * height * width


def test_a_sample_may_be_changed_without_changing_the_next(source: SyntheticFundusDataset) -> None:
    resident = ResidentDataset(source)
    first, twin = resident[0]["data_samples"], resident[0]["data_samples"]
    first.set_metainfo(dict(img_shape=(1, 1), new="a"))
    first.probabilities = PixelData(data=torch.zeros(4, 80, 120))
    for other in (twin, resident[0]["data_samples"]):
        assert other.keys() == []
        assert other.img_shape == (80, 120)
        assert "new" not in other


@pytest.mark.parametrize("cache", ["device", "host", "auto"])
def test_where_samples_are_kept(cache: str, source: SyntheticFundusDataset) -> None:
    assert ResidentDataset(source, cache=cache)[0]["inputs"].device.type == "cpu"


def test_a_cache_that_does_not_exist(source: SyntheticFundusDataset) -> None:
    with pytest.raises(UserError, match="cache='gpu', expected one of 'auto', 'device', 'host', 'disk'"):
        ResidentDataset(source, cache="gpu")


def test_processes_share_the_free_memory(source: SyntheticFundusDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    sample = resident._decode(source, 0)
    need = 10 * (sample.image.numel() + sample.masks.numel())
    monkeypatch.setattr(resident, "available_memory", lambda: 4 * need)
    monkeypatch.setattr(resident, "default_device", lambda: torch.device("cpu"))
    found = []
    for number in (1, 2, 3):
        monkeypatch.setattr(resident, "get_world_size", lambda number=number: number)
        found.append(resident._choose(sample, 10)[0])
    assert found == ["host", "host", "disk"]


def test_a_broken_file_is_told_from_its_thread(tiny_data: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_data, tmp_path / "data")
    broken = sorted((tmp_path / "data/images/train").iterdir())[2]
    broken.write_bytes(b"")
    with pytest.raises(UserError, match=broken.name):
        ResidentDataset(SyntheticFundusDataset(str(tmp_path / "data"), "train"))


def test_lesion_points_are_not_copied_with_a_sample(source: SyntheticFundusDataset) -> None:
    """Which mmengine does twice a step."""
    kept = ResidentDataset(source)
    own = kept._store[0].data_sample.lesion_points
    assert len(own) == 4 and kept[0]["data_samples"].new().lesion_points is own


def test_lesion_points() -> None:
    masks = torch.zeros(3, 100, 100, dtype=torch.uint8)
    masks[0, 3, 7] = masks[0, 90, 1] = 1
    masks[1] = 1
    masks[1, :50] = 255
    few, many, none = lesion_points(masks, most=1000)
    assert few.tolist() == [[3, 7], [90, 1]]
    assert len(none) == 0
    assert few.dtype == torch.int16
    assert 900 <= len(many) <= 1000
    assert many[:, 0].min() == 50
    assert many[:, 0].max() == 99
    assert len(many.unique(dim=0)) == len(many)


@pytest.mark.parametrize(("gpu", "host", "place"), [(0, 0, "device"), (-1, 0, "host"), (-1, -1, "disk")])
def test_a_gpu_comes_first_and_pinned_memory_counts_twice(
    source: SyntheticFundusDataset, monkeypatch: pytest.MonkeyPatch, gpu: int, host: int, place: str
) -> None:
    """Half of what is free may be taken; a byte less than that is too little."""
    sample = resident._decode(source, 0)
    need = 10 * (sample.image.numel() + sample.masks.numel())
    monkeypatch.setattr(resident, "default_device", lambda: torch.device("cuda"))
    monkeypatch.setattr(resident, "free_memory", lambda device: 2 * need + gpu)
    monkeypatch.setattr(resident, "available_memory", lambda: 4 * need + host)
    assert resident._choose(sample, 10)[0] == place


class Handed(Dataset):
    """Hands samples over, and tells whether the kept ones lie in shared memory by now."""

    def __init__(self, kept: ResidentDataset) -> None:
        self.kept = kept

    def __len__(self) -> int:
        return 8

    def __getitem__(self, idx: int) -> tuple[torch.Tensor, torch.Tensor, list[torch.Tensor], bool]:
        sample, kept = self.kept[0], self.kept._store[0]
        points = sample["data_samples"].lesion_points
        shared = any(tensor.is_shared() for tensor in (kept.image, kept.masks, *kept.data_sample.lesion_points))
        return sample["inputs"], sample["masks"], points, shared


def test_a_worker_hands_over_copies(source: SyntheticFundusDataset) -> None:
    """torch moves what is sent to shared memory, in place: a kept sample would hold a file handle for good."""
    kept = ResidentDataset(source, cache="host")
    handed = list(DataLoader(Handed(kept), batch_size=None, num_workers=1, multiprocessing_context="fork"))
    assert [shared for *_, shared in handed] == [False] * 8
    assert all(torch.equal(image, kept[0]["inputs"]) and torch.equal(masks, kept[0]["masks"]) for image, masks, *_ in handed)
    expected = kept[0]["data_samples"].lesion_points
    assert all(torch.equal(a, b) for *_, points, _ in handed for a, b in zip(points, expected, strict=True))


def test_workers_cannot_hand_over_what_lies_on_a_device(
    source: SyntheticFundusDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = ResidentDataset(source, cache="device")
    monkeypatch.setattr(resident, "get_worker_info", object)
    with pytest.raises(UserError, match="num_workers > 0 with cache='device'"):
        kept[0]
