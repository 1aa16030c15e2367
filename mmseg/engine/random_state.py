"""All the generators of one process, as data that a checkpoint can carry."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch

from mmseg.utils.device import get_rng_state, set_rng_state

__all__ = ["capture_random_state", "restore_random_state"]


def capture_random_state() -> dict[str, Any]:
    """The state of Python's, numpy's and torch's generators (CPU and current GPU); tensors, numbers and tuples only."""
    state: Any = np.random.get_state(legacy=True)
    name, keys, position, has_gauss, cached = state
    return dict(
        python=random.getstate(),
        numpy=(str(name), torch.from_numpy(keys.astype(np.int64)), int(position), int(has_gauss), float(cached)),
        torch=get_rng_state(),
    )


def restore_random_state(state: dict[str, Any]) -> None:
    """The inverse of :func:`capture_random_state`."""
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, keys.cpu().numpy().astype(np.uint32), *rest))
    set_rng_state(state["torch"])
