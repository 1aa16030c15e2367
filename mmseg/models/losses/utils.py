"""Constants and class weights of losses, and how those written for mmsegmentation weigh and reduce their elements."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = ["constant", "get_class_weight", "reduce_loss", "weight_reduce_loss", "weighted_loss"]


def constant(values: float | Sequence[float], like: Tensor) -> Tensor:
    """Numbers as a tensor of the type and on the device of another; the same one each time, not to be changed.

    A copy to a GPU would wait for all that it has to do, once for every loss of every step.
    """
    return _constant(float(values) if isinstance(values, (int, float)) else tuple(map(float, values)), like.dtype, like.device)


@functools.cache
def _constant(values: float | tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    with torch.inference_mode(False):
        return torch.tensor(values, dtype=dtype, device=device)


def get_class_weight(class_weight: Sequence[float] | str | None) -> Any:
    """The weights themselves, or those in a file on the disk (``.npy`` or JSON).

    Raises:
        ValueError: a file of another kind, or one that cannot be read.
    """
    if not isinstance(class_weight, str):
        return class_weight
    try:
        if class_weight.endswith(".npy"):
            return np.load(class_weight, allow_pickle=False)
        if class_weight.endswith(".json"):
            return json.loads(Path(class_weight).read_bytes())
    except (OSError, ValueError) as error:
        raise ValueError(f"class_weight: {class_weight}: cannot be read ({error})") from error
    raise ValueError(f"class_weight: got {class_weight!r}, expected .npy or .json: files of other kinds can run code")


def reduce_loss(loss: Tensor, reduction: str) -> Tensor:
    """'none', 'mean' or 'sum' of the elements.

    Raises:
        ValueError: for another reduction.
    """
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"reduction: got {reduction!r}, expected 'none', 'mean' or 'sum'")
    return loss if reduction == "none" else getattr(loss, reduction)()


def weight_reduce_loss(
    loss: Tensor, weight: Tensor | None = None, reduction: str = "mean", avg_factor: float | Tensor | None = None
) -> Tensor:
    """Weigh the elements and reduce them; with ``avg_factor`` the mean is their sum over it.

    Raises:
        ValueError: for ``avg_factor`` with ``reduction='sum'``.
    """
    if weight is not None:
        loss = loss * weight
    if avg_factor is None or reduction == "none":
        return reduce_loss(loss, reduction)
    if reduction != "mean":
        raise ValueError(f"avg_factor: got reduction={reduction!r}, expected 'mean' or 'none' with it")
    return loss.sum() / (avg_factor + torch.finfo(torch.float32).eps)


def weighted_loss(loss_func: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Give ``loss_func(pred, target, **kwargs)``, element by element, the arguments of :func:`weight_reduce_loss`."""

    @functools.wraps(loss_func)
    def wrapper(
        pred: Tensor, target: Tensor, weight: Tensor | None = None, reduction: str = "mean",
        avg_factor: float | Tensor | None = None, **kwargs: Any,
    ) -> Tensor:
        return weight_reduce_loss(loss_func(pred, target, **kwargs), weight, reduction, avg_factor)

    return wrapper
