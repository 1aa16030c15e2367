"""ISDNet's super-resolution decoder, a training-only companion of the deep branch."""

from __future__ import annotations

import torch.nn.functional as F
from mmcv.cnn import ConvModule
from torch import Tensor, nn

from mmseg.models.defaults import BN, RELU, ConfigType, OptConfigType
from mmseg.models.layers.conv_out import ConvOut
from mmseg.models.layers.enlarged_conv import conv_of_doubled

__all__ = ["SRDecoder"]


class SRDecoder(nn.Module):
    """Reconstruct image detail from the deep feature (ISDNet, Guo et al., CVPR 2022).

    Three steps of nearest enlargement (x4, x2, x2) and ReLU(BN(conv3x3)), then a two-step output layer.

    Args:
        channels: channels C of the deep feature; 64 and C are used inside.
        image_channels: channels of the reconstructed image.
        norm_cfg: normalisation.
        act_cfg: activation.
    """

    def __init__(
        self, channels: int = 128, image_channels: int = 3, norm_cfg: OptConfigType = BN, act_cfg: ConfigType = RELU,
    ) -> None:
        super().__init__()
        self.conv1 = ConvModule(channels, 64, 3, padding=1, norm_cfg=norm_cfg, act_cfg=act_cfg)
        self.conv2 = ConvModule(64, 64, 3, padding=1, norm_cfg=norm_cfg, act_cfg=act_cfg)
        self.conv3 = ConvModule(64, channels, 3, padding=1, norm_cfg=norm_cfg, act_cfg=act_cfg)
        self.conv_sr = ConvOut(channels, 64, image_channels, norm_cfg, act_cfg)

    def forward(self, deep: Tensor) -> tuple[Tensor, Tensor]:
        """Decode.

        Args:
            deep: ``(B, C, h, w)``.

        Returns:
            the feature ``(B, C, 16h, 16w)`` and the image ``(B, image_channels, 16h, 16w)``.
        """
        x = self.conv1(F.interpolate(deep, scale_factor=4, mode="nearest"))
        for block in (self.conv2, self.conv3):
            x = block.activate(block.norm(conv_of_doubled(x, block.conv)))  # type: ignore[arg-type, operator]
        return x, self.conv_sr(x)
