"""DDR and FGADR as they are unzipped, in the tidy layout, and in copies that are not whole; folds of any of them."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from releases import Picture, write, write_ddr, write_ddr_mirror, write_fgadr, write_idrid

from mmseg.datasets import DDRDataset, FGADRDataset, IDRiDDataset, ReleaseDataset
from mmseg.datasets.splits import draw_splits, read_splits, write_splits
from mmseg.structures import LESIONS
from mmseg.utils.errors import UserError


def warnings(logged: list[logging.LogRecord]) -> list[str]:
    return [record.getMessage() for record in logged if record.levelno >= logging.WARNING]


def names(dataset: ReleaseDataset) -> list[str]:
    return [dataset.get_data_info(i)["image_id"] for i in range(len(dataset))]


def check_items(dataset: ReleaseDataset, pictures: list[Picture]) -> None:
    """Every picture, in the order of names, with its own masks at its own size."""
    expected = sorted(pictures, key=lambda made: made.name)
    assert names(dataset) == [made.name for made in expected]
    for i, made in enumerate(expected):
        item = dataset[i]
        assert item["data_samples"].ori_shape == made.image.shape[:2]
        np.testing.assert_array_equal(item["data_samples"].gt_sem_seg.data.numpy(), made.truth)


def write_tidy_of(root: Path, pictures: list[Picture]) -> None:
    for made in pictures:
        write(made.image, root / "images" / made.split / f"{made.name}.png")
        for lesion, mask in made.masks.items():
            write(mask * np.uint8(255), root / "masks" / made.split / lesion / f"{made.name}_{lesion}.png")


class TestDDR:
    @pytest.mark.parametrize("above", ["", "lesion_segmentation", "DDR-dataset/lesion_segmentation"])
    def test_as_unzipped(self, above: str, tmp_path: Path, logged: list[logging.LogRecord]) -> None:
        """``data_root`` names the folder itself or one above it; each split has its own masks, four an image."""
        pictures = write_ddr(tmp_path / above)
        for split in DDRDataset.SPLITS:
            check_items(DDRDataset(str(tmp_path), split), [made for made in pictures if made.split == split])
        assert [f"DDR ({split})" in text for split, text in zip(DDRDataset.SPLITS, warnings(logged), strict=True)] == [True] * 3
        assert f"got 2 images in {tmp_path}, the release has 149" in warnings(logged)[1]

    @pytest.mark.parametrize("above", ["", "DDR-dataset/lesion_segmentation"])
    def test_the_copy_on_hugging_face(self, above: str, tmp_path: Path) -> None:
        pictures = write_ddr_mirror(tmp_path / above)
        for split in DDRDataset.SPLITS:
            check_items(DDRDataset(str(tmp_path), split), [made for made in pictures if made.split == split])
        (tmp_path / above / "annotations/tet/MA/007-0001-200.tif").unlink()
        with pytest.raises(UserError, match=r"got 7 masks, expected 8.*missing are 007-0001-200 MA"):
            DDRDataset(str(tmp_path), "test")

    def test_tidy(self, tmp_path: Path) -> None:
        pictures = write_ddr(tmp_path / "release")
        write_tidy_of(tmp_path / "tidy", pictures)
        check_items(DDRDataset(str(tmp_path / "tidy"), "valid"), [made for made in pictures if made.split == "valid"])

    def test_the_whole_release_is_no_warning(self, tmp_path: Path, logged: list[logging.LogRecord]) -> None:
        for number in range(149):
            write(np.zeros((2, 2, 3), np.uint8), tmp_path / f"valid/image/{number}.jpg")
            for lesion in LESIONS:
                write(np.zeros((2, 2), np.uint8), tmp_path / f"valid/segmentation label/{lesion}/{number}.tif")
        assert len(DDRDataset(str(tmp_path), "valid")) == 149
        assert warnings(logged) == []

    def test_photographs_that_were_not_copied(self, tmp_path: Path, logged: list[logging.LogRecord]) -> None:
        """Counts got and expected, and the masks that are left over."""
        write_ddr(tmp_path)
        (tmp_path / "test/image/007-0001-200.jpg").unlink()
        assert names(DDRDataset(str(tmp_path), "test")) == ["007-0000-200"]
        (text,) = warnings(logged)
        assert "got 1 images" in text and "the release has 225" in text
        assert "4 masks belong to no image" in text and "007-0001-200.tif" in text

    def test_masks_that_were_not_copied(self, tmp_path: Path) -> None:
        """A photograph without one of its masks is no healthy photograph."""
        write_ddr(tmp_path)
        (tmp_path / "valid/segmentation label/SE/007-0001-100.tif").unlink()
        with pytest.raises(UserError, match=r"valid: got 7 masks, expected 8: .* 2 images; missing are 007-0001-100 SE; copy"):
            DDRDataset(str(tmp_path), "valid")
        shutil.rmtree(tmp_path / "train/label/HE")
        with pytest.raises(UserError, match="no folder with the masks of HE, expected 'train/label/HE' or 'train/seg"):
            DDRDataset(str(tmp_path), "train")

    def test_two_files_of_one_name(self, tmp_path: Path) -> None:
        write_ddr(tmp_path)
        shutil.copy(tmp_path / "train/image/007-0000-0.JPG", tmp_path / "train/image/007-0000-0.png")
        with pytest.raises(UserError, match=r"got both 007-0000-0\.JPG and 007-0000-0\.png, expected one"):
            DDRDataset(str(tmp_path), "train")

    def test_two_copies(self, tmp_path: Path) -> None:
        for copy in ("a", "b"):
            write_ddr(tmp_path / copy)
        with pytest.raises(UserError, match="got 2 folders 'train/image'"):
            DDRDataset(str(tmp_path), "train")
        assert len(DDRDataset(str(tmp_path / "b"), "train")) == 3

    def test_nothing_there(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match=r"DDR .train.*'lesion_segmentation/' of the official release.*DDR_ROOT"):
            DDRDataset(str(tmp_path), "train")
        with pytest.raises(UserError, match="split='val', expected 'train' or 'valid' or 'test'; did you mean 'valid'"):
            DDRDataset(str(tmp_path), "val")

    def test_sizes_stay_apart_in_a_box(self, tmp_path: Path) -> None:
        write_ddr(tmp_path)
        dataset = DDRDataset(str(tmp_path), "train", size=(30, 30))
        assert [tuple(dataset[i]["inputs"].shape) for i in range(3)] == [(3, 20, 30), (3, 30, 30), (3, 20, 30)]


class TestFGADR:
    @pytest.mark.parametrize("above", ["", "Seg-set", "FGADR-Seg-set_Release/Seg-set"])
    def test_as_unzipped(self, above: str, tmp_path: Path, logged: list[logging.LogRecord]) -> None:
        """The splits are the whole, once; soft edges count from 128; IRMA and NV are not read."""
        pictures = write_fgadr(tmp_path / above)
        by_name = {made.name: made for made in pictures}
        found: list[str] = []
        for split, count in dict(train=12, valid=2, test=6).items():
            dataset = FGADRDataset(str(tmp_path), split)
            assert len(dataset) == count
            check_items(dataset, [by_name[name] for name in names(dataset)])
            found += names(dataset)
        assert sorted(found) == sorted(by_name)
        assert warnings(logged) == [
            f"FGADR ({split}): got 20 images in {tmp_path}, the release has 1842" for split in FGADRDataset.SPLITS
        ]

    def test_the_log_tells_the_split(self, tmp_path: Path, logged: list[logging.LogRecord]) -> None:
        pictures = write_fgadr(tmp_path / "data")
        FGADRDataset(str(tmp_path / "data"), "train", split_seed=3)
        assert "drawn from the image names with split_seed=3: 12 train, 2 valid, 6 test; by image" in logged[-1].getMessage()
        write_splits(tmp_path / "splits", draw_splits([made.name for made in pictures], 5), "for a test")
        FGADRDataset(str(tmp_path / "data"), "train", split_dir=str(tmp_path / "splits"))
        assert f"split read from {tmp_path / 'splits'}: 12 train, 2 valid, 6 test" in logged[-1].getMessage()

    def test_a_split_of_ones_own(self, tmp_path: Path, logged: list[logging.LogRecord]) -> None:
        pictures = write_fgadr(tmp_path)
        own = {"train": ["0003_1", "0001_2"], "valid": ["0002_3"], "test": ["0000_1", "0999_1"]}
        write_splits(tmp_path / "splits", own, "by hand")
        train, test = (FGADRDataset(str(tmp_path), split, split_dir=str(tmp_path / "splits")) for split in ("train", "test"))
        check_items(train, [pictures[1], pictures[3]])
        assert names(test) == ["0000_1"]
        assert "got 1 of 2 listed images; 0999_1 not in" in warnings(logged)[-1]

    def test_tidy_folders_are_the_split(self, tmp_path: Path, logged: list[logging.LogRecord]) -> None:
        pictures = [Picture(m.name, ("train", "valid", "test")[i % 3], m.image, m.masks)
                    for i, m in enumerate(write_fgadr(tmp_path / "release"))]
        write_tidy_of(tmp_path / "tidy", pictures)
        for split in FGADRDataset.SPLITS:
            check_items(FGADRDataset(str(tmp_path / "tidy"), split), [made for made in pictures if made.split == split])
        assert logged[-1].getMessage() == f"FGADR (test): split by the folders of {tmp_path / 'tidy'}: 6 test"
        with pytest.raises(UserError, match=r"got split_dir='x' for .*tidy, whose folders are a split already"):
            FGADRDataset(str(tmp_path / "tidy"), "test", split_dir="x")

    def test_a_missing_folder_of_masks(self, tmp_path: Path) -> None:
        write_fgadr(tmp_path)
        (tmp_path / "SoftExudate_Masks").rename(tmp_path / "SoftExudates_Masks")
        assert len(FGADRDataset(str(tmp_path), "train")) == 12
        shutil.rmtree(tmp_path / "SoftExudates_Masks")
        with pytest.raises(UserError, match="the masks of SE, expected 'SoftExudate_Masks' or 'SoftExudates_Masks'"):
            FGADRDataset(str(tmp_path), "train")


class TestSplits:
    NAMES = [f"{number:04d}_{1 + number % 3}" for number in range(1842)]

    def test_the_field_s_counts_and_a_frozen_order(self) -> None:
        splits = draw_splits(self.NAMES, 0)
        assert {split: len(found) for split, found in splits.items()} == dict(train=1096, valid=193, test=553)
        assert sorted(name for found in splits.values() for name in found) == self.NAMES
        assert splits == draw_splits(reversed(self.NAMES), 0)
        assert splits["valid"][:3] == ["0004_2", "0010_2", "0011_3"], "a published split must never change"
        other = draw_splits(self.NAMES, 1)
        assert 0.2 < len(set(other["test"]) & set(splits["test"])) / 553 < 0.4, "another seed, another split"

    def test_a_copy_without_some_images_keeps_the_others_where_they_are(self) -> None:
        whole, part = draw_splits(self.NAMES, 0), draw_splits(self.NAMES[:-40], 0)
        owner = {name: split for split, found in whole.items() for name in found}
        moved = [name for split, found in part.items() for name in found if owner[name] != split]
        assert len(moved) < 30

    def test_written_and_read_back(self, tmp_path: Path) -> None:
        splits = draw_splits(self.NAMES, 0)
        paths = write_splits(tmp_path / "new", splits, "seed 0")
        assert sorted(path.name for path in paths) == ["test.txt", "train.txt", "valid.txt"]
        assert (tmp_path / "new/valid.txt").read_text().startswith("# valid, 193 images: seed 0\n0")
        assert read_splits(tmp_path / "new", ("train", "valid", "test")) == splits
        write_splits(tmp_path / "new", splits, "seed 0")  # the same again is no harm
        with pytest.raises(UserError, match=r"(train|valid|test)\.txt: holds another split already"):
            write_splits(tmp_path / "new", draw_splits(self.NAMES, 1), "seed 1")
        assert read_splits(tmp_path / "new", ("train", "valid", "test")) == splits

    @pytest.mark.parametrize(("name", "text", "message"), [
        ("test", "a\n", r"a is listed twice \(also in train.txt\)"),
        ("valid", "b\n\nb\n", r"b is listed twice \(also in valid.txt\)"),
        ("test", "# only a remark\n", "lists no image"), ("valid", None, "cannot be read"),
    ])
    def test_faulty_files(self, name: str, text: str | None, message: str, tmp_path: Path) -> None:
        write_splits(tmp_path, {"train": ["a"], "valid": ["b"], "test": ["c"]}, "")
        path = tmp_path / f"{name}.txt"
        path.unlink() if text is None else path.write_text(text)
        with pytest.raises(UserError, match=rf"{name}\.txt: .*{message}"):
            read_splits(tmp_path, ("train", "valid", "test"))


class TestFolds:
    @pytest.mark.parametrize(("cls", "fill", "split"), [
        (IDRiDDataset, write_idrid, "train"), (DDRDataset, write_ddr, "train"), (FGADRDataset, write_fgadr, "train"),
    ])
    def test_every_image_is_held_out_once(self, cls: Any, fill: Any, split: str, tmp_path: Path) -> None:
        fill(tmp_path)
        whole = names(cls(str(tmp_path), split))
        held_out: list[str] = []
        for fold in range(3):
            inside = names(cls(str(tmp_path), split, fold=fold, num_folds=3, held_out=True))
            outside = names(cls(str(tmp_path), split, fold=fold, num_folds=3))
            assert sorted(inside + outside) == whole and inside == sorted(inside) and outside == sorted(outside)
            held_out += inside
        assert sorted(held_out) == whole

    def test_folds_are_frozen(self, tmp_path: Path) -> None:
        """The same images in every version: runs on IDRiD_cv are compared across years."""
        write_fgadr(tmp_path)
        folds = [names(FGADRDataset(str(tmp_path), "test", fold=0, num_folds=3, held_out=True, fold_seed=s)) for s in (0, 1)]
        order = np.random.RandomState(0).permutation(6)[::3]
        whole = names(FGADRDataset(str(tmp_path), "test"))
        assert folds[0] == sorted(whole[i] for i in order) != folds[1]

    @pytest.mark.parametrize("fold", [-1, 5])
    def test_a_fold_that_does_not_exist(self, fold: int, tmp_path: Path) -> None:
        with pytest.raises(UserError, match=rf"DDRDataset: got fold={fold}, expected 0 to 4 \(num_folds=5\) or None"):
            DDRDataset(str(tmp_path), "train", fold=fold)
