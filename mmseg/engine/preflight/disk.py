"""Room and place for what a run writes."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.hooks import EMAHook
from torch import nn

from mmseg.engine.preflight.config import dig
from mmseg.engine.preflight.finding import ERROR, NOTE, WARNING, Finding
from mmseg.engine.work_dir import CHECKPOINTS, best_checkpoints, numbered_checkpoints
from mmseg.registry import HOOKS, find_subclass

__all__ = ["checkpoint_bytes", "disk_findings", "existing", "file_system", "folder_findings", "in_container"]

_MOMENTS = {"SGD": 1, "RMSprop": 1, "Adagrad": 1, "LBFGS": 0, "Adafactor": 1}
"""Numbers that an optimiser keeps for every weight; 2 for Adam's family and what is not listed."""

_IN_MEMORY = ("overlay", "aufs", "tmpfs", "ramfs")
"""File systems of a container's own layer, or of memory: gone when the container is removed."""


def folder_findings(work_dir: str | Path, mounts: str | None = None, container: bool | None = None) -> Iterator[Finding]:
    """Whether the ``work_dir`` can be written, and whether it outlives its container.

    Args:
        work_dir: need not exist.
        mounts: what ``/proc/self/mountinfo`` says; by default read there.
        container: whether this runs inside one; by default found out.
    """
    there = existing(Path(work_dir))
    if not there.is_dir() or not os.access(there, os.W_OK):
        kind = "file" if there.exists() else "link to nothing"
        what = f"no permission in {there}" if there.is_dir() else f"{there} is a {kind}"
        yield Finding(ERROR, str(work_dir), f"cannot be written ({what})", fix="choose another folder by --work-dir")
        return
    kind = file_system(there, mounts)
    if (in_container() if container is None else container) and kind in _IN_MEMORY:
        place = Path(work_dir).absolute()
        yield Finding(
            WARNING, str(work_dir), f"a folder of the container's own layer ({kind})", "a mounted folder",
            f"`docker rm` would destroy the results; start with: docker run -v \"$(pwd)/{place.name}:{place}\" ...",
        )


def existing(path: Path) -> Path:
    """The path, or the nearest folder above it that is there."""
    path = path.absolute()
    while not os.path.lexists(path) and path != path.parent:
        path = path.parent
    return path


def _has_links(folder: Path) -> bool:
    """Whether the file system has hard links; true where that cannot be tried."""
    try:
        made = tempfile.TemporaryDirectory(dir=folder, prefix=".links")
    except OSError:  # told by folder_findings
        return True
    with made as trial:
        one = Path(trial, "one")
        one.touch()
        try:
            os.link(one, Path(trial, "other"))
        except OSError:
            return False
    return True


def file_system(path: Path, mounts: str | None = None) -> str:
    """The kind of file system that a path lies on, such as 'ext4'; empty where the system does not tell."""
    if mounts is None:
        try:
            mounts = Path("/proc/self/mountinfo").read_text()
        except OSError:
            return ""
    path, best, kind = path.resolve(), -1, ""
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        if len(before.split()) < 5 or not after:
            continue
        point = Path(before.split()[4].replace("\\040", " "))
        if (point == path or point in path.parents) and len(point.parts) >= best:
            best, kind = len(point.parts), after.split()[0]
    return kind


def in_container(root: Path = Path("/")) -> bool:
    """Whether this process runs in a container of Docker, Podman, Kubernetes or Singularity."""
    if any((root / mark).exists() for mark in (".dockerenv", "run/.containerenv", "singularity", ".singularity.d")):
        return True
    try:
        return any(word in (root / "proc/1/cgroup").read_text() for word in ("docker", "kubepods", "containerd", "libpod"))
    except OSError:
        return False


def checkpoint_bytes(config: Config, model: nn.Module) -> int:
    """Size of one checkpoint of a model: its weights, the optimiser's moments and, where they are averaged, a second copy."""
    weights = sum(t.numel() * t.element_size() for t in model.state_dict().values())
    trained = sum(p.numel() * p.element_size() for p in model.parameters() if p.requires_grad)
    optimizer: Any = dig(config, "optim_wrapper.optimizer")
    optimizer = optimizer if isinstance(optimizer, dict) else {}
    moments = _MOMENTS.get(str(optimizer.get("type")), 2)
    if optimizer.get("type") == "SGD" and not optimizer.get("momentum"):
        moments = 0
    hooks = config.get("custom_hooks")
    hooks = hooks if isinstance(hooks, (list, tuple)) else ()  # else it is told as a value of the wrong type
    averaged = any(find_subclass(HOOKS, dig(hook, "type"), EMAHook) for hook in hooks)
    return weights * (2 if averaged else 1) + trained * (moments + bool(optimizer.get("amsgrad")))


def disk_findings(config: Config, model: nn.Module, free: int | None = None) -> Iterator[Finding]:
    """Whether the checkpoints to come have room beside what is there.

    Args:
        config: with ``work_dir``.
        model: as it will be trained.
        free: bytes; by default those of the disk of ``work_dir``.
    """
    checkpoint: Any = (config.get("default_hooks") or {}).get("checkpoint", CHECKPOINTS)
    most = dig(config, "train_cfg.max_iters")
    if not isinstance(checkpoint, dict) or not isinstance(most, int):
        return
    work_dir = Path(config.work_dir)
    if not existing(work_dir).exists():
        return  # a link to nothing, which is told with the folder
    size, kept, interval = checkpoint_bytes(config, model), checkpoint.get("max_keep_ckpts", -1), checkpoint.get("interval", 1000)
    if not isinstance(kept, int) or not isinstance(interval, int):
        return  # told where the hook is built
    written = -(-most // max(1, interval))
    # A file is removed only after its successor is on the disk.
    count = written if kept < 0 else min(written, kept + 1)
    count += 0 if _has_links(existing(work_dir)) else 2  # latest.pth is a copy then, and its successor beside it
    count += 2 if checkpoint.get("save_best") else 0
    there = [*numbered_checkpoints(work_dir).values(), *best_checkpoints(work_dir)]
    needed = count * size - sum(path.stat().st_size for path in there)
    free = shutil.disk_usage(existing(work_dir)).free if free is None else free
    numbers = f"{count} checkpoints of {size / 2**20:.0f} MiB"
    if needed > free:
        yield Finding(
            ERROR, str(work_dir), f"{free / 2**30:.1f} GiB free", f"{needed / 2**30:.1f} GiB for {numbers}",
            "free some, choose another --work-dir, or keep fewer by default_hooks.checkpoint.max_keep_ckpts",
        )
    else:
        yield Finding(NOTE, str(work_dir), f"{numbers} to come, {free / 2**30:.1f} GiB free")
