"""Releases into other toolkits' folders: the same pixels, however often it was stopped."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from releases import SHAPE, Picture, write, write_ddr, write_fgadr, write_idrid, write_label_maps

from mmseg.datasets import DDRDataset, FGADRDataset, IDRiDDataset, ReleaseDataset
from mmseg.datasets.converters import convert_dataset, files
from mmseg.datasets.release_dataset import MANIFEST
from mmseg.utils.errors import UserError

COUNTS: dict[type[ReleaseDataset], int] = {IDRiDDataset: 5, DDRDataset: 7, FGADRDataset: 20}
WRITERS: dict[type[ReleaseDataset], Callable[[Path], Any]] = {
    IDRiDDataset: write_idrid, DDRDataset: write_ddr, FGADRDataset: write_fgadr,
}
CLASSES = sorted(WRITERS, key=lambda cls: cls.NAME)


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> dict[type, Path]:
    """The three releases; read only."""
    folder = tmp_path_factory.mktemp("releases")
    for cls, fill in WRITERS.items():
        fill(folder / cls.NAME)
    return {cls: folder / cls.NAME for cls in WRITERS}


def samples(cls: type[ReleaseDataset], root: Path) -> dict[tuple[str, str], tuple[np.ndarray, np.ndarray]]:
    """Image and masks of everything in a folder, by split and name."""
    found = {}
    for split in cls.SPLITS:
        for item in cls(str(root), split):
            sample = item["data_samples"]
            found[split, sample.image_id] = item["inputs"].numpy(), sample.gt_sem_seg.data.numpy()
    return found


def tree(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def flat(masks: np.ndarray) -> np.ndarray:
    """Pixel by pixel: EX, then HE, SE, MA on top."""
    index = np.zeros(masks.shape[1:], np.uint8)
    for value in (3, 2, 4, 1):
        index[masks[value - 1] == 1] = value
    return index


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


@pytest.mark.parametrize("cls", CLASSES)
def test_tidy_holds_the_same_samples(cls: type[ReleaseDataset], roots: dict[type, Path], tmp_path: Path) -> None:
    done = convert_dataset(cls, roots[cls], tmp_path / "tidy", "tidy")
    expected, found = samples(cls, roots[cls]), samples(cls, tmp_path / "tidy")
    assert len(expected) == sum(done.images.values()) == COUNTS[cls]
    assert expected.keys() == found.keys()
    for key, (image, masks) in expected.items():
        np.testing.assert_array_equal(found[key][0], image)
        np.testing.assert_array_equal(found[key][1], masks)
    assert done.written == len(tree(tmp_path / "tidy")) - 1 and not done.failed
    manifest = json.loads((tmp_path / "tidy" / MANIFEST).read_text())
    assert len(manifest.pop("sources")) == COUNTS[cls]
    assert manifest == dict(dataset=cls.__name__, to="tidy", images=done.images, complete=True)


def test_the_photograph_is_copied_byte_for_byte(roots: dict[type, Path], tmp_path: Path) -> None:
    convert_dataset(DDRDataset, roots[DDRDataset], tmp_path, "tidy")
    source = roots[DDRDataset] / "train/image/007-0000-0.JPG"
    assert (tmp_path / "images/train/007-0000-0.jpg").read_bytes() == source.read_bytes()


def test_label_maps_give_all_four_masks(tmp_path: Path) -> None:
    write_label_maps(tmp_path / "labels")
    convert_dataset(IDRiDDataset, tmp_path / "labels", tmp_path / "tidy", "tidy")
    expected, found = samples(IDRiDDataset, tmp_path / "labels"), samples(IDRiDDataset, tmp_path / "tidy")
    assert all(np.array_equal(found[key][1], masks) for key, (_, masks) in expected.items())
    assert (tmp_path / "tidy/masks/train/SE/IDRiD_02_SE.png").is_file(), "an empty one, too"


@pytest.mark.parametrize("cls", CLASSES)
def test_mmsegmentation(cls: type[ReleaseDataset], roots: dict[type, Path], tmp_path: Path) -> None:
    convert_dataset(cls, roots[cls], tmp_path, "mmseg")
    for (split, name), (image, masks) in samples(cls, roots[cls]).items():
        folder = "val" if split == "valid" else split
        (photograph,) = (tmp_path / "img_dir" / folder).glob(f"{name}.*")
        assert np.abs(pixels(photograph).transpose(2, 0, 1).astype(int) - image).max() <= 2  # two JPEG decoders
        index = Image.open(tmp_path / "ann_dir" / folder / f"{name}.png")
        assert index.mode == "L"
        np.testing.assert_array_equal(np.asarray(index), flat(masks))
    assert len(list(tmp_path.rglob("*.*"))) == 2 * COUNTS[cls] + 1


@pytest.mark.parametrize("cls", CLASSES)
def test_nnunet(cls: type[ReleaseDataset], roots: dict[type, Path], tmp_path: Path) -> None:
    out = tmp_path / f"Dataset501_{cls.NAME}"
    convert_dataset(cls, roots[cls], out, "nnunet")
    expected = samples(cls, roots[cls])
    for (split, name), (image, masks) in expected.items():
        part = "Ts" if split == "test" else "Tr"
        np.testing.assert_array_equal(pixels(out / f"images{part}/{name}_0000.png"), image.transpose(1, 2, 0))
        np.testing.assert_array_equal(pixels(out / f"labels{part}/{name}.png"), flat(masks))
    about = json.loads((out / "dataset.json").read_text())
    training = [name for split, name in expected if split != "test"]
    assert about["numTraining"] == len(training) == len(list((out / "imagesTr").iterdir()))
    assert about["channel_names"] == {"0": "R", "1": "G", "2": "B"}
    assert about["labels"] == {"background": 0, "MA": 1, "HE": 2, "EX": 3, "SE": 4}
    assert about["file_ending"] == ".png"
    if "valid" in cls.SPLITS:
        (fold,) = json.loads((out / "splits_final.json").read_text())
        assert fold == {"train": [n for s, n in expected if s == "train"], "val": [n for s, n in expected if s == "valid"]}
    else:
        assert not (out / "splits_final.json").exists()


class TestStopped:
    """A run that is stopped anywhere and started again ends as one that was not."""

    @pytest.mark.parametrize("to", ["tidy", "nnunet"])
    def test_and_started_again(
        self, to: str, roots: dict[type, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        whole, out = (tmp_path / part / "Dataset501_IDRiD" for part in "ab")
        convert_dataset(IDRiDDataset, roots[IDRiDDataset], whole, to)
        write_bytes = files._write_bytes
        calls = 0

        def power_cut(path: Path, data: bytes) -> None:
            nonlocal calls
            calls += path.suffix == ".part" and "json" not in path.name
            if calls == 4:
                path.write_bytes(data[: len(data) // 2])
                raise KeyboardInterrupt
            write_bytes(path, data)

        monkeypatch.setattr(files, "_write_bytes", power_cut)
        with pytest.raises(KeyboardInterrupt):
            convert_dataset(IDRiDDataset, roots[IDRiDDataset], out, to, num_threads=1)
        monkeypatch.undo()
        kept = tree(out)
        assert not json.loads(kept.pop(MANIFEST))["complete"]
        assert 3 <= len(kept) < len(tree(whole)) - 1 and kept.items() <= tree(whole).items()
        if to == "tidy":
            there = {Path(name).stem for name in kept if name.startswith("images/")}
            assert all(name in kept for name in tree(whole) if name.startswith("masks/") and Path(name).stem[:-3] in there)
            with pytest.raises(UserError, match=r"its conversion was not completed; run tools/dataset_converters/convert\.py"):
                IDRiDDataset(str(out), "train")
        (out / "labelsTr" if to == "nnunet" else out / "images/train").joinpath(".IDRiD_01.png.part").write_bytes(b"half")
        done = convert_dataset(IDRiDDataset, roots[IDRiDDataset], out, to)
        assert done.kept == len(kept)
        (out / "labelsTr/.IDRiD_01.png.part").unlink(missing_ok=True)
        (out / "images/train/.IDRiD_01.png.part").unlink(missing_ok=True)
        assert tree(out) == tree(whole)

    def test_what_is_finished_is_not_touched(self, roots: dict[type, Path], tmp_path: Path) -> None:
        first = convert_dataset(DDRDataset, roots[DDRDataset], tmp_path, "mmseg")
        times = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.png")}
        again = convert_dataset(DDRDataset, roots[DDRDataset], tmp_path, "mmseg")
        assert (again.written, again.kept, again.images) == (0, first.written, first.images)
        assert times == {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.png")}

    def test_an_image_of_another_copy_is_converted_anew(self, tmp_path: Path) -> None:
        """Else masks of one annotator would stay among those of another."""
        write_idrid(tmp_path / "release")
        convert_dataset(IDRiDDataset, tmp_path / "release", tmp_path / "out", "tidy")
        before = tree(tmp_path / "out")
        mask = next((tmp_path / "release").rglob("IDRiD_01_EX.tif"))
        Image.fromarray(np.full(SHAPE, 255, np.uint8)).save(mask, compression=None)
        again = convert_dataset(IDRiDDataset, tmp_path / "release", tmp_path / "out", "tidy")
        changed = {path for path, content in tree(tmp_path / "out").items() if before.get(path) != content}
        name = "masks/train/EX/IDRiD_01_EX.png"
        assert {str(path) for path in changed} == {name, MANIFEST}
        assert (pixels(tmp_path / "out" / name) == 255).all()
        assert again.written >= 2 and again.kept > again.written  # all files of that image, and no others

    def test_a_file_that_reads_back_differently(
        self, roots: dict[type, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write_bytes = files._write_bytes

        def bad_disk(path: Path, data: bytes) -> None:
            write_bytes(path, data[:-9] + b"123456789" if path.name.startswith(".IDRiD_01.jpg") else data)

        monkeypatch.setattr(files, "_write_bytes", bad_disk)
        with pytest.raises(UserError, match=r"images/train/IDRiD_01.jpg: reads back differently"):
            convert_dataset(IDRiDDataset, roots[IDRiDDataset], tmp_path, "tidy")
        assert not (tmp_path / "images/train/IDRiD_01.jpg").exists()
        assert not list(tmp_path.rglob("*.part"))

    def test_a_full_disk(self, roots: dict[type, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(path: Path, data: bytes) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(files, "_write_bytes", full)
        with pytest.raises(UserError, match=r"cannot be written \(No space left on device\)"):
            convert_dataset(IDRiDDataset, roots[IDRiDDataset], tmp_path / "out", "tidy")


class TestBadInput:
    def test_an_unreadable_image_keeps_no_other_from_being_converted(self, tmp_path: Path) -> None:
        write_ddr(tmp_path / "ddr")
        bad = tmp_path / "ddr/train/label/EX/007-0001-0.tif"
        good = bad.read_bytes()
        bad.write_bytes(good[:40])
        done = convert_dataset(DDRDataset, tmp_path / "ddr", tmp_path / "out", "mmseg")
        assert done.written == 12 and len(done.failed) == 1 and str(bad) in done.failed[0]
        assert not json.loads((tmp_path / "out" / MANIFEST).read_text())["complete"]
        bad.write_bytes(good)
        done = convert_dataset(DDRDataset, tmp_path / "ddr", tmp_path / "out", "mmseg")
        assert (done.written, done.kept, done.failed) == (2, 12, [])

    def test_the_output_folder_is_the_release(self, tmp_path: Path) -> None:
        """A tidy conversion is a release, too, whose files have other sizes than those it was made from."""
        write_idrid(tmp_path / "release")
        convert_dataset(IDRiDDataset, tmp_path / "release", tmp_path / "tidy", "tidy")
        before = tree(tmp_path / "tidy")
        (tmp_path / "second").symlink_to(tmp_path / "tidy")
        for source in (tmp_path / "tidy", tmp_path / "second", tmp_path / "release/../tidy"):
            with pytest.raises(UserError, match=r"tidy: is the release itself; name another folder \(--out\)"):
                convert_dataset(IDRiDDataset, source, tmp_path / "tidy", "tidy")
            assert tree(tmp_path / "tidy") == before

    @pytest.mark.parametrize("linked", ["source", "out"])
    def test_a_file_of_the_release_is_never_removed(self, tmp_path: Path, linked: str) -> None:
        """As where one of the two is made of links to the other."""
        write_idrid(tmp_path / "release")
        convert_dataset(IDRiDDataset, tmp_path / "release", tmp_path / "tidy", "tidy")
        source, out = tmp_path / "source", tmp_path / "out"
        made, original = (source, out) if linked == "source" else (out, source)
        (tmp_path / "tidy").rename(original)
        made.mkdir()
        for folder in ("images", "masks"):
            (made / folder).symlink_to(original / folder)
        if linked == "out":
            shutil.copy(source / MANIFEST, out)
        before = {name: content for name, content in tree(original).items() if name != MANIFEST}
        done = convert_dataset(IDRiDDataset, source, out, "tidy")
        assert {name: content for name, content in tree(original).items() if name != MANIFEST} == before
        assert (done.written, done.kept) == (0, len(before))

    def test_images_that_were_taken_out_since(self, tmp_path: Path) -> None:
        """A drawn split changes with them: an image would stand in two splits."""
        write_fgadr(tmp_path / "data")
        convert_dataset(FGADRDataset, tmp_path / "data", tmp_path / "out", "mmseg")
        for path in (tmp_path / "data").rglob("0003_1.png"):
            path.unlink()
        with pytest.raises(UserError, match=r"got \d+ files that belong to no image of this release and split .*remove them"):
            convert_dataset(FGADRDataset, tmp_path / "data", tmp_path / "out", "mmseg")

    def test_what_a_desktop_leaves_in_folders_is_no_stranger(self, roots: dict[type, Path], tmp_path: Path) -> None:
        (tmp_path / ".DS_Store").touch()
        first = convert_dataset(IDRiDDataset, roots[IDRiDDataset], tmp_path, "tidy")
        manifest = (tmp_path / MANIFEST).read_bytes()
        (tmp_path / "images/train/Thumbs.db").touch()
        again = convert_dataset(IDRiDDataset, roots[IDRiDDataset], tmp_path, "tidy")
        assert (again.written, again.kept) == (0, first.written)
        (tmp_path / "images/train/own.jpg").touch()
        with pytest.raises(UserError, match="got 1 files that belong to no image"):
            convert_dataset(IDRiDDataset, roots[IDRiDDataset], tmp_path, "tidy")
        assert (tmp_path / MANIFEST).read_bytes() == manifest, "still that of a complete conversion"

    def test_an_output_folder_of_something_else(self, roots: dict[type, Path], tmp_path: Path) -> None:
        (tmp_path / "own.txt").touch()
        with pytest.raises(UserError, match="holds something else"):
            convert_dataset(DDRDataset, roots[DDRDataset], tmp_path, "tidy")
        convert_dataset(DDRDataset, roots[DDRDataset], tmp_path / "out", "tidy")
        before = tree(tmp_path / "out")
        for cls, to in ((DDRDataset, "mmseg"), (IDRiDDataset, "tidy")):
            with pytest.raises(UserError, match=r"holds the conversion .*name another folder"):
                convert_dataset(cls, roots[cls], tmp_path / "out", to)
        (tmp_path / "out" / MANIFEST).write_text("{")
        with pytest.raises(UserError, match=r"conversion\.json: cannot be read"):
            convert_dataset(DDRDataset, roots[DDRDataset], tmp_path / "out", "tidy")
        assert tree(tmp_path / "out").keys() == before.keys()

    def test_names_and_formats_that_the_other_toolkit_does_not_take(self, roots: dict[type, Path], tmp_path: Path) -> None:
        with pytest.raises(UserError, match=r"got 'nnunet', expected a name that nnU-Net knows, such as .*Dataset501_IDRiD"):
            convert_dataset(IDRiDDataset, roots[IDRiDDataset], tmp_path / "nnunet", "nnunet")
        mixed = tmp_path / "mixed"
        write_ddr(mixed)
        path = mixed / "test/image/007-0000-200.jpg"
        Image.open(path).save(path.with_suffix(".png"))
        path.unlink()
        with pytest.raises(UserError, match=r"got \.jpg, \.png, expected images of one kind"):
            convert_dataset(DDRDataset, mixed, tmp_path / "mmseg", "mmseg")
        assert not (tmp_path / "nnunet").exists() and not (tmp_path / "mmseg").exists()

    def test_one_name_in_two_splits(self, tmp_path: Path) -> None:
        pictures = write_ddr(tmp_path / "ddr")
        made = Picture("007-0000-0", "valid", pictures[0].image, pictures[0].masks)
        write(made.image, tmp_path / "ddr/valid/image/007-0000-0.jpg")
        for lesion, mask in made.masks.items():
            write(mask, tmp_path / f"ddr/valid/segmentation label/{lesion}/007-0000-0.tif")
        with pytest.raises(UserError, match="another split has an image of this name, and nnunet one folder for both"):
            convert_dataset(DDRDataset, tmp_path / "ddr", tmp_path / "Dataset001_DDR", "nnunet")
        convert_dataset(DDRDataset, tmp_path / "ddr", tmp_path / "tidy", "tidy")


class TestArchives:
    @pytest.fixture
    def archive(self, roots: dict[type, Path], tmp_path: Path) -> Path:
        """DDR's ZIP, with a folder around it."""
        return Path(shutil.make_archive(str(tmp_path / "DDR"), "zip", roots[DDRDataset].parent, "DDR"))

    def test_is_read_as_its_folder(self, archive: Path, roots: dict[type, Path], tmp_path: Path) -> None:
        convert_dataset(DDRDataset, archive, tmp_path / "a", "tidy")
        convert_dataset(DDRDataset, roots[DDRDataset], tmp_path / "b", "tidy")
        assert tree(tmp_path / "a") == tree(tmp_path / "b"), "other files, or what was unpacked is still there"

    def test_is_unpacked_once(self, archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        calls = []

        def count(source: Path, folder: Path) -> None:
            calls.append(source)
            from mmseg.utils.archives import extract_zip

            extract_zip(source, folder)

        monkeypatch.setattr("mmseg.datasets.converters.source.extract_zip", count)
        monkeypatch.setattr("mmseg.datasets.converters.convert.write_output", lambda *_: 1 / 0)
        (tmp_path / f"out/.unpacked/{archive.name}-{archive.stat().st_size}.part/DDR").mkdir(parents=True)  # of a killed run
        for _ in range(2):
            with pytest.raises(ZeroDivisionError):
                convert_dataset(DDRDataset, archive, tmp_path / "out", "tidy")
        assert len(calls) == 1

    def test_with_a_path_out_of_its_folder(self, archive: Path, tmp_path: Path) -> None:
        with zipfile.ZipFile(archive, "a") as opened:
            opened.writestr("../../evil.txt", "x")
        with pytest.raises(UserError, match=r"refused, its member '../../evil.txt'"):
            convert_dataset(DDRDataset, archive, tmp_path / "out", "tidy")
        assert not list(tmp_path.rglob("evil.txt")) and not tree(tmp_path / "out")

    def test_parts_and_other_files(self, tmp_path: Path) -> None:
        for name, message in (
            ("DDR-dataset.zip.001", r"join its parts first: cat .*DDR-dataset.zip.\* > .*DDR-dataset.zip$"),
            ("ddr.rar", r"got a file of type .rar, expected a folder or a .zip archive$"),
        ):
            (tmp_path / name).touch()
            with pytest.raises(UserError, match=message):
                convert_dataset(DDRDataset, tmp_path / name, tmp_path / "out", "tidy")
        with pytest.raises(UserError, match="none: no such folder or archive"):
            convert_dataset(DDRDataset, tmp_path / "none", tmp_path / "out", "tidy")


@pytest.mark.idrid
@pytest.mark.slow
def test_two_real_photographs(idrid_root: Path, tmp_path: Path) -> None:
    for split, name in (("train", "IDRiD_02"), ("test", "IDRiD_81")):
        for path in [*(idrid_root / "images" / split).glob(f"{name}.jpg"), *(idrid_root / "masks" / split).glob(f"*/{name}_*")]:
            copy = tmp_path / "idrid" / path.relative_to(idrid_root)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, copy)
    convert_dataset(IDRiDDataset, tmp_path / "idrid", tmp_path / "Dataset501_IDRiD", "nnunet")
    for (split, name), (image, masks) in samples(IDRiDDataset, tmp_path / "idrid").items():
        part, out = "Ts" if split == "test" else "Tr", tmp_path / "Dataset501_IDRiD"
        np.testing.assert_array_equal(pixels(out / f"images{part}/{name}_0000.png"), image.transpose(1, 2, 0))
        np.testing.assert_array_equal(pixels(out / f"labels{part}/{name}.png"), flat(masks))


@pytest.mark.slow
def test_nnunet_itself_accepts_it(roots: dict[type, Path], tmp_path: Path) -> None:
    """``NNUNET_PYTHON`` names the Python of an environment that has nnunetv2: it checks the files, measures and plans."""
    python = os.environ.get("NNUNET_PYTHON")
    if not python:
        pytest.skip("NNUNET_PYTHON is not set: nnU-Net is not at hand")
    convert_dataset(DDRDataset, roots[DDRDataset], tmp_path / "raw/Dataset502_DDR", "nnunet")
    code = "from nnunetv2.experiment_planning.plan_and_preprocess_entrypoints import plan_and_preprocess_entry as run; run()"
    done = subprocess.run(
        [python, "-c", code, "-d", "502", "--verify_dataset_integrity", "--no_pp", "-npfp", "1"],
        capture_output=True, text=True, timeout=600, cwd=tmp_path, env={
            **os.environ, "nnUNet_raw": str(tmp_path / "raw"), "nnUNet_preprocessed": str(tmp_path / "done"),
            "nnUNet_results": str(tmp_path / "results"),
        })
    assert done.returncode == 0, done.stdout + done.stderr
    assert "verify_dataset_integrity Done" in done.stdout and "Error" not in done.stdout
    folder = tmp_path / "done/Dataset502_DDR"
    fingerprint = json.loads((folder / "dataset_fingerprint.json").read_text())
    assert len(fingerprint["spacings"]) == 5, "training and validation images"
    assert set(fingerprint["foreground_intensity_properties_per_channel"]) == {"0", "1", "2"}
    assert (folder / "nnUNetPlans.json").is_file()
    assert json.loads((folder / "splits_final.json").read_text()) == json.loads(
        (tmp_path / "raw/Dataset502_DDR/splits_final.json").read_text())
