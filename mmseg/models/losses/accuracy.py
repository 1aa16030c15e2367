"""How many pixels have their label among the likeliest classes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["Accuracy", "accuracy"]


def accuracy(
    pred: Tensor, target: Tensor, topk: int | tuple[int, ...] = 1, thresh: float | None = None, ignore_index: int | None = None,
) -> Any:
    """Percent of the pixels whose label is among the k likeliest classes; arguments of mmsegmentation 1.x.

    Args:
        pred: scores ``(B, C, ...)``.
        target: indices ``(B, ...)``.
        topk: k, or several.
        thresh: a score that is not above it is wrong.
        ignore_index: value of target that counts for nothing.

    Returns:
        float32 ``(1,)`` for one k, 0 to 100 (100 where no pixel counts, as there); for several a list of these.

    Raises:
        ValueError: if the shapes do not fit, or there are fewer than k classes.
    """
    several = (topk,) if isinstance(topk, int) else topk
    if pred.shape[0] == 0:
        nothing = [pred.new_zeros(()) for _ in several]
        return nothing[0] if isinstance(topk, int) else nothing
    if target.shape != (pred.shape[0], *pred.shape[2:]) or max(several) > pred.shape[1]:
        raise ValueError(f"accuracy: got scores {tuple(pred.shape)}, labels {tuple(target.shape)} and topk={topk}, expected "
                         f"labels {(pred.shape[0], *pred.shape[2:])} and k up to {pred.shape[1]}")
    values, classes = pred.topk(max(several), dim=1)
    hit = classes == target[:, None]
    if thresh is not None:
        hit = hit & (values > thresh)
    valid = torch.ones_like(target, dtype=torch.bool) if ignore_index is None else target != ignore_index
    tiny = torch.finfo(torch.float32).eps
    found = [100 * ((hit[:, :k] & valid[:, None]).float().sum()[None] + tiny) / (valid.sum() + tiny) for k in several]
    return found[0] if isinstance(topk, int) else found


class Accuracy(nn.Module):
    """:func:`accuracy` as a module, with its arguments."""

    def __init__(
        self, topk: int | tuple[int, ...] = (1,), thresh: float | None = None, ignore_index: int | None = None,
    ) -> None:
        super().__init__()
        self.topk, self.thresh, self.ignore_index = topk, thresh, ignore_index

    def forward(self, pred: Tensor, target: Tensor) -> Any:
        """See :func:`accuracy`."""
        return accuracy(pred, target, self.topk, self.thresh, self.ignore_index)
