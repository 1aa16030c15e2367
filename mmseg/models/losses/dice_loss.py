"""Soft Dice over all channels of a sample together, as in mmsegmentation 1.x."""

from __future__ import annotations

import torch
from torch import Tensor

from mmseg.models.losses.segmentation_loss import SegmentationLoss
from mmseg.models.losses.utils import weight_reduce_loss
from mmseg.registry import MODELS

__all__ = ["DiceLoss"]


@MODELS.register_module()
class DiceLoss(SegmentationLoss):
    """``1 - 2 sum(p t) / (sum(p^2) + eps + sum(t^2) + eps)`` of each sample; arguments and behaviour of mmsegmentation 1.x.

    The sums run over the pixels of all channels together (Milletari et al., 3DV 2016, for one channel), so that the largest
    class decides; for lesions take :class:`LesionDiceLoss`. An ignored pixel of an index map belongs to no class there, and
    its probabilities stay in the denominator; of targets with channels an ignored element counts for nothing.

    Args:
        use_sigmoid: see :class:`SegmentationLoss`.
        activate: take logits; otherwise probabilities.
        reduction: of the samples' losses, see :class:`SegmentationLoss`.
        naive_dice: ``1 - (2 sum(p t) + eps) / (sum(p) + sum(t) + eps)``.
        loss_weight: factor on the result.
        ignore_index: a channel that is left out.
        eps: see above.
        loss_name: key in the log.
    """

    def __init__(
        self, use_sigmoid: bool = True, activate: bool = True, reduction: str = "mean", naive_dice: bool = False,
        loss_weight: float = 1.0, ignore_index: int | None = 255, eps: float = 1e-3, loss_name: str = "loss_dice",
    ) -> None:
        super().__init__(use_sigmoid, reduction, loss_weight, loss_name)
        self.activate, self.naive_dice, self.ignore_index, self.eps = activate, naive_dice, ignore_index, eps

    def compute(
        self, pred: Tensor, target: Tensor, weight: Tensor | None, avg_factor: float | Tensor | None, reduction: str,
        ignore_index: int,
    ) -> Tensor:
        """See :meth:`SegmentationLoss.forward`; ``weight`` is one a sample, ``(B,)``."""
        if self.activate and self.use_sigmoid:
            pred = pred.sigmoid()
        elif self.activate and pred.shape[1] > 1:
            pred = pred.softmax(dim=1)
        classes = torch.arange(pred.shape[1], device=pred.device)
        if target.shape == pred.shape:
            ignored = target == ignore_index
            pred, target = pred.masked_fill(ignored, 0), target.masked_fill(ignored, 0)
        elif target.shape == (pred.shape[0], *pred.shape[2:]):
            target = target[:, None] == classes.view(-1, *[1] * (pred.ndim - 2))
        else:
            raise ValueError(f"DiceLoss: got a label of shape {tuple(target.shape)} for logits of shape {tuple(pred.shape)}, "
                             f"expected {tuple(pred.shape)} or indices {(pred.shape[0], *pred.shape[2:])}")
        kept = classes != self.ignore_index
        p, t = pred[:, kept].flatten(1), target[:, kept].flatten(1).to(pred.dtype)
        overlap = (p * t).sum(1)
        if self.naive_dice:
            dice = (2 * overlap + self.eps) / (p.sum(1) + t.sum(1) + self.eps)
        else:
            dice = 2 * overlap / ((p * p).sum(1) + self.eps + (t * t).sum(1) + self.eps)
        return weight_reduce_loss(1 - dice, weight, reduction, avg_factor)
