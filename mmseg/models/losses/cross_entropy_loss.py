"""Cross-entropy: softmax over an index map, or one binary cross-entropy a lesion."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

from mmseg.models.losses.segmentation_loss import SegmentationLoss
from mmseg.models.losses.soft_counts import soft_counts
from mmseg.registry import MODELS

__all__ = ["CrossEntropyLoss"]


@MODELS.register_module()
class CrossEntropyLoss(SegmentationLoss):
    """``-log softmax(x)[label]``, or with ``use_sigmoid`` ``-pos_weight t log p - (1 - t) log(1 - p)``, ``p = sigmoid(x)``.

    The softmax form is averaged over all pixels, ignored ones included, as in ISDNet (``avg_non_ignore=True`` counts only the
    others); the sigmoid form over all elements that are not ignored.

    Args:
        use_sigmoid: see :class:`SegmentationLoss`.
        class_weight: a factor for each channel.
        pos_weight: factor on the positive term, one for all or one a channel; only with ``use_sigmoid``.
        loss_weight: factor on the result.
        loss_name: key in the log.
        avg_non_ignore: divide by the number of pixels that are not ignored; softmax only.

    Raises:
        ValueError: for ``pos_weight`` without ``use_sigmoid``.
    """

    def __init__(
        self, use_sigmoid: bool = False, class_weight: Sequence[float] | None = None,
        pos_weight: float | Sequence[float] | None = None, loss_weight: float = 1.0, loss_name: str = "loss_ce",
        avg_non_ignore: bool = False,
    ) -> None:
        super().__init__(use_sigmoid, loss_weight, loss_name)
        if pos_weight is not None and not use_sigmoid:
            raise ValueError("CrossEntropyLoss: pos_weight needs use_sigmoid=True; for softmax give class_weight instead")
        self.class_weight = class_weight
        self.pos_weight = pos_weight
        self.avg_non_ignore = avg_non_ignore

    def compute(self, seg_logit: Tensor, label: Tensor, ignore_index: int) -> Tensor:
        """See :meth:`SegmentationLoss.forward`."""
        if self.use_sigmoid:
            return self._binary(seg_logit, label, ignore_index)
        weight = None if self.class_weight is None else seg_logit.new_tensor(self.class_weight)
        total = F.cross_entropy(seg_logit, label.long(), weight, ignore_index=ignore_index, reduction="sum")
        count = (label != ignore_index).sum().clamp(min=1) if self.avg_non_ignore else label.numel()
        return total / count

    def _binary(self, seg_logit: Tensor, label: Tensor, ignore_index: int) -> Tensor:
        counts = soft_counts(seg_logit, label, ignore_index)
        missed = counts.missed if self.pos_weight is None else counts.missed * seg_logit.new_tensor(self.pos_weight)
        values = missed + counts.alarmed
        if self.class_weight is not None:
            values = values * seg_logit.new_tensor(self.class_weight)
        return values.sum() / counts.valid.sum().clamp(min=1)
