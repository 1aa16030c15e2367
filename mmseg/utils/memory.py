"""Main memory: how much there is, and how the C library treats what tensors give back."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
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
    return min([free, *_left_in_groups(Path("/"))])


_FILES = {  # of the two versions of control groups: limit, use, and what of the use is cached files that can be dropped
    "": ("memory.max", "memory.current", "inactive_file"),
    "memory": ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}


def _left_in_groups(root: Path) -> Iterator[int]:
    """Bytes that are left to this process in its control group and in those around it, where they have a limit.

    A container sees its own group as the outermost one; under Slurm and systemd groups lie in groups.

    Args:
        root: ``/``; another in tests.
    """
    groups = root / "proc/self/cgroup"
    for line in groups.read_text().splitlines() if groups.is_file() else ():
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        version = "memory" if controllers else ""
        top = root / "sys/fs/cgroup" / version
        own = top / path.lstrip("/")
        for folder in (own, *own.parents) if own.is_dir() else (top,):
            limit, used, dropped = (folder / name for name in (*_FILES[version][:2], "memory.stat"))
            if limit.is_file() and used.is_file() and (most := limit.read_text().strip()) != "max":
                stat = dict(line.split() for line in dropped.read_text().splitlines()) if dropped.is_file() else {}
                yield max(0, int(most) - int(used.read_text()) + int(stat.get(_FILES[version][2], 0)))
            if folder == top:
                break
