"""How the C library treats memory that tensors give back."""

from __future__ import annotations

import ctypes

__all__ = ["keep_freed_memory"]

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3  # malloc.h of glibc
_NEVER = 2 ** 31 - 1


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
