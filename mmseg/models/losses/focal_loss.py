"""Focal loss, one binary question a channel."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from mmseg.models.losses.segmentation_loss import SegmentationLoss, channel_targets, pixel_weights
from mmseg.models.losses.utils import constant, weight_reduce_loss
from mmseg.registry import MODELS

__all__ = ["FocalLoss"]


@MODELS.register_module()
class FocalLoss(SegmentationLoss):
    """``-alpha_t (1 - p_t)^gamma log(p_t)`` (Lin et al., ICCV 2017, equation 5); arguments and behaviour of mmsegmentation 1.x.

    ``p_t`` is the probability given to the truth, ``alpha_t`` is alpha for positives and 1 - alpha for negatives. The mean is
    over all elements, ignored ones (whose loss is 0) included. Targets are indices, or 0 and 1 for every channel.

    Args:
        use_sigmoid: only True is offered.
        gamma: how much easy pixels are played down.
        alpha: weight of the positives in [0, 1], one for all or one a channel.
        reduction: see :class:`SegmentationLoss`.
        class_weight: a factor for each channel.
        loss_weight: factor on the result.
        loss_name: key in the log.

    Raises:
        ValueError: for ``use_sigmoid=False``.
    """

    def __init__(
        self, use_sigmoid: bool = True, gamma: float = 2.0, alpha: float | Sequence[float] = 0.5, reduction: str = "mean",
        class_weight: Sequence[float] | None = None, loss_weight: float = 1.0, loss_name: str = "loss_focal",
    ) -> None:
        if not use_sigmoid:
            raise ValueError("FocalLoss: got use_sigmoid=False, expected True; use CrossEntropyLoss for a softmax head")
        super().__init__(use_sigmoid, reduction, loss_weight, loss_name)
        self.gamma, self.alpha, self.class_weight = gamma, alpha, class_weight

    def compute(
        self, pred: Tensor, target: Tensor, weight: Tensor | None, avg_factor: float | Tensor | None, reduction: str,
        ignore_index: int,
    ) -> Tensor:
        """See :meth:`SegmentationLoss.forward`; ``weight`` is one a pixel or one an element."""
        target, valid = channel_targets("FocalLoss", pred, target, ignore_index)
        channel = (-1, *[1] * (pred.ndim - 2))
        alpha = constant(self.alpha, pred).view(channel)
        probability = pred.sigmoid()
        # The power's gradient is infinite at 0 for gamma < 1, and sigmoid reaches 0 and 1.
        miss = ((1 - probability) * target + probability * (1 - target)).clamp(min=torch.finfo(pred.dtype).tiny)
        balance = alpha * target + (1 - alpha) * (1 - target)
        cross_entropy = F.binary_cross_entropy_with_logits(pred, target, reduction="none")
        values = balance * miss ** self.gamma * cross_entropy * valid
        if self.class_weight is not None:
            values = values * constant(self.class_weight, pred).view(channel)
        return weight_reduce_loss(values, None if weight is None else pixel_weights(weight, pred), reduction, avg_factor)
