"""Soft Dice for lesions that are often absent."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from mmseg.models.losses.segmentation_loss import SegmentationLoss, masked_mean
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
        probability, target, valid = self._lesions(seg_logit, label, ignore_index)
        dims = (0, 2, 3) if self.batch_dice else (2, 3)
        probability = probability * valid
        positives = target.sum(dims)
        overlap = (probability * target).sum(dims)
        dice = (2 * overlap + self.smooth) / (probability.sum(dims) + positives + self.smooth)
        return masked_mean(1 - dice, (positives > 0).to(dice.dtype))

    def _lesions(self, seg_logit: Tensor, label: Tensor, ignore_index: int) -> tuple[Tensor, Tensor, Tensor]:
        """Probabilities, targets (0 where ignored) and validity of the lesion channels, each broadcastable to the first."""
        valid = (label != ignore_index).to(seg_logit.dtype)
        if self.use_sigmoid:
            return seg_logit.sigmoid(), label * valid, valid
        index = label.masked_fill(label == ignore_index, 0).long()
        target = F.one_hot(index, seg_logit.shape[1]).movedim(-1, 1)[:, 1:]
        return seg_logit.softmax(dim=1)[:, 1:], target.to(seg_logit.dtype), valid[:, None]
