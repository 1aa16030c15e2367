"""ISDNet's refine head: shallow features of the image's detail, fused with the deep feature."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from mmseg.models.backbones.shallow_net import ShallowNet
from mmseg.models.decode_heads.decode_head import BaseDecodeHead, Losses, add_prefix, init_classifier
from mmseg.models.defaults import BN, ConfigType, OptConfigType
from mmseg.models.layers import ConvOut, LaplacianPyramid, RelationAwareFusion, SRDecoder
from mmseg.models.losses import affinity_loss
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

__all__ = ["ISDHead"]


@MODELS.register_module()
class ISDHead(BaseDecodeHead):
    """The refine head of ISDNet (Guo et al., CVPR 2022)::

        x4, x8, x16 = ShallowNet(two high bands of the image's Laplacian pyramid)
        f16, c16    = RAF(x16, deep)            stride 16
        f8, c8      = RAF(x8, f16)              stride 8
        logits      = conv1x1(ReLU(BN(conv3x3(dropout(f8)))))

    In training two classifiers learn from the contexts c8 and c16, and a decoder reconstructs the image's detail from the
    deep feature: a mean squared error against both bands, and an affinity loss that pulls the deep feature towards the
    decoder's. Nothing of that runs in evaluation mode's ``forward`` and ``predict``.

    The names ``conv_seg_aux_16`` (fed with c8) and ``conv_seg_aux_8`` (fed with c16) are crossed in the authors' checkpoints
    and therefore here.

    Args:
        in_channels: image channels.
        prev_channels: channels of the deep feature.
        channels: channels of the fused features.
        down_ratio: if given, the segmentor checks it against its own.
        reduce: accepted for the authors' configs, which all say False.
        aux_weight: factor on the losses of both auxiliary classifiers.
        recon_weight: factor on the reconstruction loss.
        affinity_weight: factor on the affinity loss.
        norm_cfg: normalisation.
        shallow_init_cfg: initialisation of the ShallowNet.
        **kwargs: arguments of :class:`BaseDecodeHead`.

    Raises:
        ValueError: for ``reduce=True``.
    """

    def __init__(
        self, in_channels: int = 3, prev_channels: int = 128, channels: int = 128, down_ratio: int | None = None,
        reduce: bool = False, aux_weight: float = 1.0, recon_weight: float = 0.1, affinity_weight: float = 1.0,
        norm_cfg: ConfigType = BN, shallow_init_cfg: OptConfigType = None, **kwargs: Any,
    ) -> None:
        super().__init__(in_channels, channels, norm_cfg=norm_cfg, **kwargs)
        if reduce:
            raise ValueError("ISDHead: got reduce=True, expected False: no published model of ISDNet uses it")
        self.down_ratio = down_ratio
        self.aux_weight, self.recon_weight, self.affinity_weight = aux_weight, recon_weight, affinity_weight
        norm: dict[str, Any] = {"norm_cfg": norm_cfg, "act_cfg": self.act_cfg}
        self.pyramid = LaplacianPyramid(in_channels)
        self.stdc_net = ShallowNet(2 * in_channels, init_cfg=shallow_init_cfg, **norm)
        _, c8, c16 = self.stdc_net.out_channels
        self.fuse16 = RelationAwareFusion(c16, prev_channels, channels, **norm)
        self.fuse8 = RelationAwareFusion(c8, channels, channels, **norm)
        self.conv_seg = ConvOut(channels, 64, self.num_classes, **norm)
        self.conv_seg_aux_16 = ConvOut(channels, 64, self.num_classes, **norm)
        self.conv_seg_aux_8 = ConvOut(channels, 64, self.num_classes, **norm)
        for classifier in (self.conv_seg, self.conv_seg_aux_16, self.conv_seg_aux_8):
            init_classifier(classifier.conv_out, self.multi_label)
        self.sr_decoder = SRDecoder(prev_channels, in_channels, **norm)

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Image and deep feature to logits.

        Args:
            inputs: the image ``(B, in_channels, H, W)``, normalised, at full resolution, and the first head's deep feature
                ``(B, prev_channels, h, w)``.

        Returns:
            ``(B, num_classes, H/8, W/8)``, sizes rounded up.
        """
        image, deep = inputs
        return self.cls_seg(self._fuse(self.pyramid.shallow_input(image)[0], deep)[0])

    def _fuse(self, bands: Tensor, deep: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Bands ``(B, 6, H, W)`` to the fused feature and the context at stride 8, and the context at stride 16."""
        _, x8, x16 = self.stdc_net(bands)
        fused, context16 = self.fuse16(x16, deep)
        fused, context8 = self.fuse8(x8, fused)
        return fused, context8, context16

    def loss(
        self, inputs: Sequence[Tensor], batch_data_samples: Sequence[SegDataSample], train_cfg: OptConfigType = None,
    ) -> Losses:
        """Losses ``refine``, ``aux_1``, ``aux_2`` (each ``.<name>``), ``aux_3.recon_losses``, ``aux_4.fa_loss``."""
        image, deep = inputs
        bands, detail = self.pyramid.shallow_input(image)
        fused, context8, context16 = self._fuse(bands, deep)
        losses = add_prefix(self.loss_by_feat(self.cls_seg(fused), batch_data_samples), "refine")
        for name, logits in (("aux_1", self.conv_seg_aux_16(context8)), ("aux_2", self.conv_seg_aux_8(context16))):
            losses |= add_prefix(self.loss_by_feat(logits, batch_data_samples), name, self.aux_weight)
        return losses | self._super_resolution_losses(deep, detail)

    def _super_resolution_losses(self, deep: Tensor, detail: Tensor) -> Losses:
        feature, image = self.sr_decoder(deep)
        feature = self._resize(feature.detach(), deep.shape[2:])  # the affinity loss takes it as a constant
        return {
            "aux_3.recon_losses": self.recon_weight * F.mse_loss(self._resize(image.float(), detail.shape[2:]), detail),
            "aux_4.fa_loss": self.affinity_weight * affinity_loss(deep, feature),
        }
