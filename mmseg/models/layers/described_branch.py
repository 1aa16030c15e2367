"""One side of a fusion: the projected feature, its channel descriptor, and the relation of two descriptors."""

from __future__ import annotations

from mmcv.cnn import ConvModule
from torch import Tensor, nn

from mmseg.models.defaults import BN, RELU, ConfigType, OptConfigType
from mmseg.models.layers.pooled_conv import PooledConv

__all__ = ["DescribedBranch", "relation"]


class DescribedBranch(nn.Module):
    """Project a feature and describe its channels (ISDNet, Guo et al., CVPR 2022, relation-aware fusion, step 1)::

        F = ReLU(BN(conv3x3(x)))
        a = BN(conv1x1(mean of F over H, W))        without activation

    Args:
        in_channels: channels of ``x``.
        channels: channels of ``F`` and ``a``.
        norm_cfg: normalisation.
        act_cfg: activation of ``F``.
    """

    def __init__(
        self, in_channels: int, channels: int, norm_cfg: OptConfigType = BN, act_cfg: ConfigType = RELU,
    ) -> None:
        super().__init__()
        self.conv_bn_relu = ConvModule(in_channels, channels, 3, padding=1, norm_cfg=norm_cfg, act_cfg=act_cfg)
        self.conv_1x1 = PooledConv(channels, channels, 1, norm_cfg=norm_cfg, act_cfg=None)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """``(B, in_channels, H, W)`` to ``F`` ``(B, channels, H, W)`` and ``a`` ``(B, channels, 1, 1)``."""
        feature = self.conv_bn_relu(x)
        return feature, self.conv_1x1(feature.mean((2, 3), keepdim=True))


def relation(first: Tensor, second: Tensor, groups: int) -> Tensor:
    """How the channel groups of two descriptors relate: ``R = A_1 A_2^T`` with each descriptor reshaped to groups x C/groups.

    Args:
        first: ``(B, C, 1, 1)``.
        second: ``(B, C, 1, 1)``.
        groups: r, a divisor of C.

    Returns:
        ``(B, r * r)``, row by row.
    """
    batch = first.shape[0]
    return (first.view(batch, groups, -1) @ second.view(batch, groups, -1).transpose(1, 2)).flatten(1)
