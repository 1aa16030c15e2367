"""Batches as the network gets them in training."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

__all__ = ["batches"]


def batches(loader: dict[str, Any], data_preprocessor: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Normalised training batches without end, through the loader and data preprocessor of a configuration.

    Args:
        loader: a ``train_dataloader``; its ``dataset`` may be built already.
        data_preprocessor: its configuration.
    """
    from mmengine.runner import Runner

    from mmseg.registry import MODELS

    preprocessor = MODELS.build(data_preprocessor)
    for iteration, data in enumerate(Runner.build_dataloader(loader, seed=0)):
        preprocessor.iteration = iteration
        yield preprocessor(data, True)
