"""Index maps in mmsegmentation's folders: files, classes that are chosen, labels that are shifted, and mistakes."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from mmseg.apis.browse import browse_dataset
from mmseg.datasets import BaseSegDataset, DeepGlobeDataset, ResidentDataset
from mmseg.engine.config import load_config
from mmseg.models import LesionDataPreprocessor
from mmseg.utils.errors import UserError


class Shapes(BaseSegDataset):
    METAINFO = dict(classes=("sky", "sea", "sand"), palette=[(0, 0, 1), (0, 0, 2), (0, 0, 3)])


FOLDERS = dict(img_path="img_dir/train", seg_map_path="ann_dir/train")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two images of 40x24, one below a sub-folder, with maps of the values 0, 1, 2 in thirds and one pixel of 255."""
    labels = np.repeat([0, 1, 2], 8)[:, None].repeat(40, 1).astype(np.uint8)
    labels[0, 0] = 255
    for name in ("b", "sub/a"):
        for folder, suffix, picture in (("img_dir", ".jpg", np.full((24, 40, 3), 90, np.uint8)), ("ann_dir", ".png", labels)):
            path = tmp_path / folder / "train" / f"{name}{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), picture)
    return tmp_path


def values(dataset: BaseSegDataset, index: int = 0) -> list[int]:
    """The label of each third, and of the ignored pixel."""
    labels = dataset[index]["data_samples"].gt_sem_seg.data
    assert labels.dtype == torch.uint8 and labels.shape == (1, 24, 40)
    return [int(labels[0, row, 20]) for row in (4, 12, 20)] + [int(labels[0, 0, 0])]


def test_records_and_samples(root: Path) -> None:
    dataset = Shapes(data_root=str(root), data_prefix=FOLDERS)
    assert [Path(dataset.get_data_info(i)["img_path"]).name for i in range(len(dataset))] == ["b.jpg", "a.jpg"]
    info = dataset.get_data_info(1)
    assert info["seg_map_path"] == str(root / "ann_dir/train/sub/a.png")
    assert {"label_map", "reduce_zero_label", "seg_fields"} <= set(info)
    assert values(dataset) == [0, 1, 2, 255]
    assert dataset[0]["inputs"].shape == (3, 24, 40)
    assert dataset.metainfo["classes"] == ("sky", "sea", "sand")


@pytest.mark.parametrize(("arguments", "expected"), [
    (dict(metainfo=dict(classes=("sand", "sky"))), [1, 255, 0, 255]),
    (dict(reduce_zero_label=True), [255, 0, 1, 255]),
    (dict(ignore_index=2), [0, 1, 255, 255]),
])
def test_labels(root: Path, arguments: dict, expected: list[int]) -> None:
    assert values(Shapes(data_root=str(root), data_prefix=FOLDERS, **arguments)) == expected


def test_palette_follows_the_chosen_classes(root: Path) -> None:
    chosen = Shapes(data_root=str(root), data_prefix=FOLDERS, metainfo=dict(classes=("sand", "sky")))
    assert chosen.metainfo["palette"] == [(0, 0, 3), (0, 0, 1)]
    drawn = [BaseSegDataset(data_root=str(root), data_prefix=FOLDERS, metainfo=dict(classes=("x", "y"))) for _ in range(2)]
    assert drawn[0].metainfo["palette"] == drawn[1].metainfo["palette"]


def test_a_list_of_images(root: Path) -> None:
    (root / "list.txt").write_text("sub/a\n\n")
    dataset = Shapes(ann_file="list.txt", data_root=str(root), data_prefix=FOLDERS)
    assert [dataset.get_data_info(i)["img_path"] for i in range(len(dataset))] == [str(root / "img_dir/train/sub/a.jpg")]
    with pytest.raises(UserError, match=r"none\.txt: no such list of images"):
        Shapes(ann_file="none.txt", data_root=str(root), data_prefix=FOLDERS)


def test_size_in_training_and_testing(root: Path) -> None:
    for test_mode, shape in ((False, (1, 12, 20)), (True, (1, 24, 40))):
        sample = Shapes(data_root=str(root), data_prefix=FOLDERS, size=(20, 12), test_mode=test_mode)[0]
        assert sample["inputs"].shape == (3, 12, 20)
        assert sample["data_samples"].gt_sem_seg.data.shape == shape


def test_the_preprocessor_takes_index_maps(root: Path) -> None:
    dataset = Shapes(data_root=str(root), data_prefix=FOLDERS)
    crop = dict(type="BatchLegacyAffine", crop_size=(24, 48))
    preprocessor = LesionDataPreprocessor((0, 0, 0), (1, 1, 1), [crop], target="index")
    items = [dataset[0], dataset[1]]
    data = {key: [item[key] for item in items] for key in ("inputs", "data_samples")}
    batch = preprocessor(data, training=True)
    labels = batch["data_samples"][0].gt_sem_seg.data
    assert labels.dtype == torch.long and labels.shape == (1, 24, 48)
    assert [int(labels[0, row, 20]) for row in (4, 12, 20)] == [0, 1, 2]
    assert (labels[..., 40:] == 255).all()


def test_a_pipeline_runs_in_the_place_of_reading(root: Path) -> None:
    dataset = Shapes(data_root=str(root), data_prefix=FOLDERS, pipeline=[lambda info: dict(inputs=info["seg_map_path"])])
    assert dataset[0] == dict(inputs=str(root / "ann_dir/train/b.png"))


def test_deepglobe_finds_its_files(tmp_path: Path) -> None:
    (tmp_path / "i").mkdir()
    cv2.imwrite(str(tmp_path / "i" / "7_sat.jpg"), np.zeros((4, 4, 3), np.uint8))
    dataset = DeepGlobeDataset(data_root=str(tmp_path), data_prefix=dict(img_path="i", seg_map_path="l"))
    assert dataset.get_data_info(0)["seg_map_path"] == str(tmp_path / "l" / "7_mask.png")
    assert len(dataset.metainfo["classes"]) == len(dataset.metainfo["palette"]) == 7


@pytest.mark.parametrize(("arguments", "message"), [
    (dict(data_prefix=dict(img_path="none", seg_map_path="x")), r"no images named \*\.jpg in .*no such folder"),
    (dict(img_suffix=".tif"), r"no images named \*\.tif in .*an existing folder"),
    (dict(metainfo=dict(classes=("sandd",))), "got 'sandd', expected some of sky, sea, sand; did you mean 'sand'"),
    (dict(backend_args=dict(backend="petrel")), "backend_args"),
])
def test_mistakes(root: Path, arguments: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Shapes(**{"data_root": str(root), "data_prefix": FOLDERS, **arguments})


def test_a_map_of_another_size(root: Path) -> None:
    cv2.imwrite(str(root / "ann_dir/train/b.png"), np.zeros((4, 4), np.uint8))
    with pytest.raises(UserError, match=r"b\.png: got a mask of 4x4 pixels, expected 40x24"):
        Shapes(data_root=str(root), data_prefix=FOLDERS)[0]


def test_maps_are_reduced_at_the_centres_of_pixels(root: Path) -> None:
    """As the image is: the middle pixel of each three, not the first."""
    path = root / "ann_dir/train/b.png"
    rows = np.array([0, 1, 2] * 8, np.uint8)
    cv2.imwrite(str(path), rows[:, None].repeat(40, 1))
    labels = Shapes(data_root=root, data_prefix=FOLDERS, size=(13, 8))[0]["data_samples"].gt_sem_seg.data
    assert labels.unique().tolist() == [1]


def test_they_are_not_packed_as_lesions(root: Path) -> None:
    with pytest.raises(UserError, match="got dataset=Shapes, expected a LesionDataset"):
        ResidentDataset(Shapes(data_root=root, data_prefix=FOLDERS))


def test_browsing_draws_every_class(root: Path, tmp_path: Path) -> None:
    config = load_config(Path(__file__).parents[2] / "configs/isdnet/isdnet_r18-d8_1224x1224_80k_DeepGlobe.py")
    names = [f"class {i}" for i in range(7)]
    config.train_dataloader.dataset = dict(
        type="BaseSegDataset", data_root=str(root), data_prefix=FOLDERS, img_suffix=".jpg", seg_map_suffix=".png",
        metainfo=dict(classes=names, palette=[(i, i, i) for i in range(7)]))
    config.train_dataloader.update(num_workers=0, persistent_workers=False)
    written = browse_dataset(config, tmp_path / "out", 2)
    assert len(written) == 2 and all(cv2.imread(str(path)) is not None for path in written)


def test_classes_that_there_are_not(root: Path) -> None:
    """PyTorch would end with an index out of bounds, at the first crop that holds one."""
    assert cv2.imwrite(str(root / "ann_dir/train/b.png"), np.full((24, 40), 3, np.uint8))
    with pytest.raises(UserError, match=r"b\.png: got class 3, expected 0 to 2, one for each of sky, sea, sand"):
        Shapes(data_root=str(root), data_prefix=FOLDERS)[0]
    assert Shapes(data_root=str(root), data_prefix=FOLDERS, ignore_index=3)[0]["data_samples"].gt_sem_seg.data.eq(255).all()
