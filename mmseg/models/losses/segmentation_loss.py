"""What the losses of mmsegmentation's form share: float32, reduction, weights, a name."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["SegmentationLoss", "channel_targets", "pixel_weights"]


class SegmentationLoss(nn.Module):
    """Base of the losses with the arguments of mmsegmentation 1.x: a subclass computes, this weighs the result.

    Args:
        use_sigmoid: every channel is a question of its own; otherwise a softmax over the channels.
        reduction: 'mean', 'sum' or 'none' of the elements.
        loss_weight: factor on the result.
        loss_name: key in the log; a name with ``loss`` in it takes part in the backward pass.

    Raises:
        ValueError: for another reduction.
    """

    def __init__(self, use_sigmoid: bool, reduction: str, loss_weight: float, loss_name: str) -> None:
        super().__init__()
        self.use_sigmoid = use_sigmoid
        self.reduction = self._checked(reduction)
        self.loss_weight = loss_weight
        self.loss_name = loss_name

    def forward(
        self, pred: Tensor, target: Tensor, weight: Tensor | None = None, avg_factor: float | Tensor | None = None,
        reduction_override: str | None = None, ignore_index: int = 255, **kwargs: Any,
    ) -> Tensor:
        """The weighted loss.

        Args:
            pred: logits ``(B, C, H, W)``, or ``(N, C)``.
            target: the channel's index, ``(B, H, W)``; or, with ``use_sigmoid``, 0 or 1 for every channel, ``(B, C, H, W)``.
            weight: factors on the elements; None for 1.
            avg_factor: what 'mean' divides by; None for the number of elements.
            reduction_override: in the place of the loss's own reduction.
            ignore_index: value of target that counts for nothing.
            **kwargs: accepted for other losses of the same head, and not used.

        Returns:
            float32: a scalar, or with 'none' the elements.

        Raises:
            ValueError: if the shapes do not fit, or ``avg_factor`` is given with 'sum'.
        """
        reduction = self.reduction if reduction_override is None else self._checked(reduction_override)
        return self.loss_weight * self.compute(pred.float(), target, weight, avg_factor, reduction, ignore_index)

    def compute(
        self, pred: Tensor, target: Tensor, weight: Tensor | None, avg_factor: float | Tensor | None, reduction: str,
        ignore_index: int,
    ) -> Tensor:
        """The loss without its weight; arguments as in :meth:`forward`, logits in float32."""
        raise NotImplementedError

    def _checked(self, reduction: str) -> str:
        if reduction not in ("none", "mean", "sum"):
            raise ValueError(f"{type(self).__name__}: got reduction={reduction!r}, expected 'none', 'mean' or 'sum'")
        return reduction


def channel_targets(name: str, pred: Tensor, target: Tensor, ignore_index: int) -> tuple[Tensor, Tensor]:
    """What every channel should say, and which elements count.

    Args:
        name: of the loss, for the error.
        pred: ``(B, C, ...)``.
        target: ``(B, C, ...)``, or indices ``(B, ...)``; of a single channel index 1 is what it looks for.
        ignore_index: value that counts for nothing; nor do negative ones.

    Returns:
        targets ``(B, C, ...)`` of the logits' type, zero where nothing counts; bool ``(B, C or 1, ...)``.

    Raises:
        ValueError: for another shape.
    """
    if target.shape == pred.shape:
        valid = (target != ignore_index) & (target >= 0)
        return target.masked_fill(~valid, 0).to(pred.dtype), valid
    if target.shape != (pred.shape[0], *pred.shape[2:]):
        raise ValueError(f"{name}: got a label of shape {tuple(target.shape)} for logits of shape {tuple(pred.shape)}, expected "
                         f"{tuple(pred.shape)} or indices {(pred.shape[0], *pred.shape[2:])} for use_sigmoid=True")
    target = target[:, None]
    first = 1 if pred.shape[1] == 1 else 0
    classes = torch.arange(first, first + pred.shape[1], device=pred.device).view(-1, *[1] * (pred.ndim - 2))
    valid = (target != ignore_index) & (target >= 0)
    return ((target == classes) & valid).to(pred.dtype), valid


def pixel_weights(weight: Tensor, pred: Tensor) -> Tensor:
    """Weights of the elements ``(B, C, ...)``, or one a pixel ``(B, ...)`` or flattened, such that they fit ``pred``."""
    if weight.ndim == pred.ndim:
        return weight
    return weight.float().view(pred.shape[0], 1, *pred.shape[2:])
