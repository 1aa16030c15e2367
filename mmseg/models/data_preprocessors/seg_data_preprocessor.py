"""The preprocessor of mmsegmentation 1.x, for samples that their data set has augmented."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.model import ImgDataPreprocessor
from torch import Tensor

from mmseg.models.defaults import OptConfigType
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

__all__ = ["SegDataPreProcessor", "stack_batch"]

_TARGETS = ("gt_sem_seg", "gt_edge_map", "gt_depth_map")


@MODELS.register_module()
class SegDataPreProcessor(ImgDataPreprocessor):
    """Swap channels, normalise, pad and stack; arguments and behaviour of mmsegmentation 1.x.

    It augments nothing: that is for plug-in data sets with a ``pipeline`` of their own. The data sets of this project give
    whole images in RGB and want a :class:`LesionDataPreprocessor`.

    Args:
        mean: of R, G, B (in the order after swapping), 0 to 255; None normalises nothing.
        std: of R, G, B.
        size: ``(H, W)`` to which images are padded at the right and bottom in training.
        size_divisor: or a number of which the largest height and width become multiples.
        pad_val: of images, after normalisation.
        seg_pad_val: of targets.
        bgr_to_rgb: swap the channels of images that came as BGR.
        rgb_to_bgr: the same, for the other order.
        batch_augments: a function of inputs and samples, called in training.
        test_cfg: ``size`` or ``size_divisor`` of testing; without it images of one batch must have one size.

    Raises:
        ValueError: for one of ``mean`` and ``std``, or both swaps of channels; in use, for neither or both of ``size`` and
            ``size_divisor``, or images of several sizes in testing.
    """

    def __init__(
        self, mean: Sequence[float] | None = None, std: Sequence[float] | None = None, size: tuple[int, int] | None = None,
        size_divisor: int | None = None, pad_val: float = 0, seg_pad_val: float = 255, bgr_to_rgb: bool = False,
        rgb_to_bgr: bool = False, batch_augments: Any = None, test_cfg: OptConfigType = None,
    ) -> None:
        if (mean is None) != (std is None):
            raise ValueError(f"SegDataPreProcessor: got mean={mean}, std={std}, expected both or neither")
        if bgr_to_rgb and rgb_to_bgr:
            raise ValueError("SegDataPreProcessor: got bgr_to_rgb=True, rgb_to_bgr=True, expected one of them or none")
        super().__init__(mean, std, size_divisor or 1, pad_val, bgr_to_rgb, rgb_to_bgr)
        self.size, self.size_divisor, self.pad_val, self.seg_pad_val = size, size_divisor, pad_val, seg_pad_val
        self.batch_augments, self.test_cfg = batch_augments, test_cfg
        self.takes_bgr = bgr_to_rgb

    def forward(self, data: dict[str, Any], training: bool = False) -> dict[str, Any]:
        """Prepare a batch.

        Args:
            data: ``inputs``, list of ``(C, h, w)``, 0 to 255; ``data_samples``, list of :class:`SegDataSample`, or None in
                testing.
            training: pad targets, too, and call ``batch_augments``.

        Returns:
            ``inputs`` float32 ``(B, C, H, W)``; ``data_samples``, with ``img_shape``, ``pad_shape`` and ``padding_size``
            (left, right, top, bottom) in training, ``img_padding_size`` and ``pad_shape`` with ``test_cfg`` in testing.
        """
        data = self.cast_data(data)
        samples: list[SegDataSample] | None = data.get("data_samples")
        inputs = [self._normalised(image) for image in data["inputs"]]
        if training:
            if samples is None:
                raise ValueError("SegDataPreProcessor: got no data_samples, expected one an image in training")
            batch, samples = stack_batch(inputs, samples, self.size, self.size_divisor, self.pad_val, self.seg_pad_val)
            if self.batch_augments is not None:
                batch, samples = self.batch_augments(batch, samples)
            return dict(inputs=batch, data_samples=samples)
        if len({image.shape for image in inputs}) > 1:
            raise ValueError(f"SegDataPreProcessor: got images of {sorted({tuple(i.shape[1:]) for i in inputs})} in one batch, "
                             "expected one size in testing; set batch_size=1")
        if not self.test_cfg:
            return dict(inputs=torch.stack(inputs), data_samples=samples)
        batch, metas = stack_batch(
            inputs, None, self.test_cfg.get("size"), self.test_cfg.get("size_divisor"), self.pad_val, self.seg_pad_val)
        for sample, meta in zip(samples or [], metas, strict=False):
            sample.set_metainfo(meta)
        return dict(inputs=batch, data_samples=samples)

    def _normalised(self, image: Tensor) -> Tensor:
        if self._channel_conversion and image.shape[0] == 3:
            image = image[[2, 1, 0]]
        image = image.float()
        return (image - self.mean) / self.std if self._enable_normalize else image


def stack_batch(
    inputs: Sequence[Tensor], data_samples: Sequence[SegDataSample] | None = None, size: tuple[int, int] | None = None,
    size_divisor: int | None = None, pad_val: float = 0, seg_pad_val: float = 255,
) -> tuple[Tensor, list[Any]]:
    """Pad images and their targets at the right and bottom, and stack them; the function of mmsegmentation 1.x.

    Args:
        inputs: images ``(C, h, w)``.
        data_samples: whose ``gt_sem_seg``, ``gt_edge_map``, ``gt_depth_map`` are padded, too (uint8 becomes int64).
        size: ``(H, W)``; an image that is larger keeps its size.
        size_divisor: or a number of which the largest height and width become multiples.
        pad_val: of images.
        seg_pad_val: of targets.

    Returns:
        ``(B, C, H, W)``; the samples with their meta information, or without samples one dictionary of it an image.

    Raises:
        ValueError: for neither or both of ``size`` and ``size_divisor``.
    """
    if (size is None) == (size_divisor is None):
        raise ValueError(f"SegDataPreProcessor: got size={size}, size_divisor={size_divisor}, expected one of them")
    if size is None:
        step = max(size_divisor or 1, 1)
        size = tuple(-(-max(image.shape[axis] for image in inputs) // step) * step for axis in (-2, -1))  # type: ignore[assignment]
    height, width = size  # type: ignore[misc]
    padded, described = [], []
    for i, image in enumerate(inputs):
        padding = (0, max(width - image.shape[-1], 0), 0, max(height - image.shape[-2], 0))
        padded.append(F.pad(image, padding, value=pad_val))
        if data_samples is None:
            described.append(dict(img_padding_size=padding, pad_shape=padded[-1].shape[-2:]))
            continue
        sample, shape = data_samples[i], None
        for name in _TARGETS:
            if name in sample:
                target = sample.get(name)
                data = target.data.long() if target.data.dtype == torch.uint8 else target.data  # as losses take indices
                del target.data  # else its size may not change
                target.data = F.pad(data, padding, value=seg_pad_val)
                shape = target.shape
        sample.set_metainfo(dict(img_shape=image.shape[-2:], pad_shape=shape, padding_size=padding))
        described.append(sample)
    return torch.stack(padded), described
