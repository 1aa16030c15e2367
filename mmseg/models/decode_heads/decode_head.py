"""The base of every head: which features it takes, its classifier, and its losses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmseg.models.backbones.pretrained import in_scope
from mmseg.models.defaults import PRIOR, RELU, ConfigType, OptConfigType
from mmseg.models.layers import resize_by_products
from mmseg.models.losses import SegmentationLoss
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

__all__ = ["BaseDecodeHead", "add_prefix", "init_classifier"]

Losses = dict[str, Tensor]


class BaseDecodeHead(BaseModule):
    """Base of the heads; arguments as in mmsegmentation 1.x, and ``multi_label``.

    A subclass defines ``_forward_feature``, or ``forward`` altogether.

    Args:
        in_channels: channels of the feature taken, or one number a feature with ``input_transform``.
        channels: channels before the classifier.
        num_classes: output channels: with ``multi_label`` the lesions, otherwise background and lesions.
        out_channels: accepted where it says the same as ``num_classes``.
        multi_label: one sigmoid channel a lesion, targets ``(4, H, W)``; otherwise softmax, targets ``(1, H, W)``.
        dropout_ratio: channel dropout before the classifier; none for 0 and below.
        conv_cfg: convolution.
        norm_cfg: normalisation.
        act_cfg: activation.
        in_index: which of the backbone's features.
        input_transform: None takes one feature, ``"multiple_select"`` a list, ``"resize_concat"`` a list enlarged to the
            first one's size and concatenated.
        loss_decode: a loss or a list of losses; default cross-entropy for the kind of targets.
        ignore_index: value of target pixels that count for nothing.
        sampler: accepted where it is None: every pixel counts.
        align_corners: of every bilinear enlargement.
        init_cfg: mmengine's initialisation.

    Raises:
        ValueError: if a loss is for the other kind of targets, or the inputs do not fit ``input_transform``.
    """

    def __init__(
        self, in_channels: int | Sequence[int], channels: int, *, num_classes: int, out_channels: int | None = None,
        multi_label: bool = False, dropout_ratio: float = 0.1, conv_cfg: OptConfigType = None,
        norm_cfg: OptConfigType = None, act_cfg: ConfigType = RELU,
        in_index: int | Sequence[int] = -1, input_transform: str | None = None,
        loss_decode: ConfigType | Sequence[ConfigType] | None = None, ignore_index: int = 255, sampler: None = None,
        align_corners: bool = False, init_cfg: OptConfigType = None,
    ) -> None:
        super().__init__(in_scope(init_cfg))
        if out_channels not in (None, num_classes) or sampler is not None:
            raise ValueError(f"{type(self).__name__}: got out_channels={out_channels}, sampler={sampler}, expected {num_classes} "
                             "(num_classes) or None, and None")
        self.out_channels, self.sampler = num_classes, sampler
        self.input_transform, self.in_index = input_transform, in_index
        self.in_channels = self._check_inputs(in_channels)
        self.channels, self.num_classes, self.multi_label = channels, num_classes, multi_label
        self.conv_cfg, self.norm_cfg, self.act_cfg = conv_cfg, norm_cfg, act_cfg
        self.ignore_index, self.align_corners = ignore_index, align_corners
        self.loss_decode = self._build_losses(loss_decode)
        self.dropout = nn.Dropout2d(max(dropout_ratio, 0.0))
        self.conv_seg: nn.Module = init_classifier(nn.Conv2d(channels, num_classes, kernel_size=1), multi_label)

    def _check_inputs(self, in_channels: int | Sequence[int]) -> int | Sequence[int]:
        name = type(self).__name__
        if self.input_transform not in (None, "multiple_select", "resize_concat"):
            raise ValueError(f"{name}: got input_transform={self.input_transform!r}, expected None, 'multiple_select' or "
                             "'resize_concat'")
        if self.input_transform is None:
            if not isinstance(in_channels, int) or not isinstance(self.in_index, int):
                raise ValueError(f"{name}: got in_channels={in_channels}, in_index={self.in_index}, expected one integer each "
                                 "without an input_transform")
            return in_channels
        if isinstance(in_channels, int) or isinstance(self.in_index, int) or len(in_channels) != len(self.in_index):
            raise ValueError(f"{name}: got in_channels={in_channels}, in_index={self.in_index}, expected two lists of equal "
                             f"length with input_transform={self.input_transform!r}")
        return sum(in_channels) if self.input_transform == "resize_concat" else in_channels

    def _build_losses(self, configs: ConfigType | Sequence[ConfigType] | None) -> nn.ModuleList:
        if configs is None:
            configs = {"type": "CrossEntropyLoss", "use_sigmoid": self.multi_label, "avg_non_ignore": self.multi_label}
        losses = [MODELS.build(config) for config in ([configs] if isinstance(configs, Mapping) else configs)]
        for loss in losses:
            if not self.multi_label and isinstance(loss, SegmentationLoss):
                continue  # of an index map these make a question a channel, as in mmsegmentation
            if getattr(loss, "use_sigmoid", self.multi_label) != self.multi_label:
                raise ValueError(
                    f"{type(self).__name__}: multi_label={self.multi_label} but its loss {type(loss).__name__} has "
                    f"use_sigmoid={loss.use_sigmoid}. Fix: set use_sigmoid={self.multi_label} in loss_decode, or "
                    f"multi_label={loss.use_sigmoid} (and num_classes) in the head")
        return nn.ModuleList(losses)

    def _transform_inputs(self, inputs: Sequence[Tensor]) -> Any:
        if isinstance(self.in_index, int):
            return inputs[self.in_index]
        features = [inputs[i] for i in self.in_index]
        if self.input_transform == "multiple_select":
            return features
        return torch.cat([self._resize(feature, features[0].shape[2:]) for feature in features], dim=1)

    def _resize(self, x: Tensor, size: Sequence[int]) -> Tensor:
        if tuple(x.shape[2:]) == tuple(size):
            return x
        if x.is_cuda and x.requires_grad and x.dtype == torch.float32:
            return resize_by_products(x, size, self.align_corners)
        return F.interpolate(x, size=tuple(size), mode="bilinear", align_corners=self.align_corners)

    def _forward_feature(self, inputs: Sequence[Tensor]) -> Tensor:
        """From the backbone's features to ``(B, channels, h, w)`` before the classifier."""
        raise NotImplementedError

    def cls_seg(self, feature: Tensor) -> Tensor:
        """Dropout and classify: ``(B, channels, h, w)`` to logits ``(B, num_classes, h, w)``."""
        return self.conv_seg(self.dropout(feature))

    def forward(self, inputs: Sequence[Tensor]) -> Any:
        """The backbone's features to logits ``(B, num_classes, h, w)``."""
        return self.cls_seg(self._forward_feature(inputs))

    def loss(self, inputs: Sequence[Tensor], batch_data_samples: Sequence[SegDataSample], train_cfg: OptConfigType = None) -> Any:
        """Losses by name; arguments as :meth:`forward`, and the samples with their ``gt_sem_seg``."""
        return self.loss_by_feat(self(inputs), batch_data_samples)

    def predict(
        self, inputs: Sequence[Tensor], batch_img_metas: Sequence[Mapping[str, Any]], test_cfg: OptConfigType = None,
    ) -> Tensor:
        """Logits at the size of the input, ``batch_img_metas[0]["pad_shape"]`` or, without one, ``["img_shape"]``."""
        return self.predict_by_feat(self(inputs), batch_img_metas)

    def predict_by_feat(self, seg_logits: Tensor, batch_img_metas: Sequence[Mapping[str, Any]]) -> Tensor:
        """Enlarge logits bilinearly to the size of the input; in float32."""
        meta = batch_img_metas[0]
        return self._resize(seg_logits.float(), (meta.get("pad_shape") or meta["img_shape"])[:2])

    def _stack_batch_gt(self, batch_data_samples: Sequence[SegDataSample]) -> Tensor:
        """The targets of a batch, ``(B, 4, H, W)`` with ``multi_label``, otherwise ``(B, 1, H, W)``."""
        return torch.stack([sample.gt_sem_seg.data for sample in batch_data_samples])

    def loss_by_feat(self, seg_logits: Tensor, batch_data_samples: Sequence[SegDataSample]) -> Losses:
        """Every loss of ``loss_decode`` on logits enlarged to the targets' size.

        Args:
            seg_logits: ``(B, num_classes, h, w)``.
            batch_data_samples: each with ``gt_sem_seg``, see :class:`SegDataSample`.

        Returns:
            scalars by ``loss_name``; losses of one name are added up.
        """
        target = self._stack_batch_gt(batch_data_samples)
        if not self.multi_label:
            target = target.squeeze(1)
        seg_logits = self._resize(seg_logits.float().contiguous(), target.shape[-2:])
        losses: Losses = {}
        for loss in self.loss_decode:
            name, value = str(loss.loss_name), loss(seg_logits, target, ignore_index=self.ignore_index)
            losses[name] = losses[name] + value if name in losses else value
        return losses


def init_classifier(conv: nn.Conv2d, multi_label: bool) -> nn.Conv2d:
    """Initialise a classifier: small weights; bias zero, or for sigmoid channels the logit of :data:`PRIOR`."""
    nn.init.normal_(conv.weight, std=0.01)
    bias = torch.logit(torch.tensor(PRIOR)).item() if multi_label else 0.0
    nn.init.constant_(conv.bias, bias)  # type: ignore[arg-type]
    return conv


def add_prefix(losses: Mapping[str, Tensor], prefix: str, weight: float = 1.0) -> Losses:
    """``{"loss": x}`` to ``{"prefix.loss": weight * x}``."""
    return {f"{prefix}.{name}": weight * value for name, value in losses.items()}
