"""What can be told of a machine, or of a container that has just started, without a config."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from mmseg.engine.preflight.disk import folder_findings
from mmseg.engine.preflight.environment import environment_findings
from mmseg.engine.preflight.finding import NOTE, WARNING, Finding

__all__ = ["machine_findings"]

_ENOUGH = 2**30
"""Bytes of ``/dev/shm`` that a few workers with batches of whole photographs need."""


def machine_findings(work_dir: str | Path, shm: int | None = None) -> Iterator[Finding]:
    """Versions, driver and devices, the folder for results, and shared memory.

    Args:
        work_dir: where results will go; need not exist.
        shm: bytes of ``/dev/shm``; by default asked for.
    """
    yield from environment_findings()
    yield from folder_findings(work_dir)
    if shm is None:
        try:
            shm = shutil.disk_usage("/dev/shm").total
        except OSError:  # no such thing on this system
            return
    size = f"{shm / 2**20:.0f} MiB"
    if shm < _ENOUGH:
        yield Finding(
            WARNING, "/dev/shm", size, "8 GiB for worker processes (num_workers > 0)",
            "start the container with --shm-size=8g; the configs for lesions have no workers and on one GPU need none",
        )
    else:
        yield Finding(NOTE, "/dev/shm", size)
