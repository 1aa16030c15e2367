"""The lesions, and the forms in which their masks travel: four bits, four channels, one index map."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["IGNORE", "LESIONS", "class_masks", "flatten_masks", "pack_masks", "unpack_masks"]

LESIONS = ("MA", "HE", "EX", "SE")
"""Lesion order everywhere in this project: IDRiD's own numbering."""

IGNORE = 255
"""Value of a target pixel that counts in no loss and no metric."""

_FLATTEN_ORDER = (2, 1, 3, 0)
"""Channels in the order they are painted into an index map, so that small lesions win: EX, HE, SE, MA on top."""


def pack_masks(masks: Tensor) -> Tensor:
    """Pack masks into one byte a pixel.

    Args:
        masks: ``(..., C, H, W)`` uint8 or bool, non-zero where the lesion is, 255 where ignored; C at most 7.

    Returns:
        uint8 ``(..., H, W)``; bit c is lesion c, and :data:`IGNORE` is what any lesion ignores.
    """
    bits = masks.to(torch.uint8)
    weights = (2 ** torch.arange(masks.shape[-3], device=masks.device)).to(torch.uint8)
    ignored = bits == IGNORE
    packed = ((bits != 0) * weights[:, None, None]).sum(-3, dtype=torch.uint8)
    return packed.masked_fill_(ignored.any(-3), IGNORE)


def unpack_masks(packed: Tensor, num_classes: int = len(LESIONS)) -> Tensor:
    """The inverse of :func:`pack_masks`; a byte of :data:`IGNORE` becomes that in every channel.

    Args:
        packed: uint8 ``(..., H, W)``.
        num_classes: number of channels to unpack, at most 7.

    Returns:
        uint8 ``(..., C, H, W)`` in {0, 1, 255}.
    """
    bits = 2 ** torch.arange(num_classes, device=packed.device, dtype=torch.uint8)
    masks = (packed.unsqueeze(-3) & bits[:, None, None]).clamp_(max=1)
    return masks.bitwise_or_((packed == IGNORE).view(torch.uint8).mul_(IGNORE).unsqueeze(-3))


def flatten_masks(masks: Tensor) -> Tensor:
    """Flatten multi-label masks into an index map; where lesions overlap, the small ones win.

    Args:
        masks: ``(..., 4, H, W)`` in {0, 1, 255}, lesions in the order of :data:`LESIONS`.

    Returns:
        long ``(..., H, W)``: 0 background, 1 MA, 2 HE, 3 EX, 4 SE, 255 ignored.
    """
    index = torch.zeros_like(masks[..., 0, :, :], dtype=torch.long)
    for channel in _FLATTEN_ORDER:
        index[masks[..., channel, :, :] == 1] = channel + 1
    index[(masks == IGNORE).any(-3)] = IGNORE
    return index


def class_masks(target: Tensor, classes: int, first: int = 0) -> Tensor:
    """Where each class is, whichever form the target has.

    Args:
        target: masks ``(C, H, W)`` in {0, 1, 255}, or an index map ``(1, H, W)``.
        classes: how many.
        first: index of the first of them in an index map.

    Returns:
        bool ``(C, H, W)``.
    """
    if len(target) > 1:
        return target == 1
    return target == torch.arange(first, first + classes, device=target.device).view(-1, 1, 1)
