"""A new run takes the place of an earlier one."""

from __future__ import annotations

from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import Hook

from mmseg.engine.work_dir import remove_run

__all__ = ["ReplaceRunHook"]


class ReplaceRunHook(Hook):
    """Remove the checkpoints and logged numbers of an earlier run, and replace its config, after the first step of the new one,
    or before its first validation: what fails until then, such as a batch that a GPU has no room for, costs nothing. Not for
    configurations: ``tools/train.py --overwrite`` registers it.
    """

    priority = "VERY_HIGH"  # before anything of this run is logged or written

    def __init__(self) -> None:
        self._done = False

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """After the first step."""
        self._remove(runner)

    def before_val(self, runner: Any) -> None:
        """A resumed run may validate before it trains."""
        self._remove(runner)

    def _remove(self, runner: Any) -> None:
        if not self._done and is_main_process():
            remove_run(runner.work_dir)  # of which the runner is the sole writer
            runner.keep_config()
        self._done = True
