"""The shallow branch of ISDNet: the first part of STDC-1."""

from __future__ import annotations

import itertools
from typing import Any

import torch
from mmcv.cnn import ConvModule, build_norm_layer
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmseg.models.backbones.pretrained import in_scope
from mmseg.models.defaults import BN, RELU, ConfigType, OptConfigType
from mmseg.models.layers.depthwise_conv import DepthwiseConv2d
from mmseg.registry import MODELS

__all__ = ["CatBottleneck", "ShallowNet"]


class CatBottleneck(nn.Module):
    """The concatenating block of STDC (Fan et al., CVPR 2021).

    Four chained convolutions give N/2, N/4, N/8 and N/8 channels (the first 1x1, the others 3x3), and all four outputs are
    concatenated. With stride 2 a depthwise 3x3 convolution halves the grid before the second, and an average pool halves
    the first output before the concatenation.

    Args:
        in_channels: channels of the input.
        out_channels: N.
        stride: 1 or 2.
        norm_cfg: normalisation.
        act_cfg: activation.
    """

    def __init__(
        self, in_channels: int, out_channels: int, stride: int = 1, norm_cfg: ConfigType = BN, act_cfg: ConfigType = RELU,
    ) -> None:
        super().__init__()
        half = out_channels // 2
        widths = (half, out_channels // 4, out_channels // 8, out_channels // 8)
        self.conv_list = nn.ModuleList([ConvModule(in_channels, half, 1, norm_cfg=norm_cfg, act_cfg=act_cfg)])
        for before, after in itertools.pairwise(widths):
            self.conv_list.append(ConvModule(before, after, 3, padding=1, norm_cfg=norm_cfg, act_cfg=act_cfg))
        self.stride = stride
        if stride == 2:
            self.avd_layer = nn.Sequential(DepthwiseConv2d(half, 3, stride=2), build_norm_layer(norm_cfg, half)[1])
            self.pool = nn.AvgPool2d(3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, in_channels, H, W)`` to ``(B, N, ceil(H / stride), ceil(W / stride))``."""
        first = self.conv_list[0](x)
        outputs = [self.pool(first) if self.stride == 2 else first]
        x = self.avd_layer(first) if self.stride == 2 else first
        for conv in self.conv_list[1:]:
            x = conv(x)
            outputs.append(x)
        return torch.cat(outputs, dim=1)


@MODELS.register_module()
class ShallowNet(BaseModule):
    """The first six blocks of STDC-1, which see the image's detail at full resolution.

    Args:
        in_channels: 6 for two bands of a Laplacian pyramid.
        base_channels: c; the features have c, 4c and 8c channels.
        norm_cfg: normalisation.
        act_cfg: activation.
        init_cfg: mmengine's initialisation; ``Pretrained`` reads STDC-1's ImageNet weights.
    """

    def __init__(
        self, in_channels: int = 6, base_channels: int = 64, norm_cfg: ConfigType = BN, act_cfg: ConfigType = RELU,
        init_cfg: OptConfigType = None,
    ) -> None:
        super().__init__(in_scope(init_cfg))
        self.init_source = "scratch"
        c = base_channels
        layers: dict[str, Any] = {"norm_cfg": norm_cfg, "act_cfg": act_cfg}
        self.features = nn.Sequential(
            ConvModule(in_channels, c // 2, 3, stride=2, padding=1, **layers),
            ConvModule(c // 2, c, 3, stride=2, padding=1, **layers),
            CatBottleneck(c, 4 * c, stride=2, **layers), CatBottleneck(4 * c, 4 * c, **layers),
            CatBottleneck(4 * c, 8 * c, stride=2, **layers), CatBottleneck(8 * c, 8 * c, **layers))
        self.out_channels = (c, 4 * c, 8 * c)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Features at three strides.

        Args:
            x: ``(B, in_channels, H, W)``.

        Returns:
            ``(B, c, H/4, W/4)``, ``(B, 4c, H/8, W/8)``, ``(B, 8c, H/16, W/16)``, sizes rounded up.
        """
        x4 = self.features[:2](x)
        x8 = self.features[2:4](x4)
        return x4, x8, self.features[4:](x8)
