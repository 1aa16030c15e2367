"""Every trap of the field's data sets, in a small tree that has it; what the data set classes refuse is an error, no more."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image
from releases import SHAPE, write, write_idrid, write_label_maps, write_tidy

from mmseg.apis import register_all_modules
from mmseg.datasets import IDRiDDataset
from mmseg.datasets.leaves import leaf_datasets
from mmseg.engine.preflight.data import data_findings
from mmseg.engine.preflight.files import READERS, FileCache
from mmseg.engine.preflight.finding import Finding
from mmseg.engine.preflight.splits import find_splits
from mmseg.utils.errors import UserError

FIRST = "masks/train/{0}/IDRiD_01_{0}.png"


@pytest.fixture(autouse=True, scope="module")
def _registered() -> None:
    register_all_modules()


def config_of(root: Path, **train: object) -> Config:
    inner = dict(type="IDRiDDataset", data_root=str(root), split="train", **train)
    return Config(dict(
        train_dataloader=dict(batch_size=2, num_workers=0, dataset=dict(type="ResidentDataset", size=(30, 30), dataset=inner)),
        test_dataloader=dict(batch_size=1, dataset=dict(type="IDRiDDataset", data_root=str(root), split="test", test_mode=True)),
    ))


def check(root: Path, cache: Path | None = None, read: bool = True, **train: object) -> list[Finding]:
    splits, said = find_splits(config_of(root, **train))
    assert all("the release has" in finding.got for finding in said)
    return list(data_findings(splits, FileCache(cache or root / "cache.json"), read))


def worse(findings: list[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.severity != "note"]


@pytest.mark.parametrize("write_set", [write_tidy, write_idrid, write_label_maps])
def test_a_sound_set_is_clean_in_every_layout(write_set: Callable[[Path], None], tmp_path: Path) -> None:
    """Palette masks (which OpenCV reads as 0/76) and the RGBA one of IDRiD_81_EX among them."""
    write_set(tmp_path)
    findings = check(tmp_path)
    assert worse(findings) == []
    assert [finding.where for finding in findings] == ["train_dataloader.dataset.dataset", "test_dataloader.dataset"]
    assert "3 images" in findings[0].got


def mask(value: int = 255, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    array = np.zeros(shape, np.uint8)
    array[5:15, 5:15] = value
    return array


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


REFUSED: dict[str, tuple[str, Callable[[Path], None], str]] = {
    "not an image": ("images/train/IDRiD_01.jpg", lambda p: p.write_bytes(b"text") and None, "not an image that can be read"),
    "empty image": ("images/test/IDRiD_55.jpg", lambda p: p.write_bytes(b"") and None, "not an image that can be read (0 bytes)"),
    "cut image": ("images/train/IDRiD_02.jpg", cut, "the file is cut off"),
    "cut mask": (FIRST.format("HE"), cut, "the file is cut off"),
    "mask of another size": (
        FIRST.format("EX"), lambda p: write(mask(shape=(50, 60)), p), "got a mask of 60x50 pixels, expected 60x40",
    ),
    "grey 76, as OpenCV converts palettes": (
        FIRST.format("MA"), lambda p: write(mask(76), p), "largest value is 76, expected 0/255",
    ),
    "label map in the place of a mask": (FIRST.format("SE"), lambda p: write(mask(3), p), "is it a label map?"),
}


@pytest.mark.parametrize("trap", REFUSED)
def test_what_the_data_set_refuses_is_an_error_in_its_words(trap: str, tmp_path: Path) -> None:
    write_tidy(tmp_path)
    name, make, words = REFUSED[trap]
    make(tmp_path / name)
    (finding,) = worse(check(tmp_path))
    assert (finding.severity, finding.where) == ("error", str(tmp_path / name))
    assert words in str(finding)
    with pytest.raises(UserError) as caught:
        [IDRiDDataset(str(tmp_path), split)[i] for split, count in (("train", 3), ("test", 2)) for i in range(count)]
    assert str(caught.value) == str(finding)


def test_a_label_map_with_another_value(tmp_path: Path) -> None:
    write_label_maps(tmp_path)
    write(mask(5), tmp_path / "labels/train/IDRiD_02.png")
    (finding,) = [f for f in worse(check(tmp_path)) if f.severity == "error"]
    assert str(finding).endswith("IDRiD_02.png: got the value 5, expected 0 background, 1 EX, 2 HE, 3 SE, 4 MA")


def test_label_maps_in_another_order(tmp_path: Path) -> None:
    """As TJDR's, where 3 is MA and 4 SE: every value is one of ours, and only the areas tell."""
    write_label_maps(tmp_path)
    for number, (soft, aneurysm) in enumerate([(60, 4), (80, 2)], start=1):
        label = np.zeros(SHAPE, np.uint8)
        label[0, :50], label[1, :30], label.flat[-soft:], label[5, :aneurysm] = 1, 2, 3, 4
        write(label, tmp_path / f"labels/train/IDRiD_{number:02d}.png")
    (tmp_path / "labels/train/IDRiD_03.png").unlink()
    (tmp_path / "images/train/IDRiD_03.jpg").unlink()
    assert not [f for f in check(tmp_path) if "pixels of MA as of" in f.got]
    for path in (tmp_path / "labels/train").iterdir():
        label = np.array(Image.open(path))
        write(np.choose(label, [0, 1, 2, 4, 3]).astype(np.uint8), path)
    (finding,) = [f for f in worse(check(tmp_path)) if "pixels of MA as of" in f.got]
    assert (finding.severity, finding.got) == ("warning", "twice as many pixels of MA as of SE in images with any")
    assert "are the values 1 EX, 2 HE, 3 SE, 4 MA?" in finding.fix


def alpha_only(path: Path) -> None:
    write(np.dstack([mask(0)] * 3 + [mask()]), path)


def copy(source: str) -> Callable[[Path], None]:
    return lambda path: path.write_bytes((path.parents[3] / source).read_bytes()) and None


SUSPICIOUS: dict[str, tuple[str, Callable[[Path], None], str]] = {
    "lesions in alpha": (FIRST.format("MA"), alpha_only, "an empty mask whose alpha channel is not"),
    "inverted": (FIRST.format("MA"), lambda p: write(255 - mask(), p), "got a lesion on 96% of the image"),
    "mask of another image": (FIRST.format("MA"), copy("masks/train/MA/IDRiD_02_MA.png"), "got the same mask as"),
    "name of no image": (
        "masks/train/EX/IDRiD_1_EX.png", lambda p: write(mask(), p), "belong to no image (IDRiD_1_EX.png)",
    ),
}


@pytest.mark.parametrize("trap", SUSPICIOUS)
def test_what_the_data_set_accepts_but_a_person_would_not_is_a_warning(trap: str, tmp_path: Path) -> None:
    write_tidy(tmp_path)
    name, make, words = SUSPICIOUS[trap]
    make(tmp_path / name)
    (finding,) = worse(check(tmp_path))
    assert finding.severity == "warning"
    assert words in str(finding)
    IDRiDDataset(str(tmp_path), "train")[0]


def test_anti_aliased_edges_are_a_note(tmp_path: Path) -> None:
    write_tidy(tmp_path)
    array = mask()
    array[4, 5:15], array[15, 5:15] = 100, 180
    write(array, tmp_path / FIRST.format("MA"))
    findings = check(tmp_path)
    assert worse(findings) == []
    assert any("1 masks hold grey levels" in finding.got for finding in findings)


@pytest.mark.parametrize(("level", "meaning"), [(127, "background"), (200, "lesion")])
def test_a_third_level_is_asked_about(level: int, meaning: str, tmp_path: Path) -> None:
    """Retinal-Lesions marks by 127 what its authors left out of their judgement."""
    write_tidy(tmp_path)
    array = mask()
    array[25:30, 5:15] = level
    write(array, tmp_path / FIRST.format("MA"))
    (finding,) = worse(check(tmp_path))
    assert (finding.severity, finding.got) == ("warning", f"1 masks of three levels, the middle one {level}")
    assert f"{level} counts as {meaning}" in finding.fix


def test_lesions_outside_of_the_retina(tmp_path: Path) -> None:
    write_tidy(tmp_path)
    photograph = np.zeros((400, 600, 3), np.uint8)
    cv2.circle(photograph, (200, 200), 150, (200, 90, 30), -1)
    write(photograph, tmp_path / "images/train/IDRiD_01.jpg")
    for lesion in ("MA", "HE", "EX", "SE"):
        array = np.zeros((400, 600), np.uint8)
        array[180:200, (500 if lesion == "EX" else 180 + 20 * len(lesion)):][:, :20] = 255
        array[0, ord(lesion[0]) % 7] = 255  # no two alike
        write(array, tmp_path / FIRST.format(lesion))
    (finding,) = [f for f in worse(check(tmp_path)) if "retina" in f.got]
    assert (finding.severity, finding.where) == ("warning", str(tmp_path / FIRST.format("EX")))


def test_a_lesion_that_never_occurs(tmp_path: Path) -> None:
    write_tidy(tmp_path)
    for path in (tmp_path / "masks/train/SE").iterdir():
        path.unlink()
    for path in (tmp_path / "masks/test/HE").iterdir():
        write(mask(0), path)
    findings = worse(check(tmp_path))
    assert [(f.severity, f.where, f.got.split()[0]) for f in findings] == [
        ("warning", "train_dataloader.dataset.dataset", "SE"), ("warning", "test_dataloader.dataset", "HE"),
    ]


def test_one_photograph_in_two_splits_under_two_names_and_codings(tmp_path: Path) -> None:
    write_tidy(tmp_path)
    pixels = np.asarray(Image.open(tmp_path / "images/train/IDRiD_03.jpg"))
    (tmp_path / "images/test/IDRiD_55.jpg").unlink()
    write(cv2.imread(str(tmp_path / "images/train/IDRiD_03.jpg"))[..., ::-1], tmp_path / "images/test/IDRiD_55.png")
    assert pixels.shape == (*SHAPE, 3)
    (finding,) = worse(check(tmp_path))
    assert finding.severity == "warning"
    assert "the same photograph as" in finding.got
    assert "across train_dataloader and test_dataloader" in finding.got


def test_training_on_what_is_measured_on(tmp_path: Path) -> None:
    write_tidy(tmp_path)
    config = config_of(tmp_path)
    config.test_dataloader.dataset.split = "train"
    splits, _ = find_splits(config)
    (finding,) = worse(list(data_findings(splits, FileCache(tmp_path / "cache.json"), True)))
    assert "3 images that are trained on, too" in finding.got


def test_folds_leave_no_orphans(tmp_path: Path) -> None:
    write_tidy(tmp_path)
    assert worse(check(tmp_path, fold=0, num_folds=3)) == []
    write(mask(), tmp_path / "masks/train/MA/IDRiD_9_MA.png")
    assert len(worse(check(tmp_path, fold=0, num_folds=3))) == 1


def test_everything_at_once(tmp_path: Path) -> None:
    write_tidy(tmp_path)
    for name, make, _ in [REFUSED["cut image"], REFUSED["cut mask"], REFUSED["mask of another size"], SUSPICIOUS["inverted"]]:
        make(tmp_path / name)
    assert [f.severity for f in worse(check(tmp_path))].count("error") == 3


class TestCache:
    def test_the_second_time_reads_nothing(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        write_tidy(tmp_path)
        cut(tmp_path / "images/train/IDRiD_02.jpg")
        first = check(tmp_path)
        for kind in READERS:
            monkeypatch.setitem(READERS, kind, lambda path: pytest.fail(f"{path} was read again"))
        assert check(tmp_path) == first
        assert check(tmp_path, read=False) == first

    def test_a_changed_file_is_read_again(self, tmp_path: Path) -> None:
        write_tidy(tmp_path)
        assert worse(check(tmp_path)) == []
        path = tmp_path / FIRST.format("MA")
        state = path.stat()
        path.write_bytes(b"x" * state.st_size)
        os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns + 1))
        assert [f.where for f in worse(check(tmp_path))] == [str(path)]

    def test_other_code_reads_everything_again(self, tmp_path: Path) -> None:
        write_tidy(tmp_path)
        check(tmp_path)
        path = tmp_path / "cache.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | dict(reader="older")))
        assert check(tmp_path, read=False)[0].got.startswith("22 of 22 files were not read")

    @pytest.mark.parametrize("content", ["", "[]", "{}", '{"reader": 3', "\x00"])
    def test_a_damaged_cache_costs_time_only(self, content: str, tmp_path: Path) -> None:
        write_tidy(tmp_path)
        (tmp_path / "cache.json").write_text(content)
        assert worse(check(tmp_path)) == []

    def test_a_cache_that_cannot_be_written(self, tmp_path: Path) -> None:
        write_tidy(tmp_path)
        (tmp_path / "file").touch()
        assert worse(check(tmp_path, tmp_path / "file/cache.json")) == []

    def test_quick_says_what_was_not_read(self, tmp_path: Path) -> None:
        write_tidy(tmp_path)
        cut(tmp_path / "images/train/IDRiD_02.jpg")
        findings = check(tmp_path, read=False)
        assert worse(findings) == []
        assert "22 of 22 files were not read" in findings[0].got


class TestSplits:
    def test_no_data_is_one_error_in_the_words_of_the_data_set(self, tmp_path: Path) -> None:
        splits, said = find_splits(config_of(tmp_path / "none"))
        assert splits == []
        assert [f.severity for f in said] == ["error", "error"]
        assert "no such folder" in said[0].got
        assert said[0].where == "train_dataloader.dataset.dataset"

    def test_wrong_arguments(self, tmp_path: Path) -> None:
        write_tidy(tmp_path)
        _, said = find_splits(config_of(tmp_path, fold=7), ("train_dataloader",))
        assert "fold=7" in str(said[0])
        assert said[0].severity == "error"

    def test_sizes_come_from_the_headers(self, tmp_path: Path) -> None:
        write_tidy(tmp_path)
        splits, _ = find_splits(config_of(tmp_path))
        assert [split.working_size() for split in splits] == [(30, 20), (60, 40)]
        for path in (tmp_path / "images/test").iterdir():
            path.write_bytes(b"")
        splits, _ = find_splits(config_of(tmp_path))
        assert splits[1].working_size() is None and splits[1].sample_bytes() == 0

    def test_wrappers(self) -> None:
        leaf = dict(type="IDRiDDataset", data_root="x", size=(1, 2))
        settings = dict(type="ResidentDataset", size=(3, 4), dataset=dict(type="ConcatDataset", datasets=[leaf, leaf]))
        found = list(leaf_datasets(settings, "a"))
        assert [one.where for one in found] == ["a.dataset.datasets.0", "a.dataset.datasets.1"]
        assert all(one.size == (3, 4) and one.has_lesions for one in found)
        assert next(leaf_datasets(leaf)).size == (1, 2)
        assert not next(leaf_datasets(dict(type="Unknown"), "a")).has_lesions
        assert list(leaf_datasets(None, "a")) == []


def test_a_lesion_without_any_file_is_told_without_reading(tmp_path: Path) -> None:
    """As where a folder has another name: training would learn that there is none."""
    write_tidy(tmp_path)
    (tmp_path / "masks/train/MA").rename(tmp_path / "masks/train/Microaneurysms")
    told = [str(f) for f in worse(check(tmp_path, read=False))]
    assert any("MA in none of" in line and "train_dataloader" in line for line in told)


def test_what_the_system_refused_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tidy(tmp_path)
    path, cache = next((tmp_path / "images/train").iterdir()), FileCache(tmp_path / "cache.json")

    def refused(self: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", refused)
        assert "Permission denied" in cache.read("image", str(path))["error"]
    assert cache.known("image", str(path)) is None
    path.write_bytes(b"no picture")
    assert "error" in cache.read("image", str(path)) and cache.known("image", str(path)) is not None


@pytest.mark.idrid
@pytest.mark.slow
def test_idrid_itself_is_clean(idrid_root: Path, tmp_path: Path) -> None:
    config = config_of(idrid_root)
    splits, said = find_splits(config)
    assert said == []
    assert worse(list(data_findings(splits, FileCache(tmp_path / "cache.json"), True))) == []
