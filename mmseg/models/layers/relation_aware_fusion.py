"""Relation-aware fusion (RAF), with which ISDNet joins its shallow and its deep branch."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from torch import Tensor, nn

from mmseg.models.defaults import BN, RELU, ConfigType, OptConfigType
from mmseg.models.layers.pooled_conv import PooledConv

__all__ = ["RelationAwareFusion"]


class RelationAwareFusion(nn.Module):
    """Fuse shallow S and deep C with channel gates that know both sides (ISDNet, Guo et al., CVPR 2022).

    For each side b in (s, c), with r groups::

        F_b, a_b = project and describe                             (_DescribedBranch)
        R        = A_s A_c^T                                        (r x r, from a_s and a_c)
        m_b      = ReLU(MLP_b(R)),      MLP: r*r -> C, ReLU, C -> C
        w_b      = sigmoid(a_b + g_b m_b),     g_b scalar, initially 0
        C'       = ReLU(BN(conv3x3(bilinear_to_S(w_c F_c))))
        out      = BN(conv3x3(w_s F_s + C'))                        without activation

    Module names are those of the authors' checkpoints, where ``spatial`` is the shallow and ``context`` the deep side.

    Args:
        shallow_channels: channels of S.
        deep_channels: channels of C.
        channels: channels of both sides after projection and of the output.
        relation_groups: r, a divisor of ``channels``.
        norm_cfg: normalisation.
        act_cfg: activation.
    """

    def __init__(
        self, shallow_channels: int, deep_channels: int, channels: int = 128, relation_groups: int = 16,
        norm_cfg: OptConfigType = BN, act_cfg: ConfigType = RELU,
    ) -> None:
        super().__init__()
        self.relation_groups = relation_groups
        self.spatial_att = _DescribedBranch(shallow_channels, channels, norm_cfg, act_cfg)
        self.context_att = _DescribedBranch(deep_channels, channels, norm_cfg, act_cfg)
        self.spatial_mlp = self._mlp(channels)
        self.context_mlp = self._mlp(channels)
        self.g1 = nn.Parameter(torch.zeros(1))
        self.g2 = nn.Parameter(torch.zeros(1))
        self.context_head = ConvModule(channels, channels, 3, padding=1, norm_cfg=norm_cfg, act_cfg=act_cfg)
        self.smooth = ConvModule(channels, channels, 3, padding=1, norm_cfg=norm_cfg, act_cfg=None)

    def _mlp(self, channels: int) -> nn.Sequential:
        return nn.Sequential(
            nn.Linear(self.relation_groups ** 2, channels), nn.ReLU(), nn.Linear(channels, channels), nn.ReLU())

    def forward(self, shallow: Tensor, deep: Tensor) -> tuple[Tensor, Tensor]:
        """Fuse two features.

        Args:
            shallow: ``(B, shallow_channels, H, W)``.
            deep: ``(B, deep_channels, h, w)``, usually coarser.

        Returns:
            the fused feature and the context C', both ``(B, channels, H, W)``.
        """
        spatial, spatial_descriptor = self.spatial_att(shallow)
        context, context_descriptor = self.context_att(deep)
        related = _relation(spatial_descriptor, context_descriptor, self.relation_groups)
        spatial_gate = torch.sigmoid(spatial_descriptor + self.g1 * self.spatial_mlp(related)[..., None, None])
        context_gate = torch.sigmoid(context_descriptor + self.g2 * self.context_mlp(related)[..., None, None])

        gated = context_gate.to(context.dtype) * context  # else autocast would carry the maps on in float32
        context = F.interpolate(gated, size=shallow.shape[2:], mode="bilinear", align_corners=False)
        context = self.context_head(context)
        return self.smooth(spatial_gate.to(spatial.dtype) * spatial + context), context


class _DescribedBranch(nn.Module):
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


def _relation(first: Tensor, second: Tensor, groups: int) -> Tensor:
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
