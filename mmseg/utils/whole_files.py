"""Files that are there whole, or not at all."""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path

__all__ = ["UNFINISHED", "flush_folder", "holds_other_json", "whole_file"]

UNFINISHED = ".part"
"""Suffix of a file that is not yet whole; a later run overwrites it."""


@contextlib.contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Give a place beside ``path`` to write to: the file there becomes ``path`` when the block ends, and goes when it fails.

    A process that is killed leaves at most that file, ``.<name>.part``; ``path`` holds what it held.

    Args:
        path: of the file; its folder must exist when something is written.

    Raises:
        OSError: the file cannot be moved.
    """
    path = Path(path)
    unfinished = path.with_name(f".{path.name}{UNFINISHED}")
    unfinished.unlink(missing_ok=True)  # it may be a link that somebody else has put there
    try:
        yield unfinished
        unfinished.replace(path)
    finally:
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)


def holds_other_json(path: str | Path, keys: set[str]) -> bool:
    """Whether a file is there that would be lost: neither empty nor a JSON object with these keys at its top."""
    path = Path(path)
    if not path.exists():
        return False
    try:
        return path.stat().st_size > 0 and not keys <= set(json.loads(path.read_text()))
    except (OSError, ValueError, TypeError, RecursionError):
        return True


def flush_folder(folder: Path) -> None:
    """Put the names of a folder on the disk: without this a power cut may undo a rename. Some file systems cannot.

    Raises:
        OSError: it fails.
    """
    if os.name == "nt":  # folders cannot be opened there
        return
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(number)
