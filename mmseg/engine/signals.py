"""Ask a run to stop by a signal, at a moment of its own choice."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

from mmengine.logging import print_log

__all__ = ["StopRequest", "begin_worker"]

_SIGNALS = (signal.SIGTERM, signal.SIGINT, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else []))


class StopRequest:
    """Inside ``with StopRequest() as stop:`` a first SIGTERM, SIGINT or SIGHUP is only noted in ``stop.signal``, a second ends at
    once. SIGHUP, which a terminal that closes sends, stays ignored where it is, as under ``nohup``.

    A launcher and the terminal may both pass on the same Ctrl-C: what comes within a second of the first counts as the first.
    In another thread than the main one, where Python has no signals, nothing happens.

    Attributes:
        signal: number of the signal; 0 while there was none.
    """

    def __init__(self) -> None:
        self.signal = 0
        self._time = 0.0
        self._former: dict[int, Any] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            noted = [s for s in _SIGNALS if s in _SIGNALS[:2] or signal.getsignal(s) is not signal.SIG_IGN]
            self._former = {number: signal.signal(number, self._note) for number in noted}
        return self

    def __exit__(self, *_: Any) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)

    def _note(self, number: int, _: FrameType | None) -> None:
        if self.signal:
            if time.monotonic() > self._time + 1:
                signal.signal(number, signal.SIG_DFL)
                os.kill(os.getpid(), number)
            return
        self.signal, self._time = number, time.monotonic()
        # Workers of a data loader may have died of the same signal, which is no error now: no batch is needed any more.
        if hasattr(signal, "SIGCHLD"):
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        print_log(f"{signal.Signals(number).name}: stopping after this step; a second one ends at once", "current")


def begin_worker(begin: Callable[[int], None] | None, index: int) -> None:
    """Begin a worker of a data loader, in a group of processes of its own: Ctrl-C and launchers signal the whole group of a run,
    which would lose the batches of its last steps. Where the run is killed, its workers notice it by themselves.

    Args:
        begin: what the worker was to begin with.
        index: of the worker.
    """
    if hasattr(os, "setpgid"):
        with contextlib.suppress(OSError):
            os.setpgid(0, 0)
    if begin is not None:
        begin(index)
