"""The numbers over which the logger takes its means, as data that a checkpoint can carry."""

from __future__ import annotations

from typing import Any

from mmengine.logging import HistoryBuffer, MessageHub
from mmengine.runner import LogProcessor

__all__ = ["bound_log_window", "capture_log_window", "restore_log_window"]


def capture_log_window(hub: MessageHub, processor: LogProcessor) -> dict[str, list[list[float]]]:
    """The last values of everything logged in training, and how much each counts.

    A logged loss is the mean over a window of iterations; after a resume that window would begin empty.

    Returns:
        by name ``[values, counts]``, as many as the widest window needs.
    """
    last = _widest(processor)
    return {
        name: [numbers[-last:].tolist() for numbers in buffer.data]
        for name, buffer in hub.log_scalars.items() if name.startswith("train/")
    }


def bound_log_window(hub: MessageHub, processor: LogProcessor) -> None:
    """Let everything logged in training keep as many values as the widest window needs: mmengine copies them all at each step,
    which after 40,000 takes more than a millisecond."""
    last = _widest(processor)
    for name, buffer in hub.log_scalars.items():
        if last and name.startswith("train/"):
            buffer.max_length = last


def _widest(processor: LogProcessor) -> int:
    """Iterations of the widest window; 0 where one, such as 'global' or 'epoch', needs all."""
    windows = [processor.window_size, *(custom.get("window_size", 1) for custom in processor.custom_cfg)]
    return max(windows) if all(isinstance(window, int) for window in windows) else 0


def restore_log_window(hub: MessageHub, kept: dict[str, Any]) -> None:
    """The inverse of :func:`capture_log_window`."""
    for name, (values, counts) in kept.items():
        hub.log_scalars[name] = HistoryBuffer(values, counts)
