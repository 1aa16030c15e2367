"""Shared memory for the loader's workers, and room for images that are kept."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmseg.datasets.resident import CACHES, SHARE, free_places
from mmseg.datasets.sample_store import DiskStore
from mmseg.engine.preflight.disk import existing
from mmseg.engine.preflight.finding import ERROR, WARNING, Finding
from mmseg.engine.preflight.splits import Split
from mmseg.utils.device import default_device, free_memory
from mmseg.utils.errors import UserError
from mmseg.utils.memory import available_memory
from mmseg.utils.paths import home_path

__all__ = ["memory_findings", "shm_findings", "worker_findings"]

_IMAGE, _MASKS = 3, 1
"""Bytes a pixel of a resident sample: of the image, and of the packed masks."""


def worker_findings(config: Config, splits: list[Split], free: int | None = None) -> Iterator[Finding]:
    """Whether workers would have to hand over samples that lie on the GPU, or these be pinned, which ends training at its first
    batch.

    Args:
        config: its loaders.
        splits: their data sets.
        free: bytes of the GPU's memory; by default asked for. Without a GPU nothing is found.
    """
    device = default_device()
    if free is None and device.type == "cpu":
        return
    free = free_memory(device) if free is None else free
    for split in splits:
        if split.cache != "device" and (split.cache != "auto" or _resident_bytes(split) > SHARE * free):
            continue
        chosen = "chosen by cache='auto'" if split.cache == "auto" else "as configured"
        for key, wanted in (("num_workers", 0), ("pin_memory", False)):
            if value := config[split.loader].get(key):
                yield Finding(
                    ERROR, f"{split.loader}.{key}", f"{value} with samples kept on the GPU ({chosen})", f"{wanted}",
                    "they are where they are needed; or keep them elsewhere by the data set's cache='host' or 'disk'",
                )


def _resident_bytes(split: Split, pinned: bool = False) -> int:
    """Of a data set; each block of pinned memory has a power of two."""
    width, height = split.working_size() or (0, 0)
    parts = [_IMAGE * width * height, _MASKS * width * height]
    return len(split.dataset) * sum(1 << (part - 1).bit_length() if pinned and part else part for part in parts)


def bytes_on_device(splits: list[Split], free: int) -> int:
    """What data sets keep on a GPU while training goes on.

    Args:
        splits: the data sets, in the order in which they are built.
        free: bytes of its memory.
    """
    kept = 0
    for split in splits:
        needed = _resident_bytes(split)
        if split.cache == "device" or (split.cache == "auto" and needed <= SHARE * (free - kept)):
            kept += needed
    return kept


def shm_findings(config: Config, splits: list[Split], free: int | None = None, processes: int = 1) -> Iterator[Finding]:
    """Whether ``/dev/shm`` holds the batches that worker processes prepare ahead; Docker gives 64 MiB.

    Workers of the training stay while those of the validation work. Data sets of index maps are not counted.

    Args:
        config: its loaders.
        splits: their data sets, which tell the size of a sample.
        free: bytes of ``/dev/shm``; by default asked for.
        processes: of the job on this machine, each with workers of its own.
    """
    if free is None:
        try:
            free = shutil.disk_usage("/dev/shm").free
        except OSError:  # no such thing on this system
            return
    needed: dict[str, int] = {}
    for split in splits:
        loader: Any = config[split.loader]
        if workers := loader.get("num_workers") or 0:
            ahead = (loader.get("prefetch_factor") or 2) + 1  # and the one that is being used
            bytes_ahead = workers * ahead * (loader.get("batch_size") or 1) * split.sample_bytes()
            needed[split.loader] = max(needed.get(split.loader, 0), bytes_ahead)
    testing = needed.pop("test_dataloader", 0)
    most = max(sum(needed.values()), testing) * processes
    if most > free:
        gigabytes = -(-most // 2**30)
        yield Finding(
            ERROR, "/dev/shm", f"{free / 2**20:.0f} MiB free", f"{most / 2**20:.0f} MiB for the batches of the workers",
            f"start with: docker run --shm-size={gigabytes}g ..., or set num_workers=0, which needs none",
        )


def memory_findings(splits: list[Split], free: int | None = None, processes: int = 1) -> Iterator[Finding]:
    """Whether the images that a ResidentDataset keeps fit where the configuration says: main memory, the GPU's, or a disk.

    Args:
        splits: the data sets.
        free: bytes at that place; by default asked for.
        processes: of the job on this machine, each of which keeps all images in main memory.
    """
    device = default_device()
    for split in splits:
        if split.cache not in CACHES:
            continue
        cache = "host" if split.cache == "device" and device.type == "cpu" else split.cache
        if cache == "auto":
            if any(_resident_bytes(split) <= SHARE * room for _, room in free_places(processes)):
                continue
            cache = "disk"  # which is what is left, and is not looked at when it is chosen
        needed = _resident_bytes(split, pinned=cache == "host" and device.type == "cuda")
        if cache == "disk":
            folder = Path(split.cache_dir or home_path("work_dirs", "cache"))
            if not (there := existing(folder)).exists():
                continue  # a link to nothing, which the data set tells
            room = shutil.disk_usage(there).free if free is None else free
            place, fix = f"free for {folder}", "make room, choose a smaller size, or another cache_dir"
        elif cache == "device":
            room = free_memory(device) if free is None else free
            place, fix = "of the GPU's memory free", "choose a smaller size, or cache='host' or 'disk'"
        else:
            room = available_memory() if free is None else free
            needed *= processes
            place, fix = "of main memory free", "choose a smaller size, or cache='disk'"
        if needed > room and not (cache == "disk" and _is_stored(split, folder)):
            size = split.working_size() or (0, 0)
            yield Finding(
                WARNING, split.where, f"{room / 2**30:.1f} GiB {place}",
                f"{needed / 2**30:.1f} GiB for {len(split.dataset)} images at {size[0]}x{size[1]}"
                + (f" in each of {processes} processes" if processes > 1 and cache == "host" else ""), fix,
            )


def _is_stored(split: Split, cache_dir: Path) -> bool:
    """Whether the samples are on the disk already."""
    try:
        return DiskStore.folder_of(split.dataset, cache_dir).is_dir()
    except UserError:  # a file is missing, which the reading of the data tells
        return False
