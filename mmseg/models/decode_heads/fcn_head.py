"""The fully convolutional head."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import torch
from mmcv.cnn import ConvModule
from torch import Tensor, nn

from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS

__all__ = ["FCNHead"]


@MODELS.register_module()
class FCNHead(BaseDecodeHead):
    """A few convolutions and a classifier (FCN, Long et al., CVPR 2015); arguments as in mmsegmentation 1.x.

    Args:
        num_convs: how many convolutions; 0 classifies the feature itself.
        kernel_size: their size, odd.
        concat_input: concatenate the input to their result and join both by one more convolution.
        dilation: their dilation.
        **kwargs: arguments of :class:`BaseDecodeHead`.

    Raises:
        ValueError: for several features, or for ``num_convs=0`` with ``in_channels`` other than ``channels``.
    """

    def __init__(
        self, num_convs: int = 2, kernel_size: int = 3, concat_input: bool = True, dilation: int = 1, **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not isinstance(self.in_channels, int) or (num_convs == 0 and self.in_channels != self.channels):
            raise ValueError(f"FCNHead: got in_channels={self.in_channels}, channels={self.channels}, num_convs={num_convs}, "
                             "expected one feature (input_transform None or 'resize_concat'), and equal channels for num_convs=0")
        self.concat_input = concat_input
        layers = {"conv_cfg": self.conv_cfg, "norm_cfg": self.norm_cfg, "act_cfg": self.act_cfg}
        padding = kernel_size // 2 * dilation
        widths = [self.in_channels, *[self.channels] * num_convs]
        self.convs = nn.Sequential(*[
            ConvModule(before, after, kernel_size, padding=padding, dilation=dilation, **layers)
            for before, after in itertools.pairwise(widths)])
        if concat_input:
            self.conv_cat = ConvModule(
                self.in_channels + self.channels, self.channels, kernel_size, padding=kernel_size // 2, **layers)

    def _forward_feature(self, inputs: Sequence[Tensor]) -> Tensor:
        x = self._transform_inputs(inputs)
        feature = self.convs(x)
        return self.conv_cat(torch.cat([x, feature], dim=1)) if self.concat_input else feature
