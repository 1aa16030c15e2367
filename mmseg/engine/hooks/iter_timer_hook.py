"""How long a step takes, where most steps are not waited for."""

from __future__ import annotations

from statistics import median
from typing import Any

from mmengine.hooks import IterTimerHook as _IterTimerHook

from mmseg.registry import HOOKS

__all__ = ["IterTimerHook"]


@HOOKS.register_module()
class IterTimerHook(_IterTimerHook):
    """:class:`mmengine.hooks.IterTimerHook`, whose ``time`` is what a step takes on a GPU, too.

    A GPU is given steps faster than it computes them, until their losses are fetched: the step that does so waits for all
    before it. A mean over the last steps before a log line would count that wait for too few of them. So what this step takes
    longer than the others since the last fetch is shared out among them all; what one of the others takes longer stays there.
    """

    def __init__(self) -> None:
        super().__init__()
        self._waits = self._inside = self._fetched = False
        self._times: list[float] = []

    def before_train(self, runner: Any) -> None:
        """A CPU has computed a step when it is over."""
        super().before_train(runner)
        self._waits = next(runner.model.parameters()).device.type != "cpu"
        self._times, self._inside, self._fetched = [], False, False

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """As mmengine's."""
        super().before_train_iter(runner, batch_idx, data_batch)
        self._inside = True

    def fetch(self, runner: Any) -> None:
        """The device has done all that it was asked for; between two steps nobody's time tells how long that took."""
        self._fetched = self._inside
        if not self._inside:
            self._times = []

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """As mmengine's; then share out what was waited for."""
        super().after_train_iter(runner, batch_idx, data_batch, outputs)
        self._inside = False
        if not self._waits:
            return
        logged, _ = runner.message_hub.get_scalar("train/time").data
        self._times.append(float(logged[-1]))
        if self._fetched:
            *others, last = self._times
            waited = max(0.0, last - median(others)) if others else 0.0
            logged[-1] -= waited
            logged[-len(self._times):] += waited / len(self._times)
            self._times, self._fetched = [], False
