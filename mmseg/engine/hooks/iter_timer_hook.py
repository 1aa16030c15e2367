"""How long a step takes, where most steps are not waited for."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import IterTimerHook as _IterTimerHook

from mmseg.registry import HOOKS

__all__ = ["IterTimerHook"]


@HOOKS.register_module()
class IterTimerHook(_IterTimerHook):
    """:class:`mmengine.hooks.IterTimerHook`, whose ``time`` is what a step takes on a GPU, too.

    A GPU is given steps faster than it computes them, until their losses are fetched: the step that does so waits for all
    before it. A mean over the last steps before a log line would count that wait for too few of them. So the steps from one
    fetch to the next all get their mean.
    """

    def __init__(self) -> None:
        super().__init__()
        self._times: list[float] = []
        self._fetched = False

    def fetch(self, runner: Any) -> None:
        """The device has done all that it was asked for."""
        self._fetched = True

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """As mmengine's; where losses were fetched, spread what was waited for over the steps since the last time."""
        super().after_train_iter(runner, batch_idx, data_batch, outputs)
        times, _ = runner.message_hub.get_scalar("train/time").data
        self._times.append(float(times[-1]))
        if self._fetched:
            times[-len(self._times):] = sum(self._times) / len(self._times)
            self._times, self._fetched = [], False
