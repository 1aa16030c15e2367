"""The files that a run leaves in its ``work_dir``: what they are called is known here and nowhere else."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmseg.utils.errors import UserError
from mmseg.utils.locks import hold

__all__ = [
    "CHECKPOINTS", "CURVES", "LATEST", "NEWEST", "RUNNING", "best_checkpoints", "best_name", "checkpoints", "log_entries",
    "numbered_checkpoints", "numbered_name", "remove_run", "scalar_logs", "sole_writer",
]

LATEST = "latest.pth"
"""Another name of the newest checkpoint."""

NEWEST = "last_checkpoint"
"""Holds the path of the newest checkpoint, as mmengine's tools read it."""

CURVES = "curves.png"
"""The losses, learning rate and scores of the run, drawn."""

CHECKPOINTS = dict(type="CheckpointHook", interval=1000, max_keep_ckpts=3)
"""Of a configuration that says nothing of them; mmengine's hook would write one after every iteration and keep all."""

RUNNING = ".running"
"""Held by the run that writes there."""


def numbered_name(iteration: int) -> str:
    """Of the checkpoint after so many iterations."""
    return f"iter_{iteration}.pth"


def best_name(metric: str, iteration: int) -> str:
    """Of the checkpoint that scored best, such as ``best_lesion_mDice_iter_2000.pth``."""
    return f"best_{metric.replace('/', '_')}_{numbered_name(iteration)}"


def _matching(folder: str | Path, pattern: str) -> list[tuple[int, Path]]:
    found = ((re.fullmatch(pattern, path.name), path) for path in Path(folder).glob("*.pth") if path.is_file())
    return [(int(match[1]), path) for match, path in found if match]


def numbered_checkpoints(folder: str | Path) -> dict[int, Path]:
    """``iter_N.pth`` by their iterations."""
    return dict(_matching(folder, r"iter_(\d+)\.pth"))


def best_checkpoints(folder: str | Path, metric: str | None = None) -> list[Path]:
    """The best checkpoints by a metric, or by any."""
    name = r"best_.+_" if metric is None else re.escape(best_name(metric, 0).removesuffix(numbered_name(0)))
    return [path for _, path in _matching(folder, name + r"iter_(\d+)\.pth")]


def checkpoints(folder: str | Path) -> list[Path]:
    """All that a run wrote, :data:`LATEST` first where it is there; in no other order."""
    latest = Path(folder, LATEST)
    return [*([latest] if latest.is_file() else ()), *numbered_checkpoints(folder).values(), *best_checkpoints(folder)]


def scalar_logs(folder: str | Path) -> list[Path]:
    """The numbers that a run logged, a file for each time it was started."""
    return sorted(Path(folder).glob("*/vis_data/scalars.json"))


def log_entries(log: Path) -> Iterator[dict[str, Any]]:
    """The lines of such a file, but for those that a power cut or a full disk has cut off."""
    for line in log.read_text().splitlines():
        with contextlib.suppress(ValueError):
            yield json.loads(line)


def remove_run(folder: str | Path) -> None:
    """Remove a run's checkpoints, its curves, and the numbers that they are drawn from; for its :func:`sole_writer`."""
    own = Path(folder).resolve()
    for path in [*checkpoints(folder), *scalar_logs(folder), Path(folder, NEWEST), Path(folder, CURVES)]:
        if path.parent.resolve().is_relative_to(own):  # not what lies behind a link to another run
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def sole_writer(folder: str | Path) -> Iterator[None]:
    """Be the only run that writes to a work_dir: two would remove each other's checkpoints.

    Raises:
        UserError: another one does.
    """
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(hold(Path(folder, RUNNING), wait=False))
        except BlockingIOError:
            raise UserError(f"{folder}: another training is writing there; wait until it ends, or name another work_dir "
                            f"(--work-dir). If its machine has died, remove {Path(folder, RUNNING)}") from None
        yield
