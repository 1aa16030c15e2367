"""Probabilities of any number of pixels, counted so that thresholds are exact and average precision is as good as exact."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmseg.evaluation.average_precision import average_precision_interval
from mmseg.structures import IGNORE

__all__ = ["ScoreHistogram"]

SHIFT = 8
"""Bits of a float32 that a bin does not tell apart: 2**15 bins for every factor of two."""

_LOWEST = (127 - 32) << (23 - SHIFT)
_ONE = 127 << 23  # the bits of 1.0
BINS = (_ONE >> SHIFT) - _LOWEST + 1
"""Bin 0 holds everything below 2**-32, the last one 1.0 alone."""

EPSILON = 6e-4
"""A bin may stay unresolved while it holds at most this share of the pixels above it, ..."""

DELTA = 5e-5
"""... and at most this share of all lesion pixels."""

_MERGE_AT = 2**20
"""Values kept singly at which they are merged and thinned out."""


class ScoreHistogram:
    """How many lesion pixels and how many others have each probability; our own design, on the bits of the float32.

    Non-negative floats are ordered as their bits are, read as integers. The upper bits choose a *bin*; the pixels of a bin
    that could matter are *resolved*: counted by their exact value. Call C(b) the pixels in all bins above b, P all lesion
    pixels. Of every image, those bins are resolved that hold more than ``EPSILON`` C(b) pixels, or more than ``DELTA`` P lesion
    pixels. What stays unresolved in b, u(b) pixels of which n(b) are lesion, is thus at most ``EPSILON`` C(b), and n(b) at most
    ``DELTA`` P; added up over images (C, P, u, n all add up) both still hold. When values are thinned out, a bin's values
    are given up only while both hold for the sum, so the memory does not depend on the number of images.

    **Error of average precision.** It is the mean over lesion pixels of the precision at their probability, t / s with t
    lesion pixels among s pixels at least as probable. (1) At a resolved value only the unresolved pixels of its own bin are
    in doubt: the precision lies between t / (s + f) and (t + n) / (s + n), f = u - n, which are at most max(n, f) / s <=
    ``EPSILON`` apart (where nothing of the bin is resolved, likewise). (2) For an unresolved lesion pixel of a bin of m
    pixels it lies within m / (C + m) <= ln((C + m) / C); since C + m is the C of the next bin, these add up to at most
    ln N over all bins for N pixels, each with a weight of at most ``DELTA``. So lower and upper bound are at most
    ``EPSILON + DELTA`` ln N apart, and their middle errs by at most half of that, less than 1e-3 for up to 1e12
    pixels. The interval itself is computed from the counts (:func:`average_precision_interval`) and is usually far smaller.

    Args:
        thresholds: probabilities t, 0 to 1; ``p > t``, both float32, is counted exactly for these.
        device: of the counts.
    """

    def __init__(self, thresholds: Sequence[float], device: torch.device | str = "cpu") -> None:
        self.thresholds = _bits(torch.tensor(list(thresholds), dtype=torch.float32, device=device))
        self.unresolved = torch.zeros(2, BINS, dtype=torch.int64, device=device)
        """Pixels without and with the lesion, by bin."""
        self.keys = torch.empty(0, dtype=torch.int32, device=device)
        """Resolved values, ascending: twice the bits, plus 1 for lesion pixels."""
        self.counts = torch.empty(0, dtype=torch.int64, device=device)
        """Pixels of each of :attr:`keys`."""
        self._waiting: list[tuple[Tensor, Tensor]] = []
        self._limit = _MERGE_AT

    @classmethod
    def of_image(cls, probabilities: Tensor, truth: Tensor, thresholds: Sequence[float]) -> ScoreHistogram:
        """Count one lesion of one image.

        Args:
            probabilities: float32 of any shape, 0 to 1.
            truth: of the same shape, in {0, 1, 255}; 255 counts nowhere.
            thresholds: as of the class.

        Raises:
            ValueError: a probability that is not between 0 and 1.
        """
        found = cls(thresholds, probabilities.device)
        bits, truth = _checked_bits(probabilities), truth.flatten()
        if (truth == IGNORE).any():
            counted = truth != IGNORE
            bits, truth = bits[counted], truth[counted]
        positive = truth.nonzero().flatten()
        bins = _bins(bits)
        total = torch.bincount(bins, minlength=BINS)
        lesion = torch.bincount(bins[positive], minlength=BINS)
        split = found._heavy(total, lesion)
        single = split.index_select(0, bins).nonzero().flatten()
        keys = bits[single] * 2 + truth[single].to(torch.int32)
        zeros = keys < 2  # often nearly all of them: not worth sorting
        number = torch.bincount(keys[zeros], minlength=2)
        keys, counts = torch.unique(keys[~zeros], return_counts=True)
        there = number.nonzero().flatten()
        found.keys, found.counts = torch.cat([there.to(torch.int32), keys]), torch.cat([number[there], counts])
        torch.sub(total, lesion, out=found.unresolved[0])
        found.unresolved[1] = lesion
        found.unresolved.masked_fill_(split, 0)
        return found

    def add(self, other: ScoreHistogram) -> None:
        """Add the counts of other pixels; memory stays bounded."""
        self.unresolved += other.unresolved.to(self.unresolved.device)
        self._waiting.append((other.keys.to(self.keys.device), other.counts.to(self.keys.device)))
        if len(self.keys) + sum(len(keys) for keys, _ in self._waiting) > self._limit:
            self.merge()
            self._thin_out()
            self._limit = max(_MERGE_AT, 2 * len(self.keys))

    def merge(self) -> None:
        """Bring what was added in order; needed before :attr:`keys` are read."""
        if self._waiting:
            keys, counts = (torch.cat(parts) for parts in zip((self.keys, self.counts), *self._waiting, strict=True))
            self.keys, place = torch.unique(keys, return_inverse=True)
            self.counts = torch.zeros(len(self.keys), dtype=torch.int64, device=keys.device).index_add_(0, place, counts)
            self._waiting = []

    def pixels(self) -> tuple[int, int]:
        """``(lesion pixels, all pixels)``."""
        self.merge()
        lesion = int(self.unresolved[1].sum() + (self.counts * (self.keys & 1)).sum())
        return lesion, int(self.unresolved.sum() + self.counts.sum())

    def counts_above(self) -> np.ndarray:
        """Exact counts of ``p > t`` for every threshold: int64 ``(thresholds, 2)``, lesion pixels and all pixels."""
        self.merge()
        resolved = torch.stack([self.counts * (1 - (self.keys & 1)), self.counts * (self.keys & 1)])
        first = torch.searchsorted(self.keys, self.thresholds * 2 + 2)
        resolved_below = torch.nn.functional.pad(resolved.cumsum(1), (1, 0))[:, first]
        few = [self.unresolved[:, lower + 1:].sum(1) for lower in _bins(self.thresholds).tolist()]  # no sums for a million bins
        above = torch.stack(few, 1) + resolved.sum(1, keepdim=True) - resolved_below
        return torch.stack([above[1], above.sum(0)], dim=1).cpu().numpy()

    def best_dice(self) -> tuple[float, float] | None:
        """The threshold t at which ``p > t`` has the highest Dice, among the lower ends of the bins, and that Dice, 0 to 1; None
        without lesion pixels. The counts are exact there; within a bin p differs by at most 2**-15 of itself.
        """
        self.merge()
        total = self._by_bin()
        other, lesion = _above(total)[:, :-1].double()  # of bins 1 and up: all pixels are in bin 0 or above
        if not total[1].any():
            return None
        dice = 2 * lesion / (lesion + other + total[1].sum())
        best = int(dice.argmax())
        below = torch.tensor(((best + 1 + _LOWEST) << SHIFT) - 1, dtype=torch.int32)
        return float(below.view(torch.float32)), float(dice[best])

    def average_precision(self) -> tuple[float, float] | None:
        """Average precision and how much it can err; None without lesion pixels."""
        groups = self.descending()
        if not groups["lesion"].any():
            return None
        low, high = average_precision_interval(**groups)
        return (low + high) / 2, (high - low) / 2

    def descending(self) -> dict[str, np.ndarray]:
        """Counts from the most probable downwards, as :func:`average_precision_interval` takes them."""
        self.merge()
        values, place = torch.unique_consecutive(self.keys >> 1, return_inverse=True)
        lesion, other = (torch.zeros(len(values), dtype=torch.int64, device=values.device) for _ in range(2))
        lesion.index_add_(0, place, self.counts * (self.keys & 1))
        other.index_add_(0, place, self.counts * (1 - (self.keys & 1)))
        occupied = self.unresolved.sum(0).nonzero().flatten()
        bins = torch.cat([_bins(values), occupied]).cpu().numpy()
        position = torch.cat([values, torch.full_like(occupied, -1, dtype=torch.int32)]).cpu().numpy()
        order = np.lexsort((position, bins))[::-1]
        return dict(
            lesion=torch.cat([lesion, self.unresolved[1, occupied]]).cpu().numpy()[order],
            other=torch.cat([other, self.unresolved[0, occupied]]).cpu().numpy()[order],
            group=bins[order],
            resolved=position[order] >= 0,
        )

    def coarse(self, bins: int) -> np.ndarray:
        """Counts in a few bins of equal width in the logit of the probability: int64 ``(2, bins)``, lesion and other pixels."""
        self.merge()
        total = self._by_bin()
        place = _coarse_bins(bins, total.device)
        summed = torch.zeros(2, bins, dtype=torch.int64, device=total.device).index_add_(1, place, total)
        return summed.flip(0).cpu().numpy()

    def state(self) -> dict[str, Any]:
        """Everything, as small arrays that can be sent to another process."""
        self.merge()
        occupied = self.unresolved.sum(0).nonzero().flatten()
        parts = dict(keys=self.keys, counts=self.counts, occupied=occupied, unresolved=self.unresolved[:, occupied])
        return {name: tensor.cpu() for name, tensor in parts.items()}

    def add_state(self, state: dict[str, Any]) -> None:
        """Add what :meth:`state` gave in another process."""
        other = ScoreHistogram((), self.keys.device)
        other.unresolved[:, state["occupied"].to(self.keys.device)] = state["unresolved"].to(self.keys.device)
        other.keys, other.counts = state["keys"], state["counts"]
        self.add(other)

    def _by_bin(self) -> Tensor:
        """All counts of merged keys, int64 ``(2, BINS)``, without and with the lesion."""
        place = (self.keys & 1).long(), _bins(self.keys >> 1)
        return self.unresolved.index_put(place, self.counts, accumulate=True)

    def _heavy(self, total: Tensor, lesion: Tensor) -> Tensor:
        """Which bins must be resolved, for counts ``(BINS,)``: bool ``(BINS,)``."""
        heavy = (total > EPSILON * _above(total)) | (lesion > DELTA * lesion.sum())
        heavy[_bins(self.thresholds)] = True
        return heavy

    def _thin_out(self) -> None:
        """Give up the values of bins that are light in the sum of all images."""
        total = self._by_bin()
        heavy = self._heavy(total.sum(0), total[1])
        self.unresolved = torch.where(heavy, self.unresolved, total)
        keep = heavy[_bins(self.keys >> 1)]
        self.keys, self.counts = self.keys[keep], self.counts[keep]


def _above(counts: Tensor) -> Tensor:
    """How many lie in the bins above each one; ``(..., BINS)``."""
    return counts.cumsum(-1).neg_().add_(counts.sum(-1, keepdim=True))


def _bits(probabilities: Tensor) -> Tensor:
    return probabilities.view(torch.int32)


def _checked_bits(probabilities: Tensor) -> Tensor:
    """The bits ``(N,)`` as int32 of float32 probabilities, of which none is negative, above 1, or nan."""
    bits = _bits(probabilities.to(torch.float32).contiguous().flatten())
    if bits.numel():
        low, high = (int(v) for v in torch.aminmax(bits))
        if low < 0:  # a sign: a negative number, or -0.0, which is 0
            bits = _bits(probabilities.to(torch.float32).flatten() + 0.0)
            low = int(bits.min())
        if low < 0 or high > _ONE:
            raise ValueError("got a probability that is negative, above 1, or not a number, expected 0 to 1")
    return bits


def _bins(bits: Tensor) -> Tensor:
    """The bin of each value, int32 (indices of small tensors may be of any integer type)."""
    return (bits >> SHIFT).sub_(_LOWEST).clamp_(min=0)


@functools.cache
def _coarse_bins(bins: int, device: torch.device) -> Tensor:
    """For each bin the one of ``bins`` of equal width in the logit, from -16 to 16, that its middle lies in; read only."""
    middle = (torch.arange(BINS, device=device, dtype=torch.int32) + _LOWEST) * 2**SHIFT + 2 ** (SHIFT - 1)
    middle[-1] = _ONE
    logit = middle.view(torch.float32).double().logit()
    return ((logit + 16) * (bins / 32)).clamp(0, bins - 1).long()
