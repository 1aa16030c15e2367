"""Random numbers that depend on nothing but (seed, iteration, slot in the global batch)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

__all__ = ["BatchRandom"]


class BatchRandom:
    """One counter-based generator a slot, so that a resumed, moved or split run draws what the whole run drew.

    Drawing happens on the CPU: a few numbers a sample, the same on every device. Source: our own design over numpy's Philox
    (Salmon et al., Parallel random numbers: as easy as 1, 2, 3, SC 2011).

    Args:
        seed: of the run.
        iteration: of the training loop, from 0.
        slots: place of every sample of this batch in the global batch.
    """

    def __init__(self, seed: int, iteration: int, slots: Sequence[int]) -> None:
        keys = [np.array([seed % 2**64, (iteration << 24) + slot], np.uint64) for slot in slots]
        self._generators = [np.random.Generator(np.random.Philox(key=key)) for key in keys]

    def __len__(self) -> int:
        return len(self._generators)

    def uniform(self, low: float, high: float) -> Tensor:
        """float32 ``(B,)`` in [low, high)."""
        return torch.tensor([g.uniform(low, high) for g in self._generators], dtype=torch.float32)

    def chance(self, probability: float) -> Tensor:
        """bool ``(B,)``, true with the given probability (0 to 1)."""
        return self.uniform(0.0, 1.0) < probability
