"""Outputs of ISDNet's authors' model under weights drawn by rule, for the tests that compare with them."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import torch

REFERENCE = np.load(Path(__file__).parent / "data" / "isdnet_reference.npz")

DUPLICATES = {
    "stdc_net.x2.0.0": "stdc_net.features.0", "stdc_net.x4.0.1": "stdc_net.features.1", "stdc_net.x8.0.2": "stdc_net.features.2",
    "stdc_net.x8.0.3": "stdc_net.features.3", "stdc_net.x16.0.4": "stdc_net.features.4",
    "stdc_net.x16.0.5": "stdc_net.features.5",
}
"""ShallowNet's second names in the authors' checkpoints."""


def reference_shapes() -> dict[str, tuple[int, ...]]:
    """Names and shapes of the authors' checkpoint."""
    keys = zip(REFERENCE["keys"], REFERENCE["shapes"], strict=True)
    return {str(key): tuple(int(n) for n in str(shape).split("x") if n) for key, shape in keys}


def first_name(key: str) -> str:
    """The name under which a tensor is known once."""
    for second, first in DUPLICATES.items():
        key = key.replace(second, first)
    return key


def drawn(key: str, shape: tuple[int, ...]) -> torch.Tensor:
    """The rule by which the reference's weights were drawn."""
    if key.endswith("num_batches_tracked"):
        return torch.zeros(shape, dtype=torch.long)
    x = np.random.RandomState(zlib.crc32(key.encode())).standard_normal(shape).astype(np.float32)
    if key.endswith(("g1", "g2")):
        x = np.full(shape, 0.5, np.float32)
    elif key.endswith("running_var"):
        x = 1 + 0.1 * abs(x)
    elif len(shape) >= 2:
        x = 1.4 * x / np.sqrt(np.prod(shape[1:]))
    elif key.endswith(".weight"):
        x = 1 + 0.1 * x
    else:
        x = 0.1 * x
    return torch.from_numpy(np.asarray(x, np.float32))


def noise(seed: int, shape: tuple[int, ...]) -> torch.Tensor:
    """The reference's inputs."""
    return torch.from_numpy(np.random.RandomState(seed).standard_normal(shape).astype(np.float32))
