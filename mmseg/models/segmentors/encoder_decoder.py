"""The plain segmentor: backbone, neck, head."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from mmseg.models.decode_heads.decode_head import Losses, add_prefix
from mmseg.models.defaults import ConfigType, OptConfigType
from mmseg.models.segmentors.base import BaseSegmentor
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

__all__ = ["EncoderDecoder"]


@MODELS.register_module()
class EncoderDecoder(BaseSegmentor):
    """A backbone's features to logits by one head, helped in training by auxiliary heads; arguments as in mmsegmentation 1.x.

    Args:
        backbone: images to a tuple of features.
        decode_head: features to logits.
        neck: features to features.
        auxiliary_head: one more head or several, used in training only.
        train_cfg: handed to the heads.
        test_cfg: see :class:`BaseSegmentor`.
        data_preprocessor: see :class:`BaseSegmentor`.
        pretrained: path of the backbone's weights; short for its ``init_cfg=dict(type='Pretrained', checkpoint=...)``.
        init_cfg: mmengine's initialisation.

    Raises:
        ValueError: if ``test_cfg`` does not fit together, or not the head.
    """

    def __init__(
        self, backbone: ConfigType, decode_head: Any, neck: OptConfigType = None,
        auxiliary_head: ConfigType | Sequence[ConfigType] | None = None, train_cfg: OptConfigType = None,
        test_cfg: OptConfigType = None, data_preprocessor: ConfigType | nn.Module | None = None, pretrained: str | None = None,
        init_cfg: OptConfigType = None,
    ) -> None:
        super().__init__(test_cfg, data_preprocessor, init_cfg)
        if pretrained is not None:
            backbone = {**backbone, "init_cfg": {"type": "Pretrained", "checkpoint": pretrained}}
        self.train_cfg = train_cfg
        self.backbone = MODELS.build(backbone)
        self.neck = MODELS.build(neck) if neck is not None else None
        self._build_heads(decode_head)
        if self.multi_label and self.is_argmax:
            raise ValueError("test_cfg.thresholds: got None, expected numbers from 0 to 1 for a head with multi_label=True")
        if not self.is_argmax:  # a wrong number is told now, not when the first checkpoint is written
            lesions = self.num_classes if self.multi_label else self.num_classes - 1
            self.lesion_thresholds([str(channel) for channel in range(lesions)])
        self.auxiliary_head: Any = _build_auxiliary(auxiliary_head)

    _side = "aux"
    """Prefix of the losses of several auxiliary heads."""

    def _build_heads(self, decode_head: Any) -> None:
        self.decode_head = MODELS.build(decode_head)
        self.multi_label = self.decode_head.multi_label
        self.num_classes = self.out_channels = self.decode_head.num_classes
        self.align_corners = getattr(self.decode_head, "align_corners", False)

    def extract_feat(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """Images ``(B, 3, H, W)`` to the features of backbone and neck."""
        features = self.backbone(inputs)
        return features if self.neck is None else self.neck(features)

    def encode_decode(self, inputs: Tensor, batch_img_metas: Sequence[Mapping[str, Any]] | None = None) -> Tensor:
        """Images ``(B, 3, H, W)`` to logits ``(B, num_classes, H, W)`` in float32."""
        return self.decode_head.predict(self.extract_feat(inputs), _with_size(inputs, batch_img_metas), self.test_cfg)

    def loss(self, inputs: Tensor, data_samples: Sequence[SegDataSample]) -> Losses:
        """Losses ``decode.*`` and, with auxiliary heads, ``aux.*`` (several: ``aux_0.*``, ...)."""
        features = self.extract_feat(inputs)
        losses = self._decode_head_forward_train(features, data_samples)
        return losses | self._auxiliary_head_forward_train(features, data_samples)

    def _decode_head_forward_train(self, features: Sequence[Tensor], data_samples: Sequence[SegDataSample]) -> Losses:
        return add_prefix(self.decode_head.loss(features, data_samples, self.train_cfg), "decode")

    def _auxiliary_head_forward_train(self, features: Sequence[Tensor], data_samples: Sequence[SegDataSample]) -> Losses:
        losses: Losses = {}
        if isinstance(self.auxiliary_head, nn.ModuleList):
            for i, head in enumerate(self.auxiliary_head):
                prefix = f"{self._side}_{i}"
                losses |= add_prefix(head.loss(features, data_samples, self.train_cfg), prefix)  # type: ignore[operator]
        elif self.auxiliary_head is not None:
            losses = add_prefix(self.auxiliary_head.loss(features, data_samples, self.train_cfg), "aux")
        return losses


def _build_auxiliary(configs: ConfigType | Sequence[ConfigType] | None) -> nn.Module | None:
    if configs is None:
        return None
    if isinstance(configs, Mapping):
        return MODELS.build(configs)
    return nn.ModuleList([MODELS.build(config) for config in configs])


def _with_size(inputs: Tensor, metas: Sequence[Mapping[str, Any]] | None) -> list[dict[str, Any]]:
    """The meta information with the size of this very input (a crop, a padded batch) as ``pad_shape``."""
    return [{**meta, "pad_shape": tuple(inputs.shape[2:])} for meta in (metas or [{}])]
