"""Files that one process holds at a time."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

__all__ = ["hold"]


@contextlib.contextmanager
def hold(path: Path, wait: bool = True) -> Iterator[bool]:
    """Hold a lock, which the system takes back when the process ends, however it ends.

    Where there are no locks (Windows, some file systems of networks, a folder that cannot be written) everybody goes on.

    Args:
        path: of the file that is locked; it is made, and stays.
        wait: for the process that holds it.

    Yields:
        whether it is held, so that nobody else goes on.

    Raises:
        BlockingIOError: another process holds it, without ``wait``.
    """
    held = False
    with contextlib.ExitStack() as stack:
        try:
            import fcntl

            file = stack.enter_context(path.open("w"))
            os.register_at_fork(after_in_child=file.close)  # a worker that outlives this process must not hold it
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            held = True
        except BlockingIOError:
            raise
        except (ImportError, OSError):
            pass
        yield held
