"""The two-step output layer of ISDNet's and SDC-Net's refine heads."""

from __future__ import annotations

from mmcv.cnn import ConvModule
from torch import Tensor, nn

from mmseg.models.defaults import BN, RELU, ConfigType, OptConfigType

__all__ = ["ConvOut"]


class ConvOut(nn.Module):
    """``y = conv1x1(ReLU(BN(conv3x3(x))))``: the last step of a head, with bias and without activation.

    Args:
        in_channels: channels of ``x``.
        mid_channels: channels between the two convolutions.
        out_channels: channels of ``y``.
        norm_cfg: normalisation.
        act_cfg: activation.
    """

    def __init__(
        self, in_channels: int, mid_channels: int, out_channels: int, norm_cfg: OptConfigType = BN, act_cfg: ConfigType = RELU,
    ) -> None:
        super().__init__()
        self.conv_bn_relu = ConvModule(in_channels, mid_channels, 3, padding=1, norm_cfg=norm_cfg, act_cfg=act_cfg)
        self.conv_out = nn.Conv2d(mid_channels, out_channels, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, in_channels, H, W)`` to ``(B, out_channels, H, W)``."""
        return self.conv_out(self.conv_bn_relu(x))
