"""The numbers over which the logger takes its means, as data that a checkpoint can carry."""

from __future__ import annotations

from typing import Any

from mmengine.logging import HistoryBuffer, MessageHub
from mmengine.runner import LogProcessor

__all__ = ["capture_log_window", "restore_log_window"]


def capture_log_window(hub: MessageHub, processor: LogProcessor) -> dict[str, list[list[float]]]:
    """The last values of everything logged in training, and how much each counts.

    A logged loss is the mean over a window of iterations; after a resume that window would begin empty.

    Returns:
        by name ``[values, counts]``, as many as the widest window needs.
    """
    windows = [processor.window_size, *(custom.get("window_size", 1) for custom in processor.custom_cfg)]
    last = max(windows) if all(isinstance(window, int) for window in windows) else 0  # 'global' and 'epoch' need all
    return {
        name: [numbers[-last:].tolist() for numbers in buffer.data]
        for name, buffer in hub.log_scalars.items() if name.startswith("train/")
    }


def restore_log_window(hub: MessageHub, kept: dict[str, Any]) -> None:
    """The inverse of :func:`capture_log_window`."""
    for name, (values, counts) in kept.items():
        hub.log_scalars[name] = HistoryBuffer(values, counts)
