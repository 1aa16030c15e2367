"""ISDNet's feature affinity loss, in bounded memory."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

__all__ = ["affinity_loss"]

_BLOCK_ENTRIES = 2 ** 22
"""Entries of a similarity matrix that are held at once, for the whole batch: 16 MiB in float32."""


def affinity_loss(feature: Tensor, reference: Tensor) -> Tensor:
    """How differently two features relate the places of an image (ISDNet, Guo et al., CVPR 2022).

    Each channel x is normalised over space, ``x / (||x||_2 + 1e-6)``; the similarity of places i and j is the inner product
    of their channels; the loss is the mean absolute difference of both (HW x HW) similarities. The matrices grow with the
    fourth power of the side length, so beyond a size they are made block by block, and again in the backward pass; the value
    is the same. Computed in float32, also under autocast.

    Args:
        feature: ``(B, C, H, W)``, the feature that learns.
        reference: ``(B, C', H, W)``; no gradient flows into it.

    Returns:
        a float32 scalar.
    """
    with torch.autocast(feature.device.type, enabled=False):
        learning = _normalise(feature)
        constant = _normalise(reference.detach())
        batch, _, places = learning.shape
        rows = max(1, _BLOCK_ENTRIES // (batch * places))
        if rows >= places:
            return _difference(learning, constant, 0, places) / (batch * places * places)
        total = learning.new_zeros(())
        for start in range(0, places, rows):
            block = (learning, constant, start, start + rows)
            total = total + checkpoint(_difference, *block, use_reentrant=False, preserve_rng_state=False)  # nothing is drawn
        return total / (batch * places * places)


def _normalise(x: Tensor) -> Tensor:
    x = x.float().flatten(2)
    return x / (x.norm(dim=2, keepdim=True) + 1e-6)


def _difference(learning: Tensor, constant: Tensor, start: int, stop: int) -> Tensor:
    """Sum of absolute differences over the rows ``start`` to ``stop`` of both similarity matrices."""
    similarity = learning[..., start:stop].transpose(1, 2) @ learning
    target = constant[..., start:stop].transpose(1, 2) @ constant
    return (similarity - target).abs().sum()
