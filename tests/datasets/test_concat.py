"""Several data sets as one."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from mmengine.dataset import pseudo_collate
from PIL import Image
from releases import write_ddr

from mmseg.datasets import BaseSegDataset, ConcatDataset, DDRDataset, ResidentDataset, SyntheticFundusDataset
from mmseg.models.data_preprocessors import LesionDataPreprocessor
from mmseg.registry import DATASETS
from mmseg.structures import IGNORE, LESIONS
from mmseg.utils.errors import UserError


@pytest.fixture
def two(tiny_data: Path, tmp_path: Path) -> list[ResidentDataset]:
    """Four photographs of 120x80 and three of up to 30x30."""
    write_ddr(tmp_path)
    return [
        ResidentDataset(SyntheticFundusDataset(str(tiny_data), "train", size=(120, 80))),
        ResidentDataset(DDRDataset(str(tmp_path), "train", size=(30, 30))),
    ]


def test_one_after_the_other_each_as_often_as_told(two: list[ResidentDataset], logged: list[logging.LogRecord]) -> None:
    mixture = ConcatDataset(two, times=[1, 2])
    assert len(mixture) == 4 + 2 * 3
    assert mixture.metainfo["classes"] == LESIONS
    ids = [mixture[i]["data_samples"].image_id for i in range(10)]
    assert ids[4:7] == ids[7:10] and len(set(ids)) == 7
    assert mixture[4]["inputs"] is mixture[7]["inputs"], "an image is kept twice"
    assert logged[-1].getMessage() == "mixture of 2 data sets: 1 x 4 + 2 x 3 = 10 images"


def test_from_a_configuration(tiny_data: Path) -> None:
    one = dict(type="ResidentDataset", dataset=dict(type="SyntheticFundusDataset", data_root=str(tiny_data)))
    mixture = DATASETS.build(dict(type="ConcatDataset", datasets=[one, one]))
    assert isinstance(mixture, ConcatDataset) and len(mixture) == 8


def test_a_batch_of_several_sizes_is_padded(two: list[ResidentDataset]) -> None:
    mixture = ConcatDataset(two)
    batch = pseudo_collate([mixture[0], mixture[4]])
    transforms = [dict(type="BatchRandomAffine", crop_size=(32, 32), scale=(1, 1), rotation=(0, 0), flip_prob=0)]
    preprocessor = LesionDataPreprocessor((0, 0, 0), (1, 1, 1), transforms)
    data = preprocessor(batch, training=True)
    assert data["inputs"].shape == (2, 3, 32, 32)
    inside, outside = (sample.gt_sem_seg.data == IGNORE for sample in data["data_samples"])
    assert not inside.any(), "a window of 32 fits into a photograph of 120x80"
    assert outside.any() and not outside.all(), "it does not fit into one of 30x20"
    black = (data["inputs"][1] == 0).all(0)
    assert black[outside[0]].float().mean() > 0.9, "padding is black, but for a pixel at the border"


@pytest.mark.parametrize("times", [[1], [1, 0], [1, 1, 1]])
def test_shares_that_do_not_fit(two: list[ResidentDataset], times: list[int]) -> None:
    with pytest.raises(UserError, match=r"got times=.*expected 2 numbers from 1"):
        ConcatDataset(two, times)
    with pytest.raises(UserError, match="expected 0 numbers"):
        ConcatDataset([])


def test_other_classes(two: list[ResidentDataset]) -> None:
    two[1].metainfo = {**two[1].metainfo, "classes": ("MA", "HE")}
    with pytest.raises(UserError, match=r"got data sets of .*'MA', 'HE'\).*expected the same"):
        ConcatDataset(two)


def test_samples_of_two_kinds(two: list[ResidentDataset], tiny_data: Path) -> None:
    """They could not stand in one batch."""
    plain = SyntheticFundusDataset(str(tiny_data), "train")
    for mixed in ([two[0], plain], [ConcatDataset([plain]), two[1]]):
        with pytest.raises(UserError, match=r"got SyntheticFundusDataset beside a ResidentDataset, expected .* or none"):
            ConcatDataset(mixed)
    assert len(ConcatDataset([ConcatDataset(two), two[0]])) == 11
    assert len(ConcatDataset([plain, plain])) == 8


def test_photographs_of_one_name_are_not_tested_on(tiny_data: Path, tmp_path: Path) -> None:
    """Results are told apart by names; to train on them is possible."""
    (tmp_path / "other").symlink_to(tiny_data)
    folders = (str(tiny_data), str(tmp_path / "other"))
    assert len(ConcatDataset([SyntheticFundusDataset(folder, "test") for folder in folders])) == 6
    with pytest.raises(UserError, match=r"ConcatDataset: got .* and .*/other/.*, expected photographs of different names"):
        ConcatDataset([SyntheticFundusDataset(folder, "test", test_mode=True) for folder in folders])


def test_index_maps_are_not_told_apart_by_names(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        for kind in ("img", "seg"):
            (tmp_path / folder / kind).mkdir(parents=True)
            Image.new("L" if kind == "seg" else "RGB", (8, 8)).save(tmp_path / folder / kind / "0001.png")
    sets = [
        BaseSegDataset(data_root=str(tmp_path / folder), data_prefix=dict(img_path="img", seg_map_path="seg"), test_mode=True,
                       img_suffix=".png", metainfo=dict(classes=("x", "y")))
        for folder in ("a", "b")
    ]
    assert len(ConcatDataset(sets)) == 2
