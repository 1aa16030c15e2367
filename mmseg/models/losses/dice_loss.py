"""Soft Dice for lesions that are often absent."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from mmseg.models.losses.segmentation_loss import SegmentationLoss, masked_mean
from mmseg.models.losses.soft_counts import soft_counts
from mmseg.registry import MODELS

__all__ = ["DiceLoss"]


@MODELS.register_module()
class DiceLoss(SegmentationLoss):
    """``1 - (2 sum(p t) + smooth) / (sum(p) + sum(t) + smooth)``, averaged over the lesions that are present.

    Soft Dice after Milletari et al. (3DV 2016), with sums in place of their squares. A lesion without a single target pixel
    is left out of the mean: its Dice would be near 1 wherever anything is predicted and drown the others, and the pixel
    loss beside it teaches absence. With no lesion present the loss is zero.

    Args:
        use_sigmoid: see :class:`SegmentationLoss`; with softmax the lesions are the channels from 1 on, 0 is background.
        batch_dice: sum over the whole batch before dividing, so that a lesion of few pixels weighs by its pixels; otherwise
            each sample has a Dice of its own.
        smooth: keeps the quotient gentle where a lesion has few pixels.
        loss_weight: factor on the result.
        loss_name: key in the log.
    """

    def __init__(
        self, use_sigmoid: bool = True, batch_dice: bool = True, smooth: float = 1.0, loss_weight: float = 1.0,
        loss_name: str = "loss_dice",
    ) -> None:
        super().__init__(use_sigmoid, loss_weight, loss_name)
        self.batch_dice = batch_dice
        self.smooth = smooth

    def compute(self, seg_logit: Tensor, label: Tensor, ignore_index: int) -> Tensor:
        """See :meth:`SegmentationLoss.forward`."""
        overlap, predicted, positives = (self._sigmoid_sums if self.use_sigmoid else self._softmax_sums)(
            seg_logit, label, ignore_index)
        if self.batch_dice:
            overlap, predicted, positives = overlap.sum(0), predicted.sum(0), positives.sum(0)
        dice = (2 * overlap + self.smooth) / (predicted + positives + self.smooth)
        return masked_mean(1 - dice, (positives > 0).to(dice.dtype))

    def _sigmoid_sums(self, seg_logit: Tensor, label: Tensor, ignore_index: int) -> tuple[Tensor, Tensor, Tensor]:
        """``sum(p t)``, ``sum(p)`` and ``sum(t)`` of every sample and lesion, ``(B, C)``."""
        counts = soft_counts(seg_logit, label, ignore_index)
        return counts.overlap, counts.predicted, counts.positives

    def _softmax_sums(self, seg_logit: Tensor, label: Tensor, ignore_index: int) -> tuple[Tensor, Tensor, Tensor]:
        """The same of the lesion channels, ``(B, C - 1)``."""
        valid = (label != ignore_index)[:, None].to(seg_logit.dtype)
        index = label.masked_fill(label == ignore_index, 0).long()
        target = F.one_hot(index, seg_logit.shape[1]).movedim(-1, 1)[:, 1:]
        probability = seg_logit.softmax(dim=1)[:, 1:] * valid
        return (probability * target).sum((2, 3)), probability.sum((2, 3)), target.sum((2, 3))
