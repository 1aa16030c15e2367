"""SDC-Net's refine head: DSWM stages from coarse to fine, each with its own supervision. Our own design."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from mmseg.models.backbones.shallow_net import ShallowNet
from mmseg.models.decode_heads.decode_head import BaseDecodeHead, Losses, add_prefix, init_classifier
from mmseg.models.defaults import BN, ConfigType, OptConfigType
from mmseg.models.layers import DSWM, ConvOut, LaplacianPyramid
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

__all__ = ["DSWMHead"]


@MODELS.register_module()
class DSWMHead(BaseDecodeHead):
    """Let detail and context collaborate at strides 16, 8 and (SDC-Net+) 4::

        x4, x8, x16 = ShallowNet(two high bands of the image's Laplacian pyramid)
        f_1         = DSWM(x16, deep)                       stride 16
        f_2         = DSWM(x8, f_1)                         stride 8
        f_3         = DSWM(x4, f_2)                         stride 4, with three entries in fuse_channels
        logits      = conv1x1(ReLU(BN(conv3x3(dropout(f_last)))))
        aux_i       = conv1x1(f_i)                          every stage but the last, in training only

    Source: our own design under the name of SDC-Net; pyramid and ShallowNet are ISDNet's (Guo et al., CVPR 2022).

    Args:
        in_channels: image channels.
        prev_channels: channels of the deep feature.
        fuse_channels: channels of each stage; two stages for SDC-Net, three for SDC-Net+.
        aux_weight: factor on the losses of the auxiliary classifiers.
        norm_cfg: normalisation.
        shallow_init_cfg: initialisation of the ShallowNet.
        **kwargs: arguments of :class:`BaseDecodeHead` but ``channels``, which is the last of ``fuse_channels``.

    Raises:
        ValueError: for fewer than one or more than three stages.
    """

    def __init__(
        self, in_channels: int = 3, prev_channels: int = 128, fuse_channels: Sequence[int] = (128, 128),
        aux_weight: float = 0.4, norm_cfg: ConfigType = BN,
        shallow_init_cfg: OptConfigType = None, **kwargs: Any,
    ) -> None:
        if not 1 <= len(fuse_channels) <= 3:
            raise ValueError(f"DSWMHead: got fuse_channels={tuple(fuse_channels)}, expected one to three entries, for strides "
                             "16, 8 and 4")
        super().__init__(in_channels, fuse_channels[-1], norm_cfg=norm_cfg, **kwargs)
        self.aux_weight = aux_weight
        norm: dict[str, Any] = {"norm_cfg": norm_cfg, "act_cfg": self.act_cfg}
        self.pyramid = LaplacianPyramid(in_channels)
        self.shallow_net = ShallowNet(2 * in_channels, init_cfg=shallow_init_cfg, **norm)
        self.stages = nn.ModuleList()
        before = prev_channels
        for shallow, channels in zip(self.shallow_net.out_channels[::-1], fuse_channels, strict=False):
            self.stages.append(DSWM(shallow, before, channels, **norm))
            before = channels
        self.aux_classifiers = nn.ModuleList([
            init_classifier(nn.Conv2d(channels, self.num_classes, 1), self.multi_label) for channels in fuse_channels[:-1]])
        classifier = ConvOut(self.channels, 64, self.num_classes, **norm)
        init_classifier(classifier.conv_out, self.multi_label)
        self.conv_seg = classifier

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Image and deep feature to logits.

        Args:
            inputs: the image ``(B, in_channels, H, W)``, normalised, at full resolution, and the first head's deep feature
                ``(B, prev_channels, h, w)``.

        Returns:
            ``(B, num_classes, H/s, W/s)`` at the stride s of the last stage, sizes rounded up.
        """
        return self.cls_seg(self._fuse(*inputs)[-1])

    def branch_weights(self, inputs: Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
        """Where detail or context decided.

        Args:
            inputs: as in :meth:`forward`.

        Returns:
            for each stage, coarse to fine, the weights ``(w_s, w_d)`` of the shallow and the deep branch, float32
            ``(B, 1, H/stride, W/stride)`` that add up to 1.
        """
        image, deep = inputs
        weights = []
        for stage, shallow in zip(self.stages, self._shallow(image), strict=False):
            weights.append(stage.weights(shallow, deep))  # type: ignore[operator]
            deep = stage(shallow, deep)
        return weights

    def _shallow(self, image: Tensor) -> tuple[Tensor, ...]:
        """Shallow features, coarse to fine."""
        return self.shallow_net(self.pyramid.shallow_input(image)[0])[::-1]

    def _fuse(self, image: Tensor, deep: Tensor) -> list[Tensor]:
        """The fused feature of every stage, coarse to fine."""
        fused = []
        for stage, shallow in zip(self.stages, self._shallow(image), strict=False):
            deep = stage(shallow, deep)
            fused.append(deep)
        return fused

    def loss(
        self, inputs: Sequence[Tensor], batch_data_samples: Sequence[SegDataSample], train_cfg: OptConfigType = None,
    ) -> Losses:
        """Losses ``refine.*`` (last stage), ``aux_1.*`` (stride 16), ``aux_2.*`` (stride 8); inputs as in :meth:`forward`."""
        fused = self._fuse(*inputs)
        losses = add_prefix(self.loss_by_feat(self.cls_seg(fused[-1]), batch_data_samples), "refine")
        for i, (classifier, feature) in enumerate(zip(self.aux_classifiers, fused[:-1], strict=True), start=1):
            losses |= add_prefix(self.loss_by_feat(classifier(feature), batch_data_samples), f"aux_{i}", self.aux_weight)
        return losses
