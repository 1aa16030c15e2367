"""The sums that sigmoid losses are made of, in one pass over the logits and one pass back."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.utils.weak import WeakIdKeyDictionary

__all__ = ["SoftCounts", "soft_counts"]


class SoftCounts(NamedTuple):
    """Sums over the pixels of each sample and channel that are not ignored, ``(B, C)``; p is the sigmoid, t the target.

    Attributes:
        missed: ``-sum t log p``, the cross-entropy of the positives.
        alarmed: ``-sum (1 - t) log(1 - p)``, the cross-entropy of the negatives.
        overlap: ``sum p t``.
        predicted: ``sum p``.
        positives: ``sum t``; without gradient.
        valid: how many pixels are not ignored; without gradient.
    """

    missed: Tensor
    alarmed: Tensor
    overlap: Tensor
    predicted: Tensor
    positives: Tensor
    valid: Tensor


_memory = WeakIdKeyDictionary()
"""The counts of logits that are still alive: the losses of one head ask for the same."""


def soft_counts(seg_logit: Tensor, label: Tensor, ignore_index: int = 255) -> SoftCounts:
    """The sums of one pair of logits and targets; asked for again, the same tensors.

    Cross-entropy, Dice and the Tversky index are functions of these few numbers, so that neither they nor their gradients
    need a tensor of the logits' size each: of a CPU step with five supervised outputs that was a third. Losses that share these
    sums need ``retain_graph`` where each gets a backward pass of its own. Logits that are leaves of the graph, and tensors of
    inference mode, are not remembered: the sums of the former would keep them alive, the latter do not tell when they change.

    Args:
        seg_logit: logits ``(B, C, H, W)``, float32 or float64.
        label: ``(B, C, H, W)`` in {0, 1, ignore_index}.
        ignore_index: value of label that counts for nothing.

    Returns:
        see :class:`SoftCounts`.
    """
    if seg_logit.is_inference() or label.is_inference() or (seg_logit.is_leaf and seg_logit.requires_grad):
        return _count(seg_logit, label, ignore_index)
    state = (label, label._version, seg_logit._version, ignore_index, torch.is_grad_enabled())
    known = _memory.get(seg_logit)
    if known is None or known[0] is not label or known[1:-1] != state[1:]:
        known = (*state, _count(seg_logit, label, ignore_index))
        _memory[seg_logit] = known
    return known[-1]


def _count(seg_logit: Tensor, label: Tensor, ignore_index: int) -> SoftCounts:
    with torch.autocast(seg_logit.device.type, enabled=False):  # its sums of products would be in bfloat16
        return SoftCounts(*_SoftCounts.apply(seg_logit, label, ignore_index))


class _SoftCounts(torch.autograd.Function):
    """Planes of one sample and channel are independent; a CPU takes a few at a time, so that they stay in its cache."""

    @staticmethod
    def forward(ctx: Any, seg_logit: Tensor, label: Tensor, ignore_index: int) -> tuple[Tensor, ...]:
        logits, labels = seg_logit.flatten(2).flatten(0, 1), label.flatten(2).flatten(0, 1)
        probability = torch.empty_like(logits)
        sums = logits.new_empty(6, len(logits))
        for planes in _blocks(logits):
            # Masks of the logits' type: comparisons in place and products with them run several times faster than booleans.
            target = labels[planes].to(logits.dtype, copy=True).eq_(1)
            ignored = labels[planes].to(logits.dtype, copy=True).eq_(ignore_index)
            # An ignored pixel is one whose absence is certain: p, both logarithms and the gradients are exactly zero there.
            logit = torch.sub(logits[planes], ignored, alpha=1e6)
            p = torch.sigmoid(logit, out=probability[planes])
            surprise = F.softplus(logit)  # -log(1 - p)
            alarm_of_positives = torch.linalg.vecdot(surprise, target)
            sums[0, planes] = alarm_of_positives - torch.linalg.vecdot(logit, target)
            sums[1, planes] = surprise.sum(1) - alarm_of_positives
            sums[2, planes] = torch.linalg.vecdot(p, target)
            sums[3, planes] = p.sum(1)
            sums[4, planes] = target.sum(1)
            sums[5, planes] = logit.shape[1] - ignored.sum(1)
        ctx.size = seg_logit.shape[2:]
        ctx.save_for_backward(probability, labels)
        outputs = sums.view(6, *seg_logit.shape[:2]).unbind()
        ctx.mark_non_differentiable(*outputs[4:])
        return outputs

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        probability, labels = ctx.saved_tensors
        missed, alarmed, overlap, predicted = (g.flatten()[:, None] for g in gradients[:4])
        result = torch.empty_like(probability)
        for planes in _blocks(probability):
            p = probability[planes]
            # With dp/dx = p (1 - p): where t = 0 it is p (alarmed + predicted (1 - p)), where t = 1 it is
            # (1 - p) (p (predicted + overlap) - missed).
            absent = torch.addcmul((alarmed + predicted)[planes], p, -predicted[planes], out=result[planes]).mul_(p)
            present = torch.addcmul(-missed[planes], p, (predicted + overlap)[planes]).mul_(1 - p)
            absent.lerp_(present, labels[planes].to(p.dtype, copy=True).eq_(1))
        return result.view(*gradients[0].shape, *ctx.size), None, None


def _blocks(planes: Tensor) -> list[slice]:
    """Slices over ``(P, N)`` planes: everything on a GPU, at most 1 MiB of float32 (but one plane at least) on a CPU."""
    step = max(1, 2 ** 18 // planes.shape[1]) if planes.device.type == "cpu" else len(planes)
    return [slice(start, start + step) for start in range(0, len(planes), step)]
