"""One set of photographs in each of the layouts that users have, and in none."""

from __future__ import annotations

import dataclasses
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image
from releases import COUNTS, SHAPE, name, picture, write, write_idrid, write_label_maps, write_tidy

from mmseg.datasets import DDRDataset, IDRiDDataset, LesionDataset, ResidentDataset, SyntheticFundusDataset
from mmseg.datasets.layouts import Layout, find_records
from mmseg.datasets.reading import read_mask
from mmseg.registry import DATASETS
from mmseg.structures import LESIONS
from mmseg.utils.errors import UserError


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One root for every way to name the same set; read only."""
    folder = tmp_path_factory.mktemp("layouts")
    write_idrid(folder / "official" / "A. Segmentation")
    write_tidy(folder / "tidy")
    write_label_maps(folder / "labels")
    write_label_maps(folder / "m2mrf", images="image/{split}", labels="label/{split}/annotations")
    return {
        "official": folder / "official" / "A. Segmentation", "official's parent": folder / "official",
        "tidy": folder / "tidy", "label maps": folder / "labels", "M2MRF's label maps": folder / "m2mrf",
    }


LAYOUTS = ["official", "official's parent", "tidy", "label maps", "M2MRF's label maps"]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("split", COUNTS)
def test_every_layout_gives_the_same_masks(layout: str, split: str, roots: dict[str, Path]) -> None:
    dataset = IDRiDDataset(str(roots[layout]), split)
    assert len(dataset) == COUNTS[split]
    for number in range(COUNTS[split]):
        image, masks = picture(split, number)
        item = dataset[number]
        sample = item["data_samples"]
        assert sample.image_id == name(split, number)
        assert Path(sample.img_path).name == f"{name(split, number)}.jpg"
        assert sample.ori_shape == sample.img_shape == SHAPE
        assert sample.sample_idx == number
        assert item["inputs"].shape == (3, *SHAPE)
        expected = np.stack([masks.get(lesion, np.zeros(SHAPE)) for lesion in LESIONS])
        np.testing.assert_array_equal(sample.gt_sem_seg.data.numpy(), expected)
        stored = np.asarray(Image.open(sample.img_path).convert("RGB"), int)
        assert np.abs(item["inputs"].permute(1, 2, 0).numpy() - stored).mean() < 3, "not the picture, or not RGB"
        assert image.shape == stored.shape


def test_the_data_set_is_registered_and_says_what_its_classes_are(roots: dict[str, Path]) -> None:
    dataset = DATASETS.build(dict(type="IDRiDDataset", data_root=str(roots["tidy"]), split="test", indices=1))
    assert dataset.metainfo["classes"] == LESIONS
    assert len(dataset.metainfo["palette"]) == len(LESIONS)
    assert len(dataset) == 1
    assert issubclass(IDRiDDataset, LesionDataset)


@pytest.mark.parametrize(("test_mode", "truth"), [(False, (20, 30)), (True, SHAPE)])
def test_the_masks_of_a_test_keep_the_photographs_size(test_mode: bool, truth: tuple[int, int], roots: dict[str, Path]) -> None:
    item = IDRiDDataset(str(roots["tidy"]), "test", size=(30, 25), test_mode=test_mode)[0]
    sample = item["data_samples"]
    assert item["inputs"].shape == (3, 20, 30)
    assert sample.gt_sem_seg.data.shape == (4, *truth)
    assert (sample.img_shape, sample.ori_shape) == ((20, 30), SHAPE)


def test_a_count_that_differs_from_the_release_is_a_warning(roots: dict[str, Path], logged: list[logging.LogRecord]) -> None:
    IDRiDDataset(str(roots["tidy"]), "test")
    (record,) = [r for r in logged if r.levelno == logging.WARNING]
    assert all(word in record.getMessage() for word in ("test", "got 2 images", "27", str(roots["tidy"])))


def test_the_release_itself_is_no_warning(tmp_path: Path, logged: list[logging.LogRecord]) -> None:
    for number in range(27):
        write(np.zeros((2, 2, 3), np.uint8), tmp_path / "images/test" / f"{number}.jpg")
        write(np.zeros((2, 2), np.uint8), tmp_path / "masks/test/MA" / f"{number}_MA.png")
    assert len(IDRiDDataset(str(tmp_path), "test")) == 27
    assert not [r for r in logged if r.levelno >= logging.WARNING]


# What is not there


def images_only(root: Path) -> None:
    write(picture("train", 0)[0], root / "images/train/IDRiD_01.jpg")


def empty_mask_folders(root: Path) -> None:
    images_only(root)
    for lesion in LESIONS:
        (root / "masks/train" / lesion).mkdir(parents=True)


def masks_of_another_name(root: Path) -> None:
    images_only(root)
    write(np.ones(SHAPE, np.uint8), root / "masks/train/MA/IDRiD_01.png")


def official_without_truths(root: Path) -> None:
    write_idrid(root)
    for path in root.rglob("*.tif"):
        path.unlink()


def masks_only(root: Path) -> None:
    write(np.ones(SHAPE, np.uint8), root / "masks/train/MA/IDRiD_01_MA.png")


def nothing(root: Path) -> None:
    root.rmdir()


@pytest.mark.parametrize(
    "fill", [images_only, empty_mask_folders, masks_of_another_name, official_without_truths, masks_only, nothing],
    ids=lambda f: f.__name__,
)
def test_photographs_without_truth_are_an_error_not_a_healthy_set(fill: Callable[[Path], None], tmp_path: Path) -> None:
    fill(tmp_path)
    with pytest.raises(UserError) as caught:
        IDRiDDataset(str(tmp_path), "train")
    message = str(caught.value)
    assert all(words in message for words in (str(tmp_path), "A. Segmentation", "images/ and masks/", "IDRID_ROOT"))
    assert ("no such folder" in message) == (fill is nothing)
    assert ("1 masks belong to no image" in message) == (fill is masks_of_another_name)


def test_a_layout_of_ones_own_may_lack_a_lesion(tmp_path: Path) -> None:
    """As where no test photograph of a clinic has soft exudates; of the three releases a part would be missing."""
    own = Layout(images="photos/{split}", masks={lesion: (f"truth/{{split}}/{lesion}",) for lesion in LESIONS},
                 mask_stem="{image}_{lesion}", depth=0)
    write(np.zeros((*SHAPE, 3), np.uint8), tmp_path / "photos/test/a.png")
    write(np.ones(SHAPE, np.uint8), tmp_path / "truth/test/MA/a_MA.png")
    ((record,), strangers) = find_records(tmp_path, "test", own)
    assert strangers == [] and [lesion for lesion, path in record["mask_paths"].items() if path] == ["MA"]
    with pytest.raises(UserError, match="copy the whole release"):
        find_records(tmp_path, "test", dataclasses.replace(own, whole=True))


def test_a_synthetic_set_that_was_not_made(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="make_synthetic_dataset"):
        SyntheticFundusDataset(str(tmp_path), "train")


@pytest.mark.parametrize("split", ["training", "val", ""])
def test_a_split_that_does_not_exist(split: str, roots: dict[str, Path]) -> None:
    with pytest.raises(UserError, match=rf"IDRiDDataset: got split='{split}', expected 'train' or 'test'"):
        IDRiDDataset(str(roots["tidy"]), split)


@pytest.mark.parametrize(("write_set", "file"), [
    (write_tidy, "masks/train/HE/IDRiD_01_HE.png"), (write_label_maps, "labels/train/IDRiD_01.png"),
])
def test_a_mask_of_another_size_is_refused(write_set: Callable[[Path], None], file: str, tmp_path: Path) -> None:
    write_set(tmp_path)
    write(np.zeros((SHAPE[1], SHAPE[0]), np.uint8), tmp_path / file)
    with pytest.raises(UserError) as caught:
        IDRiDDataset(str(tmp_path), "train", size=(30, 20))[0]
    message = str(caught.value)
    assert all(words in message for words in (file, "got a mask of 40x60", "expected 60x40", "IDRiD_01.jpg"))


def test_hrdecoders_name_of_the_validation_split(tmp_path: Path) -> None:
    write_label_maps(tmp_path)
    for folder in ("images", "labels"):
        (tmp_path / folder / "test").rename(tmp_path / folder / "val")
    assert len(DDRDataset(str(tmp_path), "valid")) == COUNTS["test"]


def test_copies_among_the_photographs_are_refused(tmp_path: Path) -> None:
    """As M2MRF's augment.py leaves them; ``IDRiD_180`` alone is a photograph of that name."""
    write_label_maps(tmp_path)
    for folder, suffix in (("images", "jpg"), ("labels", "png")):
        first = tmp_path / folder / f"train/IDRiD_01.{suffix}"
        shutil.copy(first, first.with_stem("IDRiD_180"))
    assert len(IDRiDDataset(str(tmp_path), "train")) == COUNTS["train"] + 1
    for folder, suffix in (("images", "jpg"), ("labels", "png")):
        first = tmp_path / folder / f"train/IDRiD_01.{suffix}"
        shutil.copy(first, first.with_stem("IDRiD_01_90"))
    with pytest.raises(UserError, match=r"got 1 turned or mirrored copies of its images \(IDRiD_01_90, .*_vertical$"):
        IDRiDDataset(str(tmp_path), "train")


def test_other_names_but_not_another_number_of_lesions(tmp_path: Path) -> None:
    write_tidy(tmp_path)
    renamed = IDRiDDataset(str(tmp_path), "train", metainfo=dict(classes=("a", "b", "c", "d")))
    assert renamed.metainfo["classes"] == ("a", "b", "c", "d")
    with pytest.raises(UserError, match=r"got metainfo.classes=\['MA', 'EX'\], expected 4 names, .* BaseSegDataset"):
        IDRiDDataset(str(tmp_path), "train", metainfo=dict(classes=("MA", "EX")))
    with pytest.raises(UserError, match=r"ResidentDataset: got size=\(30, 20\) with a data set that is built"):
        ResidentDataset(renamed, size=(30, 20))


def test_names_of_lesions_in_another_order(tmp_path: Path) -> None:
    """They would only rename the channels."""

    class Clinic(IDRiDDataset):
        METAINFO = dict(classes=("EX", "NV", "IRMA", "VB"))

    write_tidy(tmp_path)
    for classes in (("EX", "HE", "SE", "MA"), ["MA", "MA", "EX", "SE"], ("x", "MA", "y", "z")):
        with pytest.raises(UserError, match=r"IDRiDDataset: got metainfo\.classes=.*, expected .* in the order MA, HE, EX, SE"):
            IDRiDDataset(str(tmp_path), metainfo=dict(classes=classes))
    for classes in (LESIONS, ("Microaneurysm", "HE", "EX", "SE")):
        assert IDRiDDataset(str(tmp_path), metainfo=dict(classes=classes)).metainfo["classes"] == classes
    assert Clinic(str(tmp_path), metainfo=dict(classes=("EX", "MA", "HE", "SE"))).metainfo["classes"][1] == "MA"
    assert list(Clinic(str(tmp_path)).metainfo["classes"]) == ["EX", "NV", "IRMA", "VB"]
    with pytest.raises(UserError, match="in the order EX, NV, IRMA, VB"):
        Clinic(str(tmp_path), metainfo=dict(classes=("NV", "EX", "IRMA", "VB")))


def test_records_may_hold_paths(tmp_path: Path) -> None:
    class Clinic(IDRiDDataset):
        def load_data_list(self) -> list[dict]:
            return [
                dict(record, img_path=Path(record["img_path"]), **(
                    dict(label_path=Path(record["label_path"])) if "label_path" in record else
                    dict(mask_paths={lesion: path and Path(path) for lesion, path in record["mask_paths"].items()})))
                for record in super().load_data_list()
            ]

    for write_set in (write_tidy, write_label_maps):
        write_set(root := tmp_path / write_set.__name__)
        given, plain = Clinic(str(root)), IDRiDDataset(str(root))
        assert [given.get_data_info(i) for i in range(3)] == [plain.get_data_info(i) for i in range(3)]
        on_disk = ResidentDataset(given, cache="disk", cache_dir=str(tmp_path / "cache"))
        assert on_disk[1]["data_samples"].img_path == plain.get_data_info(1)["img_path"]


def test_a_fold_holds_an_image(tmp_path: Path) -> None:
    write_tidy(tmp_path)
    with pytest.raises(UserError, match=r"got num_folds=9 for \d images of split='train', expected no more folds than images"):
        IDRiDDataset(str(tmp_path), "train", fold=8, held_out=True, num_folds=9)


def test_tested_photographs_are_told_apart_by_their_names() -> None:
    class Clinic(LesionDataset):
        def load_data_list(self) -> list[dict]:
            return [dict(img_path=f"/{patient}/left.{suffix}", image_id=patient, mask_paths={})
                    for patient, suffix in (("1", "jpg"), ("2", "png"))]

    assert len(Clinic()) == 2
    with pytest.raises(UserError, match=r"Clinic: got /1/left\.jpg and /2/left\.png, expected photographs of different names"):
        Clinic(test_mode=True)


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    write_tidy(tmp_path)
    (tmp_path / "masks/train/EX/IDRiD_02_EX.png").write_bytes(b"")
    dataset = IDRiDDataset(str(tmp_path), "train")
    assert dataset[0] is not None
    with pytest.raises(UserError, match=r"IDRiD_02_EX\.png"):
        dataset[1]


# The real images


@pytest.mark.idrid
@pytest.mark.parametrize(("split", "count", "with_exudates"), [("train", 54, 26), ("test", 27, 14)])
def test_idrids_counts(split: str, count: int, with_exudates: int, idrid_root: Path) -> None:
    dataset = IDRiDDataset(str(idrid_root), split)
    records = [dataset.get_data_info(i) for i in range(len(dataset))]
    assert len(records) == count
    found = {lesion: [r["image_id"] for r in records if r["mask_paths"][lesion]] for lesion in LESIONS}
    assert len(found["SE"]) == with_exudates
    assert len(found["MA"]) == len(found["EX"]) == count
    assert [r["image_id"] for r in records if r["image_id"] not in found["HE"]] == (["IDRiD_43"] if split == "train" else [])


@pytest.mark.idrid
def test_a_real_photograph(idrid_root: Path) -> None:
    item = IDRiDDataset(str(idrid_root), "train", size=(1440, 960))[0]
    sample = item["data_samples"]
    assert item["inputs"].shape == (3, 956, 1440)
    assert sample.ori_shape == (2848, 4288)
    red, green, blue = item["inputs"].float().mean((1, 2)).tolist()
    assert red > green > blue, "a fundus is red"
    shares = sample.gt_sem_seg.data.float().mean((1, 2)).tolist()
    paths = [Path(sample.img_path).parents[2] / f"masks/train/{lesion}/IDRiD_01_{lesion}.png" for lesion in LESIONS]
    for lesion, path, share in zip(LESIONS, paths, shares, strict=True):
        original = float(read_mask(path).mean()) if path.exists() else 0.0
        assert share == pytest.approx(original, rel=0.1), f"the reduced mask of {lesion} is too large or too small"
    assert 1e-4 < shares[0] < shares[1] < shares[2] < 0.05
    assert shares[3] == 0, "IDRiD_01 has no soft exudate"


def test_a_label_map_with_other_values_or_a_missing_one_is_an_error(tmp_path: Path) -> None:
    for folder in ("images/train", "labels/train"):
        (tmp_path / folder).mkdir(parents=True)
    for stem in ("a", "b"):
        cv2.imwrite(str(tmp_path / f"images/train/{stem}.jpg"), np.zeros((20, 30, 3), np.uint8))
    cv2.imwrite(str(tmp_path / "labels/train/a.png"), np.full((20, 30), 5, np.uint8))
    with pytest.raises(UserError, match=r"no label map for 1 images \(b.jpg"):
        len(IDRiDDataset(data_root=str(tmp_path)))
    (tmp_path / "images/train/b.jpg").unlink()
    with pytest.raises(UserError, match=r"a.png: got the value 5, expected 0 background, 1 EX, 2 HE, 3 SE, 4 MA"):
        IDRiDDataset(data_root=str(tmp_path))[0]


@pytest.mark.parametrize("palette", [[(1, 2, 3)] * 3, ["#ff4040"] * 4, [(1, 2)] * 4])
def test_a_palette_that_does_not_fit(tiny_data: Path, palette: list[Any]) -> None:
    with pytest.raises(UserError, match=r"metainfo\.palette=.*, expected 4 colours such as"):
        SyntheticFundusDataset(data_root=str(tiny_data), metainfo=dict(palette=palette))
