"""Tell the data preprocessor where in the run it is."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.hooks import Hook

from mmseg.registry import HOOKS

__all__ = ["BatchSeedHook"]


@HOOKS.register_module()
class BatchSeedHook(Hook):
    """Set ``seed``, ``rank``, ``world_size`` and, each step, ``iteration`` of the data preprocessor.

    Augmentation draws from these alone, so that it is the same after a resume and on any number of processes.
    """

    priority = "VERY_HIGH"

    def before_train(self, runner: Any) -> None:
        """Once a run. Dropout draws from torch's generator, which is seeded alike everywhere."""
        preprocessor = runner.bare_model.data_preprocessor
        preprocessor.seed, preprocessor.rank, preprocessor.world_size = runner.seed, runner.rank, runner.world_size
        if runner.rank > 0:
            torch.manual_seed(runner.seed + runner.rank)  # a resumed run's state is restored later

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Once an iteration, before the model sees the batch."""
        runner.bare_model.data_preprocessor.iteration = runner.iter
