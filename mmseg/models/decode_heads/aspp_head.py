"""Atrous spatial pyramid pooling: context of several sizes at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmcv.cnn import ConvModule
from torch import Tensor, nn

from mmseg.models.decode_heads.decode_head import BaseDecodeHead, Losses
from mmseg.models.defaults import OptConfigType
from mmseg.models.layers import PooledConv
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

__all__ = ["ASPPHead", "RefineASPPHead"]


@MODELS.register_module()
class ASPPHead(BaseDecodeHead):
    """ASPP of DeepLabV3 (Chen et al., 2017); arguments as in mmsegmentation 1.x.

    The image mean (1x1 convolution, enlarged) and one convolution a dilation (1x1 for dilation 1, otherwise 3x3), each to
    ``channels``, are concatenated and joined by a 3x3 convolution. A batch of one trains, see :class:`PooledConv`.

    Args:
        dilations: one convolution each.
        **kwargs: arguments of :class:`BaseDecodeHead`.
    """

    def __init__(self, dilations: Sequence[int] = (1, 6, 12, 18), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dilations = tuple(dilations)
        layers = {"conv_cfg": self.conv_cfg, "norm_cfg": self.norm_cfg, "act_cfg": self.act_cfg}
        self.image_pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), PooledConv(self.in_channels, self.channels, 1, **layers))
        self.aspp_modules = nn.ModuleList([
            ConvModule(self.in_channels, self.channels, 1 if dilation == 1 else 3, dilation=dilation,
                       padding=0 if dilation == 1 else dilation, **layers)
            for dilation in self.dilations])
        self.bottleneck = ConvModule((len(self.dilations) + 1) * self.channels, self.channels, 3, padding=1, **layers)

    def _forward_feature(self, inputs: Sequence[Tensor]) -> Tensor:
        x = self._transform_inputs(inputs)
        pooled = self.image_pool(x).expand(-1, -1, *x.shape[2:]).contiguous(memory_format=torch.channels_last)
        return self.bottleneck(torch.cat([pooled, *(conv(x) for conv in self.aspp_modules)], dim=1))


@MODELS.register_module()
class RefineASPPHead(ASPPHead):
    """ASPP as the first of two heads: it hands its feature on to the refine head. Arguments of :class:`ASPPHead`."""

    def deep_feature(self, inputs: Sequence[Tensor]) -> Tensor:
        """The backbone's features to the deep feature ``(B, channels, h, w)``, without classifying it."""
        return self._forward_feature(inputs)

    def loss(
        self, inputs: Sequence[Tensor], batch_data_samples: Sequence[SegDataSample], train_cfg: OptConfigType = None,
    ) -> tuple[Losses, Tensor]:
        """Losses by name, and the deep feature."""
        feature = self.deep_feature(inputs)
        return self.loss_by_feat(self.cls_seg(feature), batch_data_samples), feature
