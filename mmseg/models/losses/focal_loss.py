"""Focal loss for multi-label targets."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from mmseg.models.losses.segmentation_loss import SegmentationLoss, masked_mean
from mmseg.registry import MODELS

__all__ = ["FocalLoss"]


@MODELS.register_module()
class FocalLoss(SegmentationLoss):
    """``-alpha_t (1 - p_t)^gamma log(p_t)``, the mean over elements that are not ignored (Lin et al., ICCV 2017, equation 5).

    ``p_t`` is the probability given to the truth, ``alpha_t`` is alpha for positives and 1 - alpha for negatives.

    Args:
        use_sigmoid: only True is offered.
        gamma: how much easy pixels are played down.
        alpha: weight of the positives in [0, 1], one for all or one a channel.
        loss_weight: factor on the result.
        loss_name: key in the log.

    Raises:
        ValueError: for ``use_sigmoid=False``.
    """

    def __init__(
        self, use_sigmoid: bool = True, gamma: float = 2.0, alpha: float | Sequence[float] = 0.5, loss_weight: float = 1.0,
        loss_name: str = "loss_focal",
    ) -> None:
        if not use_sigmoid:
            raise ValueError("FocalLoss: got use_sigmoid=False, expected True; use CrossEntropyLoss for a softmax head")
        super().__init__(use_sigmoid, loss_weight, loss_name)
        self.gamma = gamma
        self.alpha = alpha

    def compute(self, seg_logit: Tensor, label: Tensor, ignore_index: int) -> Tensor:
        """See :meth:`SegmentationLoss.forward`."""
        valid = (label != ignore_index).to(seg_logit.dtype)
        target = label * valid
        alpha = torch.as_tensor(self.alpha, dtype=seg_logit.dtype, device=seg_logit.device).view(-1, 1, 1)
        probability = seg_logit.sigmoid()
        # Written without 1 - p_t, whose rounding at p_t near 1 would make the gradient of the power infinite for gamma < 1.
        miss = (1 - probability) * target + probability * (1 - target)
        balance = alpha * target + (1 - alpha) * (1 - target)
        cross_entropy = F.binary_cross_entropy_with_logits(seg_logit, target, reduction="none")
        return masked_mean(balance * miss ** self.gamma * cross_entropy, valid)
