"""ISDNet's segmentor: a deep branch on a reduced image, and a refine head on the image itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from mmseg.models.decode_heads.decode_head import Losses, add_prefix
from mmseg.models.segmentors.encoder_decoder import EncoderDecoder, _with_size
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

__all__ = ["EncoderDecoderRefine"]

_SMALLEST = 9
"""Least side of the reduced image, in pixels: below it the deep feature is one cell, which has no variance to normalise by."""

_MODES = ("nearest", "area", "bilinear")


@MODELS.register_module()
class EncoderDecoderRefine(EncoderDecoder):
    """Two heads in a row (ISDNet, Guo et al., CVPR 2022)::

        deep   = decode_head's feature of backbone(reduce(image))
        logits = refine_head(image, deep)

    Args:
        backbone: the deep branch.
        decode_head: two heads: one with a ``deep_feature``, such as ``RefineASPPHead``, and a refine head, such as ``ISDHead``.
        num_stages: only 2 is offered.
        down_ratio: reduction of the deep branch's image; its sides are rounded down and at least 9 px.
        down_mode: filter of the reduction: ``"nearest"`` (ISDNet), ``"area"`` (anti-aliased) or ``"bilinear"``.
        refine_input_ratio: scale of the refine head's image; below 1 it is reduced bilinearly.
        size_divisor: when an image is predicted, its border is repeated below and to the right until its sides are multiples of
            this, and the logits are cut. A layer of stride 2 has a cell at every second pixel, the last one beyond an odd side;
            enlarging then spreads the cells over the side, so that maps of different strides, and the logits, drift apart by up
            to a cell towards the end, which training on crops never shows. ``8 * down_ratio`` is the deepest cell; 1 leaves
            images alone, as ISDNet's authors do.
        is_frequency: accepted for the authors' configs, which all say False.
        **kwargs: arguments of :class:`EncoderDecoder`.

    Raises:
        ValueError: for arguments that are not offered, or a ``down_ratio`` that differs from the refine head's.
    """

    def __init__(
        self, backbone: Any, decode_head: Sequence[Any], num_stages: int = 2, down_ratio: int = 4, down_mode: str = "nearest",
        refine_input_ratio: float = 1.0, is_frequency: bool = False, size_divisor: int = 1, **kwargs: Any,
    ) -> None:
        name = type(self).__name__
        if isinstance(decode_head, Mapping) or num_stages != 2 or len(decode_head) != 2:
            raise ValueError(f"{name}: got num_stages={num_stages} and a decode_head that is "
                             f"{'one head' if isinstance(decode_head, Mapping) else f'{len(decode_head)} heads'}, expected "
                             "num_stages=2 and a list of two heads")
        if is_frequency:
            raise ValueError(f"{name}: got is_frequency=True, expected False: no published model of ISDNet uses it")
        if down_mode not in _MODES:
            raise ValueError(f"{name}: got down_mode={down_mode!r}, expected one of {_MODES}")
        super().__init__(backbone, decode_head, **kwargs)
        configured = getattr(self.refine_head, "down_ratio", None)
        if configured not in (None, down_ratio):
            raise ValueError(f"{name}: got down_ratio={down_ratio}, but its refine head has {configured}; "
                             "give both the same, or leave the head's out")
        if size_divisor < 1:
            raise ValueError(f"{name}: got size_divisor={size_divisor}, expected 1 or more")
        self.down_ratio, self.down_mode, self.refine_input_ratio = down_ratio, down_mode, refine_input_ratio
        self.size_divisor = size_divisor

    _side = "auxiliary"  # aux_1 and so on are the refine head's

    def _build_heads(self, decode_head: Any) -> None:
        first, second = decode_head
        self.decode_head = MODELS.build(first)
        if not hasattr(self.decode_head, "deep_feature"):
            raise ValueError(f"{type(self).__name__}: got {type(self.decode_head).__name__} as the first decode_head, expected "
                             "one with a deep_feature, such as RefineASPPHead")
        self.refine_head = MODELS.build(second)
        self.multi_label = self.refine_head.multi_label
        self.num_classes = self.out_channels = self.refine_head.num_classes

    def reduce(self, inputs: Tensor) -> Tensor:
        """The deep branch's image: ``(B, 3, H, W)`` to ``(B, 3, max(H // down_ratio, 9), max(W // down_ratio, 9))``."""
        height, width = (max(side // self.down_ratio, _SMALLEST) for side in inputs.shape[2:])
        align = {"align_corners": False} if self.down_mode == "bilinear" else {}
        return F.interpolate(inputs, size=(height, width), mode=self.down_mode, **align)

    def _refine_image(self, inputs: Tensor) -> Tensor:
        if self.refine_input_ratio == 1:
            return inputs
        return F.interpolate(inputs, scale_factor=self.refine_input_ratio, mode="bilinear", align_corners=False)

    def _refine_inputs(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """What the refine head takes: the image and the deep feature."""
        return self._refine_image(inputs), self.decode_head.deep_feature(self.extract_feat(self.reduce(inputs)))

    def whole_cells(self, inputs: Tensor) -> Tensor:
        """Images ``(B, 3, H, W)`` with sides that are multiples of ``size_divisor``, their border repeated."""
        height, width = inputs.shape[2:]
        return F.pad(inputs, (0, -width % self.size_divisor, 0, -height % self.size_divisor), mode="replicate")

    def encode_decode(self, inputs: Tensor, batch_img_metas: Sequence[Mapping[str, Any]] | None = None) -> Tensor:
        """Images ``(B, 3, H, W)`` to logits ``(B, num_classes, H, W)`` in float32; what only training uses does not run."""
        height, width = inputs.shape[2:]
        whole = self.whole_cells(inputs)
        logits = self.refine_head.predict(self._refine_inputs(whole), _with_size(whole, batch_img_metas), self.test_cfg)
        return logits.narrow(-2, 0, height).narrow(-1, 0, width)

    def loss(self, inputs: Tensor, data_samples: Sequence[SegDataSample]) -> Losses:
        """Losses ``decode.*`` of the first head, ``refine.*`` and ``aux_<n>.*`` of the second, and of an auxiliary head ``aux.*``
        (several: ``auxiliary_0.*``, ...)."""
        features = self.extract_feat(self.reduce(inputs))
        decode_losses, deep = self.decode_head.loss(features, data_samples, self.train_cfg)
        refine_losses = self.refine_head.loss((self._refine_image(inputs), deep), data_samples, self.train_cfg)
        losses = add_prefix(decode_losses, "decode") | refine_losses
        return losses | self._auxiliary_head_forward_train(features, data_samples)
