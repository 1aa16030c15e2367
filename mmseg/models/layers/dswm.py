"""DSWM, the deep-shallow weighting module of SDC-Net. No paper describes it: this is our own design under a known name."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from torch import Tensor, nn

from mmseg.models.defaults import BN, RELU, ConfigType, OptConfigType
from mmseg.models.layers.described_branch import DescribedBranch, relation

__all__ = ["DSWM"]


class DSWM(nn.Module):
    """Mix a shallow and a deep feature by convex weights, one pair at every pixel and channel.

    For each branch b in (s, d), C channels, r groups::

        S        = ReLU(BN(conv3x3(shallow)))                                 C x H x W
        D        = bilinear_to_S(ReLU(BN(conv3x3(deep))))                     C x H x W
        a_b      = BN(conv1x1(mean of the branch over its own grid))          C
        R        = A_s A_d^T / sqrt(C / r),  A_b = a_b as r x C/r             r x r
        m_b      = MLP_b(R),  MLP: r*r -> C, ReLU, C -> C                     C
        c_b      = a_b + g_b m_b,  g_b scalar, initially 0                    C, the channel logit
        s_b      = conv3x3(ReLU(BN(conv1x1(cat(S, D, |S - D|)))))             1 x H x W, the spatial logit, initially 0
        w_s, w_d = softmax over the branches of c_b + s_b                     w_s + w_d = 1
        fused    = ReLU(BN(conv3x3(w_s S + w_d D)))

    The relation is scaled as a dot product of C / r unit-variance terms. Unlike in RAF the weights are convex, so that
    neither branch can shut both off, and vary over the image, so that a user can look at where detail or context decided
    (:meth:`weights`). The weights are computed in float32, also under autocast.

    Source: our own design. The channel descriptor follows ISDNet's relation-aware fusion (Guo et al., CVPR 2022).

    Args:
        shallow_channels: channels of the shallow feature.
        deep_channels: channels of the deep feature.
        channels: C, channels of both branches after projection and of the output.
        relation_groups: r, a divisor of C.
        spatial_channels: hidden channels of the spatial descriptor; default C // 4.
        norm_cfg: normalisation.
        act_cfg: activation.

    Raises:
        ValueError: if ``relation_groups`` does not divide ``channels``.
    """

    def __init__(
        self, shallow_channels: int, deep_channels: int, channels: int, relation_groups: int = 16,
        spatial_channels: int | None = None, norm_cfg: OptConfigType = BN, act_cfg: ConfigType = RELU,
    ) -> None:
        super().__init__()
        if channels % relation_groups:
            raise ValueError(f"DSWM: relation_groups={relation_groups} does not divide channels={channels}; "
                             "choose a divisor, such as 16 for 64 or 128 channels")
        spatial_channels = spatial_channels or channels // 4
        self.relation_groups = relation_groups
        self.relation_scale = (channels // relation_groups) ** -0.5
        self.shallow_branch = DescribedBranch(shallow_channels, channels, norm_cfg, act_cfg)
        self.deep_branch = DescribedBranch(deep_channels, channels, norm_cfg, act_cfg)
        self.shallow_mlp = self._mlp(channels)
        self.deep_mlp = self._mlp(channels)
        self.shallow_gain = nn.Parameter(torch.zeros(1))
        self.deep_gain = nn.Parameter(torch.zeros(1))
        self.spatial = nn.Sequential(
            ConvModule(3 * channels, spatial_channels, 1, norm_cfg=norm_cfg, act_cfg=act_cfg),
            nn.Conv2d(spatial_channels, 2, 3, padding=1))
        # A zero last layer makes the spatial logits start neutral: the mix begins as a plain channel attention.
        for parameter in self.spatial[1].parameters():
            nn.init.zeros_(parameter)
        self.smooth = ConvModule(channels, channels, 3, padding=1, norm_cfg=norm_cfg, act_cfg=act_cfg)

    def _mlp(self, channels: int) -> nn.Sequential:
        return nn.Sequential(nn.Linear(self.relation_groups ** 2, channels), nn.ReLU(), nn.Linear(channels, channels))

    def forward(self, shallow: Tensor, deep: Tensor) -> Tensor:
        """Fuse two features.

        Args:
            shallow: ``(B, shallow_channels, H, W)``.
            deep: ``(B, deep_channels, h, w)``, usually coarser.

        Returns:
            ``(B, channels, H, W)``.
        """
        shallow, deep, weight = self._weigh(shallow, deep)
        # lerp(d, s, w) = d + w (s - d) = w s + (1 - w) d, without the intermediate products.
        return self.smooth(torch.lerp(deep, shallow, weight.to(shallow.dtype)))

    def weights(self, shallow: Tensor, deep: Tensor) -> tuple[Tensor, Tensor]:
        """The weights that :meth:`forward` gives to the two branches for the same arguments.

        Returns:
            ``w_s`` and ``w_d``, float32 ``(B, channels, H, W)`` in [0, 1] that add up to 1.
        """
        weight = self._weigh(shallow, deep)[-1]
        return weight, 1 - weight

    def _weigh(self, shallow: Tensor, deep: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Project both sides; return S, the enlarged D, and w_s."""
        shallow, shallow_descriptor = self.shallow_branch(shallow)
        deep, deep_descriptor = self.deep_branch(deep)
        deep = F.interpolate(deep, size=shallow.shape[2:], mode="bilinear", align_corners=False)

        related = relation(shallow_descriptor, deep_descriptor, self.relation_groups) * self.relation_scale
        shallow_logit = shallow_descriptor + self.shallow_gain * self.shallow_mlp(related)[..., None, None]
        deep_logit = deep_descriptor + self.deep_gain * self.deep_mlp(related)[..., None, None]
        spatial = self.spatial(torch.cat([shallow, deep, (shallow - deep).abs()], dim=1)).float()

        # The softmax over two logits is the sigmoid of their difference.
        difference = (shallow_logit.float() - deep_logit.float()) + (spatial[:, :1] - spatial[:, 1:])
        return shallow, deep, torch.sigmoid(difference)
