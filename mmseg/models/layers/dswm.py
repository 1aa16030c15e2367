"""DSWM, the deep-shallow weighting module of SDC-Net. No paper describes it: this is our own design under a known name."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from torch import Tensor, nn

from mmseg.models.defaults import BN, RELU, ConfigType, OptConfigType

__all__ = ["DSWM"]


class DSWM(nn.Module):
    """Mix a shallow and a deep feature by convex weights, one pair at every pixel.

    For each branch b in (s, d), with C channels::

        S        = ReLU(BN(conv3x3(shallow)))                                 C x H x W
        D        = bilinear_to_S(ReLU(BN(conv3x3(deep))))                     C x H x W
        l_b      = conv3x3(ReLU(BN(conv1x1(cat(S, D, |S - D|)))))             1 x H x W, initially 0
        w_s, w_d = softmax over the branches of l_b                           w_s + w_d = 1
        fused    = ReLU(BN(conv3x3(w_s S + w_d D)))

    Unlike in ISDNet's relation-aware fusion the weights are convex, so that neither branch can shut both off, and vary over the
    image, so that a user can look at where detail or context decided (:meth:`weights`); both start at 1/2. Only the
    softmax is computed in float32; under autocast the logits, and the weights that are applied, are of its type. A descriptor of
    the whole image, as that fusion has, was tried and left out (docs/sdcnet.md).

    Source: our own design.

    Args:
        shallow_channels: channels of the shallow feature.
        deep_channels: channels of the deep feature.
        channels: C, channels of both branches after projection and of the output.
        spatial_channels: hidden channels of the weights' convolutions; default C // 4.
        norm_cfg: normalisation.
        act_cfg: activation.
    """

    def __init__(
        self, shallow_channels: int, deep_channels: int, channels: int, spatial_channels: int | None = None,
        norm_cfg: OptConfigType = BN, act_cfg: ConfigType = RELU,
    ) -> None:
        super().__init__()
        spatial_channels = spatial_channels or channels // 4
        self.shallow_branch = ConvModule(shallow_channels, channels, 3, padding=1, norm_cfg=norm_cfg, act_cfg=act_cfg)
        self.deep_branch = ConvModule(deep_channels, channels, 3, padding=1, norm_cfg=norm_cfg, act_cfg=act_cfg)
        self.spatial = nn.Sequential(
            ConvModule(3 * channels, spatial_channels, 1, norm_cfg=norm_cfg, act_cfg=act_cfg),
            nn.Conv2d(spatial_channels, 2, 3, padding=1))
        for parameter in self.spatial[1].parameters():
            nn.init.zeros_(parameter)
        self.smooth = ConvModule(channels, channels, 3, padding=1, norm_cfg=norm_cfg, act_cfg=act_cfg)

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
            ``w_s`` and ``w_d``, float32 ``(B, 1, H, W)`` in [0, 1] that add up to 1.
        """
        weight = self._weigh(shallow, deep)[-1]
        return weight, 1 - weight

    def _weigh(self, shallow: Tensor, deep: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Project both sides; return S, the enlarged D, and w_s."""
        shallow = self.shallow_branch(shallow)
        deep = F.interpolate(self.deep_branch(deep), size=shallow.shape[2:], mode="bilinear", align_corners=False)
        deep = deep.to(shallow.dtype)  # autocast enlarges in float32 on a GPU
        logits = self.spatial(torch.cat([shallow, deep, (shallow - deep).abs()], dim=1)).float()
        # The softmax over two logits is the sigmoid of their difference.
        return shallow, deep, torch.sigmoid(logits[:, :1] - logits[:, 1:])
