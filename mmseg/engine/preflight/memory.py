"""Shared memory for the loader's workers, and main memory for images that stay there."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmseg.engine.preflight.config import dig
from mmseg.engine.preflight.finding import ERROR, WARNING, Finding
from mmseg.engine.preflight.splits import Split
from mmseg.structures import LESIONS

__all__ = ["available_memory", "memory_findings", "shm_findings"]

_CHANNELS = 3 + len(LESIONS)
"""Bytes a pixel of a sample: the image and its masks, uint8."""


def shm_findings(config: Config, splits: list[Split], free: int | None = None) -> Iterator[Finding]:
    """Whether ``/dev/shm`` holds the batches that worker processes prepare ahead; Docker gives 64 MiB.

    Args:
        config: its loaders.
        splits: their data sets, which tell the size of a sample.
        free: bytes of ``/dev/shm``; by default asked for.
    """
    if free is None:
        try:
            free = shutil.disk_usage("/dev/shm").free
        except OSError:  # no such thing on this system
            return
    needed = 0
    for split in splits:
        loader: Any = config.get(split.loader)
        workers, batch = loader.get("num_workers") or 0, loader.get("batch_size") or 1
        size = split.working_size() if workers else None
        if size is not None:
            ahead = (loader.get("prefetch_factor") or 2) + 1  # and the one that is being used
            needed = max(needed, workers * ahead * batch * _CHANNELS * size[0] * size[1])
    if needed > free:
        gigabytes = -(-needed // 2**30)
        yield Finding(
            ERROR, "/dev/shm", f"{free / 2**20:.0f} MiB free", f"{needed / 2**20:.0f} MiB for the batches of the workers",
            f"start with: docker run --shm-size={gigabytes}g ..., or set num_workers=0, which needs none",
        )


def memory_findings(config: Config, splits: list[Split], free: int | None = None) -> Iterator[Finding]:
    """Whether the images that a ResidentDataset keeps fit into main memory.

    Args:
        config: its loaders.
        splits: their data sets.
        free: bytes; by default asked for.
    """
    free = available_memory() if free is None else free
    for split in splits:
        resident = dig(config, f"{split.loader}.dataset.type") == "ResidentDataset"
        if not resident or dig(config, f"{split.loader}.dataset.cache") != "host":  # 'auto' looks for itself
            continue
        size = split.working_size()
        # three bytes of image and four bits of masks a pixel
        needed = 0 if size is None else len(split.dataset) * size[0] * size[1] * 7 // 2
        if free is not None and needed > free:
            yield Finding(
                WARNING, f"{split.loader}.dataset", f"{free / 2**30:.1f} GiB of main memory free",
                f"{needed / 2**30:.1f} GiB for {len(split.dataset)} images at {size[0] if size else 0}x{size[1] if size else 0}",
                "choose a smaller size",
            )


def available_memory() -> int | None:
    """Bytes of main memory that a new process may have; None where the system does not tell."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration, ValueError):
        return None
    try:  # a container's own limit
        limit = int(Path("/sys/fs/cgroup/memory.max").read_text())
        used = int(Path("/sys/fs/cgroup/memory.current").read_text())
    except (OSError, ValueError):
        return free
    return min(free, max(0, limit - used))
