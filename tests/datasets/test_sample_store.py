"""Decoded samples on the disk: the same, rebuilt when the sources change, never half."""

from __future__ import annotations

import errno
import logging
import os
import pickle
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from releases import write_fgadr

from mmseg.datasets import FGADRDataset, ResidentDataset, SyntheticFundusDataset, sample_store
from mmseg.datasets.sample_store import DiskStore, Sample, source_digest
from mmseg.datasets.splits import draw_splits, write_splits
from mmseg.utils.errors import UserError
from mmseg.utils.locks import hold

SIZE = (121, 81)  # an odd number of pixels


@pytest.fixture
def root(tiny_data: Path, tmp_path: Path) -> Path:
    return shutil.copytree(tiny_data, tmp_path / "data")


def on_disk(root: Path, size: tuple[int, int] = SIZE) -> ResidentDataset:
    source = SyntheticFundusDataset(str(root), "train", size=size)
    return ResidentDataset(source, cache="disk", cache_dir=str(root.parent / "cache"))


def stores(root: Path) -> list[str]:
    return sorted(path.name for path in (root.parent / "cache").iterdir() if path.suffix != ".lock")


def test_a_worker_that_is_not_forked_opens_the_file_again(root: Path) -> None:
    store = on_disk(root)._store
    travelling = pickle.dumps(store)
    assert len(travelling) < 1000, "the samples travel along"
    assert torch.equal(pickle.loads(travelling)[3].image, store[3].image)


def test_the_same_samples_as_in_memory(root: Path) -> None:
    kept = ResidentDataset(SyntheticFundusDataset(str(root), "train", size=SIZE), cache="host")
    for stored in (on_disk(root), on_disk(root)):  # made, and found
        assert len(stored) == len(kept) == 4
        for one, other in zip((stored[i] for i in range(4)), (kept[i] for i in range(4)), strict=True):
            assert torch.equal(one["inputs"], other["inputs"])
            assert torch.equal(one["masks"], other["masks"])
            meta, expected = dict(one["data_samples"].metainfo), dict(other["data_samples"].metainfo)
            for ours, theirs in zip(meta.pop("lesion_points"), expected.pop("lesion_points"), strict=True):
                assert ours.dtype == theirs.dtype == torch.int16
                assert torch.equal(ours, theirs)
            assert meta == expected


def test_nothing_is_decoded_when_it_is_there(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on_disk(root)
    monkeypatch.setattr(SyntheticFundusDataset, "prepare_data", lambda *_: pytest.fail("decoded again"))
    on_disk(root)


@pytest.mark.parametrize("what", ["time", "content", "size", "labels", "lesions", "code"])
def test_made_anew_when_a_file_or_the_setting_changes(root: Path, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = on_disk(root)[0]["inputs"].clone()
    image = sorted((root / "images/train").iterdir())[0]
    if what == "time":
        image.touch()
    elif what == "lesions":  # the same files, taken for others
        read = SyntheticFundusDataset.load_data_list

        def exchanged(self: SyntheticFundusDataset) -> list[dict]:
            paths = [(record, record["mask_paths"]) for record in read(self)]
            return [{**record, "mask_paths": dict(zip(masks, reversed(masks.values()), strict=True))} for record, masks in paths]

        monkeypatch.setattr(SyntheticFundusDataset, "load_data_list", exchanged)
    elif what == "code":
        other = root / "reading.py"
        other.write_text("another")
        monkeypatch.setattr("mmseg.datasets.sample_store.reading.__file__", str(other))
    elif what == "labels":
        monkeypatch.setattr(SyntheticFundusDataset, "LABEL_MAP_CLASSES", ("MA", "HE", "EX", "SE"))
    elif what == "content":
        shutil.copyfile(sorted((root / "images/train").iterdir())[1], image)
    after = on_disk(root, (60, 40) if what == "size" else SIZE)[0]["inputs"]
    assert len(stores(root)) == 2
    assert torch.equal(before, after) == (what in ("time", "labels", "lesions", "code"))


class Brightened(SyntheticFundusDataset):
    """A data set of a user's, with an argument that changes pixels."""

    def __init__(self, *args: Any, by: tuple[int, ...] | float | None = None, **kwargs: Any) -> None:
        self.by = by
        super().__init__(*args, **kwargs)


def test_the_arguments_of_a_subclass_count(root: Path) -> None:
    values = (None, 1, 1.5, (1, 2), (1, (2, "x")))
    digests = [source_digest(Brightened(str(root), by=value)) for value in values]
    assert len(set(digests)) == len(values)
    assert digests == [source_digest(Brightened(str(root), by=value)) for value in values]


def test_what_chooses_the_same_records_makes_no_other_store(root: Path) -> None:
    expected = source_digest(SyntheticFundusDataset(str(root)))
    for same in (dict(indices=4), dict(fold=0, num_folds=1, held_out=True, fold_seed=7), dict(data_root=f"{root}/images/..")):
        assert source_digest(SyntheticFundusDataset(**dict(data_root=str(root)) | same)) == expected, same
    write_fgadr(root / "fgadr")
    names = [path.stem for path in (root / "fgadr").rglob("Original_Images/*")]
    write_splits(root / "lists", draw_splits(names, 0), "drawn")
    drawn, read = (FGADRDataset(str(root / "fgadr"), "train", split_dir=lists) for lists in (None, str(root / "lists")))
    assert source_digest(drawn) == source_digest(read)


def test_a_file_that_is_missing_is_named(root: Path) -> None:
    source = SyntheticFundusDataset(str(root), "train", size=SIZE)
    mask = next((root / "masks/train/MA").iterdir())
    mask.unlink()
    with pytest.raises(UserError, match=rf"{mask.name}: cannot be read \(No such file or directory\)"):
        ResidentDataset(source, cache="disk", cache_dir=str(root.parent / "cache"))


@pytest.mark.parametrize("locks", [True, False])
def test_what_killed_builds_left_is_removed(root: Path, monkeypatch: pytest.MonkeyPatch, locks: bool) -> None:
    """Of this store alone, and not what somebody may be writing where there are no locks."""
    if not locks:
        monkeypatch.setattr("fcntl.flock", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOLCK, "No locks available")))
    cache = root.parent / "cache"
    name = f"SyntheticFundusDataset_{source_digest(SyntheticFundusDataset(str(root), 'train', size=SIZE))}"
    hours_ago = time.time() - 7200
    for left, changed in ((f".{name}.1.new", hours_ago), (f".{name}.2.new", None), (".Other_0.1.new", hours_ago)):
        (cache / left).mkdir(parents=True)
        (cache / left / "samples.bin").touch()
        if changed:
            os.utime(cache / left / "samples.bin", (changed, changed))
            os.utime(cache / left, (changed, changed))
    on_disk(root)
    assert stores(root) == sorted([name, *([] if locks else [f".{name}.2.new"]), ".Other_0.1.new"])


def test_waiting_for_another_process_is_told(root: Path, logged: list[logging.LogRecord]) -> None:
    name = f"SyntheticFundusDataset_{source_digest(SyntheticFundusDataset(str(root), 'train', size=SIZE))}"
    (root.parent / "cache").mkdir()
    waiting = threading.Thread(target=on_disk, args=(root,))
    with hold(root.parent / "cache" / f".{name}.lock"):
        waiting.start()
        end = time.monotonic() + 20
        while not (told := [r for r in logged if "waiting" in r.getMessage()]) and time.monotonic() < end:
            time.sleep(0.01)
    waiting.join()
    assert [name in record.getMessage() for record in told] == [True]
    assert stores(root) == [name]


def test_a_worker_does_not_ask_for_the_gpu(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a forked one that raises."""
    store = on_disk(root)._store
    monkeypatch.setattr(sample_store, "get_worker_info", object)
    monkeypatch.setattr(sample_store, "default_device", lambda: pytest.fail("asked for the GPU"))
    assert store[0].image.shape == (3, 81, 121)


def test_a_half_written_store_is_never_used(root: Path) -> None:
    source = SyntheticFundusDataset(str(root), "train", size=SIZE)
    cache = root.parent / "cache"
    cache.mkdir()

    def breaking() -> Iterator[Sample]:
        yield Sample(torch.zeros(3, 2, 2, dtype=torch.uint8), torch.zeros(2, 2, dtype=torch.uint8), source[0]["data_samples"])
        raise KeyboardInterrupt

    with pytest.raises((KeyboardInterrupt, KeyError)):
        DiskStore.of(source, cache, breaking())
    assert stores(root) == []
    (cache / ".SyntheticFundusDataset_0123.1.new").mkdir()  # what a killed process leaves
    assert torch.equal(on_disk(root)[0]["inputs"], source[0]["inputs"])


def test_a_full_disk_is_told(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(UserError, match=r"cannot be written \(No space left on device\).*GiB are free.*cache_dir"):
        on_disk(root)
    assert stores(root) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_disk_that_gets_full_while_samples_are_written(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = sample_store._write

    def on_a_full_disk(folder: Path, samples: Iterator[Sample]) -> None:
        (folder / "samples.bin").symlink_to("/dev/full")
        write(folder, samples)

    monkeypatch.setattr(sample_store, "_write", on_a_full_disk)
    with pytest.raises(UserError, match=r"cannot be written \(No space left on device\)"):
        on_disk(root)
    assert stores(root) == []


def test_what_is_stored_is_not_changed_through_a_sample(root: Path) -> None:
    on_disk(root)[1]["inputs"].fill_(7)
    assert not (on_disk(root)[1]["inputs"] == 7).all()


def test_the_choice_follows_the_free_memory(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = SyntheticFundusDataset(str(root), "train", size=SIZE)
    need = 4 * len(source) * 81 * 121
    for free, expected in ((2 * need, "host"), (2 * need - 1, "disk")):
        monkeypatch.setattr("mmseg.datasets.resident.available_memory", lambda free=free: free)
        assert ResidentDataset(source, cache_dir=str(root.parent / "cache")).cache == expected
