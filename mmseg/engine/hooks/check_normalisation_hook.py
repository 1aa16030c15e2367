"""A model that is tested on another data set must still see what it was trained to see."""

from __future__ import annotations

from typing import Any

import numpy as np
from mmengine.hooks import Hook
from mmengine.runner import BaseLoop

from mmseg.engine.checkpoint import embedded_config
from mmseg.registry import HOOKS

__all__ = ["CheckNormalisationHook"]


@HOOKS.register_module()
class CheckNormalisationHook(Hook):
    """Warn where a model is tested with another ``mean`` or ``std`` than it was trained with.

    The normalisation stands in the config of the data set, so that testing on another set by its config would change what
    the weights were learnt for, silently.
    """

    def after_load_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        """Compare the config inside the checkpoint with the runner's; a run that trains may well change it."""
        own = runner.cfg.get("data_preprocessor") or {}
        trained = (embedded_config(checkpoint, "the checkpoint") or {}).get("data_preprocessor") or {}
        if isinstance(runner._train_loop, BaseLoop) or not {"mean", "std"} <= set(own) & set(trained):
            return
        if not all(np.allclose(own[key], trained[key]) for key in ("mean", "std")):
            mean, std = (",".join(map(str, trained[key])) for key in ("mean", "std"))
            runner.logger.warning(
                f"normalisation: got mean={list(own['mean'])}, std={list(own['std'])} from the config, but the model was trained "
                f"with others; to test with its own: --cfg-options data_preprocessor.mean=[{mean}] data_preprocessor.std=[{std}]"
            )
