"""A new run takes the place of an earlier one."""

from __future__ import annotations

from typing import Any

from mmengine.dist import master_only
from mmengine.hooks import Hook

from mmseg.engine.work_dir import remove_run
from mmseg.registry import HOOKS

__all__ = ["ReplaceRunHook"]


@HOOKS.register_module()
class ReplaceRunHook(Hook):
    """Remove the checkpoints and logged numbers of an earlier run when everything of the new one is there: data, weights,
    optimiser, and what its checkpoints will say. What fails before costs nothing. ``tools/train.py --overwrite`` registers it.
    """

    priority = "LOWEST"

    @master_only
    def before_train(self, runner: Any) -> None:
        """Remove them; the runner is the only one that writes there."""
        remove_run(runner.work_dir)
