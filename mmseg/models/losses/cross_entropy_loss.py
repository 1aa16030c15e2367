"""Cross-entropy: softmax over an index map, or one binary cross-entropy a channel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mmseg.models.losses.segmentation_loss import SegmentationLoss, channel_targets, pixel_weights
from mmseg.models.losses.soft_counts import soft_counts
from mmseg.models.losses.utils import constant, get_class_weight, weight_reduce_loss
from mmseg.registry import MODELS

__all__ = ["CrossEntropyLoss"]


@MODELS.register_module()
class CrossEntropyLoss(SegmentationLoss):
    """``-log softmax(x)[label]``, or with ``use_sigmoid`` ``-w t log p - (1 - t) log(1 - p)``, ``p = sigmoid(x)``.

    Arguments and behaviour of mmsegmentation 1.x, and ``pos_weight`` and ``channel_weight``. The mean is over all elements,
    ignored ones included, unless ``avg_non_ignore``; that of a softmax with ``class_weight`` is over the weights of the labels.

    Args:
        use_sigmoid: see :class:`SegmentationLoss`.
        use_mask: logits ``(N, C, H, W)`` of which ``weight``, N indices, picks one channel each, to be the mask ``label``
            ``(N, H, W)``; with ``ignore_index=None``.
        reduction: see :class:`SegmentationLoss`.
        class_weight: a factor for each channel, or the file that holds them (``.npy``, JSON): on the pixels of that
            class; with ``use_sigmoid`` it is ``pos_weight``, as there.
        loss_weight: factor on the result.
        loss_name: key in the log.
        avg_non_ignore: divide by the number of elements that are not ignored.
        pos_weight: w, factor on the positive term, one for all or one a channel; only with ``use_sigmoid``.
        channel_weight: factors on both terms, one a channel, so that a lesion of few pixels counts as much as one of many; the
            mean is still over the elements, not over the factors. Only with ``use_sigmoid``.

    Raises:
        ValueError: for ``pos_weight`` or ``channel_weight`` without ``use_sigmoid``, ``pos_weight`` beside ``class_weight``, or
            ``use_sigmoid`` with ``use_mask``.
    """

    def __init__(
        self, use_sigmoid: bool = False, use_mask: bool = False, reduction: str = "mean",
        class_weight: Sequence[float] | str | None = None, loss_weight: float = 1.0, loss_name: str = "loss_ce",
        avg_non_ignore: bool = False, *, pos_weight: float | Sequence[float] | None = None,
        channel_weight: Sequence[float] | None = None,
    ) -> None:
        super().__init__(use_sigmoid, reduction, loss_weight, loss_name)
        if use_sigmoid and use_mask:
            raise ValueError("CrossEntropyLoss: got use_sigmoid=True and use_mask=True, expected one of them at most")
        if pos_weight is not None and not use_sigmoid:
            raise ValueError("CrossEntropyLoss: pos_weight needs use_sigmoid=True; for softmax give class_weight instead")
        if pos_weight is not None and class_weight is not None:
            raise ValueError("CrossEntropyLoss: got class_weight and pos_weight, expected one: with use_sigmoid=True they are "
                             "the same")
        if channel_weight is not None and not use_sigmoid:
            raise ValueError("CrossEntropyLoss: channel_weight needs use_sigmoid=True; for softmax give class_weight instead")
        self.channel_weight = channel_weight
        self.use_mask, self.avg_non_ignore = use_mask, avg_non_ignore
        self.class_weight = get_class_weight(class_weight)
        self.pos_weight = pos_weight if pos_weight is not None or not use_sigmoid else self.class_weight

    def forward(  # type: ignore[override]
        self, cls_score: Tensor, label: Tensor, weight: Tensor | None = None, avg_factor: float | Tensor | None = None,
        reduction_override: str | None = None, ignore_index: int | None = -100, **kwargs: Any,
    ) -> Tensor:
        """See :meth:`SegmentationLoss.forward`; ``weight`` is one a pixel ``(B, H, W)``, or with sigmoid one an element."""
        return super().forward(
            cls_score, label, weight, avg_factor, reduction_override, ignore_index, **kwargs)  # type: ignore[arg-type]

    def compute(
        self, pred: Tensor, target: Tensor, weight: Tensor | None, avg_factor: float | Tensor | None, reduction: str,
        ignore_index: int,
    ) -> Tensor:
        """See :meth:`SegmentationLoss.forward`."""
        if self.use_mask:
            return self._masks(pred, target, weight, avg_factor, reduction, ignore_index)
        if not self.use_sigmoid:
            return self._softmax(pred, target, weight, avg_factor, reduction, ignore_index)
        if weight is None and reduction != "none" and pred.shape == target.shape and pred.ndim == 4 and not target.is_signed():
            return self._counted(pred, target, avg_factor, reduction, ignore_index)
        targets, valid = channel_targets("CrossEntropyLoss", pred, target, ignore_index)
        pos_weight = None if self.pos_weight is None else self._per_channel(self.pos_weight, pred)
        values = F.binary_cross_entropy_with_logits(pred, targets, pos_weight=pos_weight, reduction="none")
        if self.channel_weight is not None:
            values = values * self._per_channel(self.channel_weight, pred)
        weights = valid if weight is None else pixel_weights(weight, pred) * valid
        if reduction == "mean" and avg_factor is None and self.avg_non_ignore:
            avg_factor = valid.expand_as(pred).sum()
        squeezed = pred.shape[1] == 1 and target.ndim < pred.ndim  # one channel for an index map gives elements of its shape
        return weight_reduce_loss((values * weights).squeeze(1) if squeezed else values * weights, None, reduction, avg_factor)

    def _softmax(
        self, pred: Tensor, label: Tensor, weight: Tensor | None, avg_factor: float | Tensor | None, reduction: str,
        ignore_index: int,
    ) -> Tensor:
        if label.shape != (pred.shape[0], *pred.shape[2:]):
            raise ValueError(f"CrossEntropyLoss: got a label of shape {tuple(label.shape)} for logits of shape "
                             f"{tuple(pred.shape)}, expected indices {(pred.shape[0], *pred.shape[2:])} for use_sigmoid=False")
        class_weight = None if self.class_weight is None else constant(self.class_weight, pred)
        # Summed in one go on a GPU it has no repeatable form, for --deterministic; element by element it has.
        summed = weight is None and reduction != "none" and not torch.are_deterministic_algorithms_enabled()
        loss = F.cross_entropy(
            pred, label.long(), class_weight, ignore_index=ignore_index, reduction="sum" if summed else "none")
        if reduction == "mean" and avg_factor is None:
            valid = label != ignore_index
            if class_weight is not None:
                avg_factor = (class_weight[label.masked_fill(~valid, 0).long()] * valid).sum()
            else:
                avg_factor = valid.sum() if self.avg_non_ignore else label.numel()
        return weight_reduce_loss(loss, None if weight is None else weight.float(), reduction, avg_factor)

    def _counted(
        self, pred: Tensor, label: Tensor, avg_factor: float | Tensor | None, reduction: str, ignore_index: int
    ) -> Tensor:
        """The binary form from the sums that the other losses of a head need, too."""
        counts = soft_counts(pred, label, ignore_index)
        missed = counts.missed if self.pos_weight is None else counts.missed * constant(self.pos_weight, pred)
        if reduction == "mean" and avg_factor is None:
            avg_factor = counts.valid.sum().clamp(min=1) if self.avg_non_ignore else pred.numel()
        values = missed + counts.alarmed
        if self.channel_weight is not None:
            values = values * constant(self.channel_weight, pred)
        return weight_reduce_loss(values.sum(), None, reduction, avg_factor)

    def _masks(
        self, pred: Tensor, target: Tensor, chosen: Tensor | None, avg_factor: Any, reduction: str, ignore_index: int | None
    ) -> Tensor:
        if chosen is None or avg_factor is not None or reduction != "mean" or ignore_index is not None:
            raise ValueError("CrossEntropyLoss: use_mask=True needs weight (the channel of each mask), reduction='mean', and "
                             "None for avg_factor and ignore_index")
        masks = pred[torch.arange(len(pred), device=pred.device), chosen]
        class_weight = None if self.class_weight is None else constant(self.class_weight, pred)
        return F.binary_cross_entropy_with_logits(masks, target.to(pred.dtype), class_weight)[None]

    def _per_channel(self, values: float | Sequence[float], pred: Tensor) -> Tensor:
        return constant(values, pred).view(-1, *[1] * (pred.ndim - 2))
