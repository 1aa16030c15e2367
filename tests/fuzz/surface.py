"""What every surface shares: inputs, one attempt, and what may never happen."""

from __future__ import annotations

import contextlib
import faulthandler
import signal
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import hypothesis
from hypothesis import HealthCheck, Phase, settings
from hypothesis.strategies import SearchStrategy

__all__ = ["Result", "Surface", "fuzz", "snapshot"]

SECONDS = 20
"""An attempt that takes longer hangs."""


class Surface:
    """A way by which other people's input comes in.

    A subclass names the modules whose coverage it is held to, and says what an attempt is: it returns 'accepted' or 'refused'
    (a UserError, or exit code 1 or 2 of a command), and raises on everything else.
    """

    name: ClassVar[str]
    modules: ClassVar[tuple[str, ...]]

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def inputs(self) -> SearchStrategy[Any]:
        """What is tried."""
        raise NotImplementedError

    def attempt(self, value: Any) -> str:
        """Try one input."""
        raise NotImplementedError


@dataclass
class Result:
    """What became of the inputs; ``failures`` holds one input and traceback by the place of the exception."""

    tried: int = 0
    failures: dict[str, str] = field(default_factory=dict)
    outcomes: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0
    seconds: float = 0.0


def fuzz(surface: Surface, count: int, seed: int) -> Result:
    """Try ``count`` inputs, and collect those that break a promise: any exception of an attempt, a lost file, a hang."""
    result = Result()
    began = time.monotonic()

    @hypothesis.seed(seed)
    @settings(
        max_examples=count, database=None, deadline=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @hypothesis.given(surface.inputs())
    def one(value: Any) -> None:
        start = time.monotonic()
        try:
            with _time_limit(SECONDS):
                outcome = surface.attempt(value)
        except Exception as error:
            frame = traceback.extract_tb(error.__traceback__)[-1]
            place = f"{type(error).__name__} at {Path(frame.filename).name}:{frame.lineno}"
            result.failures.setdefault(place, f"{value!r:.2000}\n{''.join(traceback.format_exception(error))}")
            outcome = "broken"
        result.tried += 1
        result.outcomes[outcome] += 1
        result.slowest = max(result.slowest, time.monotonic() - start)

    one()
    result.seconds = time.monotonic() - began
    return result


@contextlib.contextmanager
def _time_limit(seconds: int) -> Iterator[None]:
    """Raise TimeoutError after so many seconds; a library that never comes back to Python ends the process with a traceback."""

    def stop(*_: Any) -> None:
        raise TimeoutError(f"hangs: more than {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    faulthandler.dump_traceback_later(10 * seconds, exit=True)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        faulthandler.cancel_dump_traceback_later()
        signal.signal(signal.SIGALRM, before)


def snapshot(folder: Path) -> dict[str, bytes | None]:
    """Every path below a folder with its content."""
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in sorted(folder.rglob("*"))}
