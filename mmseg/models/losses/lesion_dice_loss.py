"""Soft Dice for lesions that are often absent."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmseg.models.losses.soft_counts import soft_counts
from mmseg.registry import MODELS

__all__ = ["LesionDiceLoss"]


@MODELS.register_module()
class LesionDiceLoss(nn.Module):
    """``1 - (2 sum(p t) + smooth) / (2 alpha sum(p) + 2 (1 - alpha) sum(t) + smooth)``, averaged over lesions that are present.

    With ``alpha=0.5`` it is soft Dice after Milletari et al. (3DV 2016), with sums in place of their squares; otherwise the
    Tversky index of Salehi et al. (MLMI 2017), whose beta is ``1 - alpha``. A lesion without a single target pixel
    is left out of the mean: its Dice would be near 1 wherever anything is predicted and drown the others, and the pixel
    loss beside it teaches absence. With no lesion present the loss is zero.

    Args:
        use_sigmoid: True for multi-label targets, one sigmoid channel a lesion; False for an index map and softmax, where the
            lesions are the channels from 1 on, 0 is background.
        batch_dice: sum over the whole batch before dividing, so that a lesion of few pixels weighs by its pixels; otherwise
            each sample has a Dice of its own.
        smooth: keeps the quotient gentle where a lesion has few pixels.
        alpha: weight of false alarms, 0 to 1, against ``1 - alpha`` of what is missed; below 0.5 more is found.
        loss_weight: factor on the result.
        loss_name: key in the log.

    Raises:
        ValueError: ``alpha`` is not from 0 to 1.
    """

    def __init__(
        self, use_sigmoid: bool = True, batch_dice: bool = True, smooth: float = 1.0, loss_weight: float = 1.0,
        loss_name: str = "loss_dice", alpha: float = 0.5,
    ) -> None:
        super().__init__()
        if not 0 <= alpha <= 1:
            raise ValueError(f"LesionDiceLoss: got alpha={alpha!r}, expected a number from 0 to 1")
        self.use_sigmoid, self.batch_dice, self.smooth, self.alpha = use_sigmoid, batch_dice, smooth, alpha
        self.loss_weight, self.loss_name = loss_weight, loss_name

    def forward(self, seg_logit: Tensor, label: Tensor, weight: None = None, ignore_index: int = 255) -> Tensor:
        """The weighted loss.

        Args:
            seg_logit: logits ``(B, C, H, W)``.
            label: with ``use_sigmoid`` ``(B, C, H, W)`` in {0, 1, ignore_index}; otherwise ``(B, H, W)`` with the channel's
                index or ignore_index.
            weight: accepted where it is None, for heads written for mmsegmentation.
            ignore_index: value of label that counts for nothing.

        Returns:
            a float32 scalar; zero and attached to the graph where there is nothing to learn from.

        Raises:
            ValueError: if the label's shape does not fit the logits', or a weight is given.
        """
        if weight is not None:
            raise ValueError("LesionDiceLoss: got a weight for every pixel, expected None")
        batch, channels, height, width = seg_logit.shape
        expected = (batch, channels, height, width) if self.use_sigmoid else (batch, height, width)
        if tuple(label.shape) != expected:
            raise ValueError(f"LesionDiceLoss: got a label of shape {tuple(label.shape)} for logits of shape "
                             f"{tuple(seg_logit.shape)}, expected {expected} for use_sigmoid={self.use_sigmoid}")
        return self.loss_weight * self._compute(seg_logit.float(), label, ignore_index)

    def _compute(self, seg_logit: Tensor, label: Tensor, ignore_index: int) -> Tensor:
        overlap, predicted, positives = (self._sigmoid_sums if self.use_sigmoid else self._softmax_sums)(
            seg_logit, label, ignore_index)
        if self.batch_dice:
            overlap, predicted, positives = overlap.sum(0), predicted.sum(0), positives.sum(0)
        size = 2 * self.alpha * predicted + 2 * (1 - self.alpha) * positives + self.smooth
        dice = (2 * overlap + self.smooth) / size.clamp(min=torch.finfo(size.dtype).tiny)
        present = (positives > 0).to(dice.dtype)
        return ((1 - dice) * present).sum() / present.sum().clamp(min=1)

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
