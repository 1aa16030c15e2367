"""mmsegmentation's preprocessor: channels, normalisation, padding, in numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from mmengine.structures import PixelData

from mmseg.models import SegDataPreProcessor
from mmseg.structures import SegDataSample

MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]


def make_data(sizes: list[tuple[int, int]]) -> dict[str, Any]:
    random = np.random.RandomState(0)
    inputs = [torch.from_numpy(random.randint(0, 256, (3, *size)).astype(np.uint8)) for size in sizes]
    samples = [SegDataSample(gt_sem_seg=PixelData(data=torch.from_numpy(random.randint(0, 5, (1, *size))))) for size in sizes]
    return dict(inputs=inputs, data_samples=samples)


@pytest.mark.parametrize(("settings", "expected"), [
    ({"size": (12, 16)}, (12, 16)), ({"size_divisor": 1}, (10, 12)), ({"size_divisor": 8}, (16, 16)),
])
@pytest.mark.parametrize("bgr", [False, True])
def test_training(settings: dict[str, Any], expected: tuple[int, int], bgr: bool) -> None:
    data = make_data([(8, 12), (10, 9)])
    images, labels = [image.numpy() for image in data["inputs"]], [s.gt_sem_seg.data.numpy() for s in data["data_samples"]]
    preprocessor = SegDataPreProcessor(MEAN, STD, pad_val=-2.0, seg_pad_val=7, bgr_to_rgb=bgr, **settings)
    out = preprocessor(data, training=True)
    assert out["inputs"].shape == (2, 3, *expected) and out["inputs"].dtype == torch.float32
    for b, (image, label) in enumerate(zip(images, labels, strict=True)):
        height, width = image.shape[1:]
        want, target = np.full((3, *expected), -2.0), np.full((1, *expected), 7)
        for c in range(3):
            want[c, :height, :width] = (image[2 - c if bgr else c] - MEAN[c]) / STD[c]
        target[:, :height, :width] = label
        np.testing.assert_allclose(out["inputs"][b].numpy(), want, rtol=1e-5, atol=1e-5)
        sample = out["data_samples"][b]
        np.testing.assert_array_equal(sample.gt_sem_seg.data.numpy(), target)
        assert tuple(sample.img_shape) == (height, width) and tuple(sample.pad_shape) == expected
        assert sample.padding_size == (0, expected[1] - width, 0, expected[0] - height)


def test_testing() -> None:
    data = make_data([(8, 12), (8, 12)])
    plain = SegDataPreProcessor(size=(512, 512))(data)
    torch.testing.assert_close(plain["inputs"], torch.stack(data["inputs"]).float())
    out = SegDataPreProcessor(size=(512, 512), test_cfg=dict(size_divisor=5))(data)
    assert out["inputs"].shape == (2, 3, 10, 15) and out["inputs"][..., 12:].abs().max() == 0
    assert tuple(out["data_samples"][0].pad_shape) == (10, 15)
    assert out["data_samples"][0].gt_sem_seg.shape == (8, 12), "targets keep their size"
    with pytest.raises(ValueError, match=r"got images of \[\(8, 12\), \(9, 12\)\] in one batch"):
        SegDataPreProcessor()(make_data([(8, 12), (9, 12)]))


@pytest.mark.parametrize("settings", [{}, {"size": (8, 8), "size_divisor": 8}])
def test_one_of_the_sizes_is_needed_in_training(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected one of them"):
        SegDataPreProcessor(**settings)(make_data([(8, 12)]), training=True)
