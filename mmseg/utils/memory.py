"""Main memory: how much there is, and how the C library treats what tensors give back."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

__all__ = ["available_memory", "keep_freed_memory"]

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3  # malloc.h of glibc
_NEVER = -1  # as a size, the largest; the largest int would be 2 GiB, less than a step holds


def keep_freed_memory() -> bool:
    """Keep freed memory in the process, for the next tensor of that size.

    By default glibc asks the system for every tensor above 32 MiB at most, and gives it back at once; each time all of its
    pages are cleared and mapped again. A step on a CPU allocates some hundreds of such tensors, the same in every iteration.
    Kept, the pages cost nothing (measured in docs/performance.md); the process stays as large as its largest step.

    Returns:
        False where the C library is not glibc: nothing is changed.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return all([mallopt(_M_MMAP_THRESHOLD, 2 ** 30), mallopt(_M_TRIM_THRESHOLD, _NEVER), mallopt(_M_TOP_PAD, 2 ** 28)])


def available_memory() -> int:
    """Bytes of main memory that this process may still take: what the system has, within the limit of a container."""
    meminfo = Path("/proc/meminfo")
    if meminfo.is_file():
        lines = dict(line.split(":") for line in meminfo.read_text().splitlines())
        free = int(lines["MemAvailable"].split()[0]) * 1024
    else:
        free = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    limit, used = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")
    if limit.is_file() and used.is_file() and (most := limit.read_text().strip()) != "max":
        free = min(free, max(0, int(most) - int(used.read_text())))
    return free
