"""A model that is tested on another data set must still see what it was trained to see."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import BaseLoop

from mmseg.engine.checkpoint import embedded_config
from mmseg.engine.dataset_info import input_differences
from mmseg.registry import HOOKS

__all__ = ["CheckNormalisationHook"]


@HOOKS.register_module()
class CheckNormalisationHook(Hook):
    """Warn where a model is tested with another ``mean``, ``std``, working size or thresholds than it was trained with.

    They stand in the config of the data set, so that testing by another config would change what the weights were learnt for,
    silently. Registered by the runner itself.
    """

    def after_load_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        """Compare the config inside the checkpoint with the runner's; a run that trains may well change it."""
        if isinstance(runner._train_loop, BaseLoop):
            return
        for what, options in input_differences(runner.cfg, embedded_config(checkpoint, "the checkpoint") or {}):
            runner.logger.warning(f"{what}; to test with its own: --cfg-options {options}")
