"""Put the generators back where a checkpoint left them."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook

from mmseg.engine.random_state import restore_random_state

__all__ = ["ResumeRandomStateHook"]


class ResumeRandomStateHook(Hook):
    """Restore a random state just before the first resumed iteration; registered by the runner itself.

    Not earlier: making the data loader's iterator draws a number from torch's generator, which the uninterrupted run drew
    before its first iteration.

    Args:
        state: of :func:`~mmseg.engine.random_state.capture_random_state`.
    """

    priority = "VERY_HIGH"

    def __init__(self, state: dict[str, Any]) -> None:
        self._state: dict[str, Any] | None = state

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Once."""
        if self._state is not None:
            restore_random_state(self._state)
            self._state = None
