"""The Dice loss of mmsegmentation 0.x, a mean over classes."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

from mmseg.models.losses import SegmentationLoss, weight_reduce_loss
from mmseg.models.losses.utils import get_class_weight
from mmseg.registry import MODELS

__all__ = ["LegacyDiceLoss"]


@MODELS.register_module()
class LegacyDiceLoss(SegmentationLoss):
    """``1 - (2 sum(p t) + smooth) / (sum(p^exponent + t^exponent) + smooth)`` of each class of each sample, ``p`` a softmax.

    The classes are added up and divided by their number, also where ``ignore_index`` left one out. An ignored pixel counts in
    no numerator; in the denominators it counts as one of the last class.

    Args:
        smooth: see above.
        exponent: see above.
        reduction: of the samples' losses, see :class:`~mmseg.models.losses.SegmentationLoss`.
        class_weight: a factor for each class, or the file that holds them.
        loss_weight: factor on the result.
        ignore_index: value of the target that counts for nothing, and a class that is left out.
        loss_name: key in the log.
    """

    def __init__(
        self, smooth: float = 1.0, exponent: float = 2.0, reduction: str = "mean",
        class_weight: Sequence[float] | str | None = None, loss_weight: float = 1.0, ignore_index: int = 255,
        loss_name: str = "loss_dice",
    ) -> None:
        super().__init__(False, reduction, loss_weight, loss_name)
        self.smooth, self.exponent, self.ignore_index = smooth, exponent, ignore_index
        self.class_weight = get_class_weight(class_weight)

    def compute(
        self, pred: Tensor, target: Tensor, weight: Tensor | None, avg_factor: float | Tensor | None, reduction: str,
        ignore_index: int,
    ) -> Tensor:
        """See :meth:`~mmseg.models.losses.SegmentationLoss.forward`; ``target`` is an index map."""
        classes = pred.shape[1]
        p = pred.softmax(dim=1).flatten(2)
        t = F.one_hot(target.flatten(1).long().clamp(0, classes - 1), classes).movedim(-1, 1).to(p.dtype)
        valid = (target != self.ignore_index).flatten(1)[:, None]
        overlap = (p * t * valid).sum(2)
        dice = (2 * overlap + self.smooth) / ((p ** self.exponent + t ** self.exponent).sum(2) + self.smooth)
        losses = 1 - dice
        if self.class_weight is not None:
            losses = losses * losses.new_tensor(self.class_weight)
        kept = [c for c in range(classes) if c != self.ignore_index]
        return weight_reduce_loss(losses[:, kept].sum(1) / classes, weight, reduction, avg_factor)
