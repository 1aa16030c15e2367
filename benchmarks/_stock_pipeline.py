"""The peer of pipeline.py: stock mmsegmentation 1.x, run by the interpreter of an environment that has it.

Reads its arguments as one line of JSON, then a line ``WAY BATCHES`` for each measurement; answers each with seconds.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import mmcv
import torch
from mmcv.transforms import BaseTransform
from mmengine.runner import Runner

import mmseg
from mmseg.datasets import BaseSegDataset
from mmseg.models import SegDataPreProcessor
from mmseg.utils import register_all_modules

CLASSES = ("background", "MA", "HE", "EX", "SE")


class TakeDecoded(BaseTransform):
    """In the place of LoadImageFromFile and LoadAnnotations: arrays that are in memory, at the size that is trained on."""

    def __init__(self, folder: Path, size: tuple[int, int]) -> None:
        self.kept = {}
        for path in sorted((folder / "images").iterdir()):
            labels = cv2.imread(str(folder / "labels" / f"{path.stem}.png"), cv2.IMREAD_UNCHANGED)
            self.kept[str(path)] = (
                mmcv.imrescale(cv2.imread(str(path)), size, interpolation="area"),
                mmcv.imrescale(labels, size, interpolation="nearest"),
            )

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Put in what the two loading transforms would."""
        image, labels = self.kept[results["img_path"]]
        results.update(img=image, img_shape=image.shape[:2], ori_shape=image.shape[:2], gt_seg_map=labels)
        results["seg_fields"].append("gt_seg_map")
        return results


def batches(setting: dict[str, Any], loading: list[Any]) -> Iterator[dict[str, Any]]:
    """Normalised batches without end, through the real data set, loader and data preprocessor."""
    size, crop = tuple(setting["image_size"]), tuple(setting["crop_size"])
    pipeline = [
        *loading,
        dict(type="RandomResize", scale=size, ratio_range=(0.5, 2.0), keep_ratio=True),
        dict(type="RandomCrop", crop_size=crop, cat_max_ratio=0.75),
        dict(type="RandomFlip", prob=0.5),
        dict(type="RandomRotate", prob=1.0, degree=180.0, pad_val=0, seg_pad_val=255),
        dict(type="PhotoMetricDistortion"),
        dict(type="PackSegInputs"),
    ]
    dataset = BaseSegDataset(
        img_suffix=".jpg", seg_map_suffix=".png", metainfo=dict(classes=CLASSES), data_root=setting["folder"],
        data_prefix=dict(img_path="images", seg_map_path="labels"), pipeline=pipeline,
    )
    loader = Runner.build_dataloader(
        dict(batch_size=setting["batch_size"], num_workers=0, dataset=dataset, sampler=dict(type="InfiniteSampler")), seed=0)
    preprocessor = SegDataPreProcessor(
        mean=setting["mean"], std=setting["std"], bgr_to_rgb=True, pad_val=0, seg_pad_val=255, size=crop)
    for data in loader:
        yield preprocessor(data, True)


def main() -> None:
    """Measure what is asked for, one line after another, until the input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    if not Path(mmseg.__file__).is_relative_to(sys.prefix):
        sys.exit(f"expected mmsegmentation of {sys.prefix}, got {mmseg.__file__}")
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    register_all_modules()
    setting = json.loads(sys.stdin.readline())
    start = time.perf_counter()
    decoded = [TakeDecoded(Path(setting["folder"]), tuple(setting["image_size"]))]
    print(time.perf_counter() - start, file=answers, flush=True)
    ways = {
        "stock": batches(setting, [dict(type="LoadImageFromFile"), dict(type="LoadAnnotations")]),
        "decoded": batches(setting, decoded),
    }
    for line in sys.stdin:
        way, count = line.split()
        start = time.perf_counter()
        for _ in range(int(count)):
            data = next(ways[way])
            expected = (setting["batch_size"], 3, *setting["crop_size"])
            assert data["inputs"].shape == expected, data["inputs"].shape
        print(time.perf_counter() - start, file=answers, flush=True)


if __name__ == "__main__":
    main()
