"""Which checkpoint a run goes on from, and what differs between that checkpoint and the configuration."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmseg.engine.checkpoint import OF_THE_CALL, embedded_config, read_checkpoint
from mmseg.engine.config import config_json
from mmseg.engine.work_dir import LATEST, checkpoints
from mmseg.utils.errors import UserError

__all__ = [
    "check_rate_lasts", "check_resumable", "config_differences", "leaves", "newest_readable", "resume_candidates",
    "state_differences",
]

_FROM_CHECKPOINT = ("optim_wrapper.optimizer.", "param_scheduler.", "randomness.seed")
"""What is restored as state; :func:`state_differences` compares it as it is, not as it was written."""

_IN_GROUPS = ("optim_wrapper.paramwise_cfg", "optim_wrapper.constructor", "auto_scale_lr")
"""What has gone into the rates and decays of the optimiser's groups, which are restored."""


def resume_candidates(folder: str | Path) -> list[Path]:
    """The checkpoints of a work_dir, best first: ``latest.pth``, then the others by age; second names are left out."""
    latest = Path(folder, LATEST)
    others = sorted(
        (path for path in checkpoints(folder) if path != latest),
        key=lambda path: (path.stat().st_mtime_ns, path.name), reverse=True,
    )
    return [latest, *(p for p in others if not p.samefile(latest))] if latest.is_file() else others


def newest_readable(candidates: Sequence[Path]) -> tuple[Path, list[str]]:
    """The first of some checkpoints that is whole and can be resumed from.

    Returns:
        its path, and why those before it could not be taken.

    Raises:
        UserError: none can; with the reason of each.
    """
    troubles: list[str] = []
    for path in candidates:
        try:
            check_resumable(read_checkpoint(path), path)
        except UserError as error:
            troubles.append(str(error))
        else:
            return path, troubles
    raise UserError("\n  ".join(troubles))


def check_resumable(checkpoint: dict[str, Any], path: str | Path) -> None:
    """See that a checkpoint holds the whole state of a run, as this project writes it.

    Raises:
        UserError: it holds weights only, or was written by another project.
    """
    meta = checkpoint.get("meta") or {}
    missing = [key for key in ("optimizer", "param_schedulers", "rng") if key not in checkpoint]
    missing += [f"meta.{key}" for key in ("iter", "seed", "init") if key not in meta]
    if missing:
        raise UserError(
            f"{path}: holds no {', '.join(missing)}, so it cannot be resumed; start from its weights by --load-from"
        )


def check_rate_lasts(schedules: Sequence[Any], max_iters: int, path: str | Path) -> None:
    """See that restored schedules leave a learning rate until the end of the run.

    Args:
        schedules: of mmengine, with the states of a checkpoint.
        max_iters: of the run that goes on.
        path: of the checkpoint, for the message.

    Raises:
        UserError: the last one ends at 0, before the run does.
    """
    rates = [schedule for schedule in schedules if schedule.param_name == "lr" and not schedule.by_epoch]
    last = max(rates, key=lambda schedule: schedule.end, default=None)
    if last is not None and getattr(last, "eta_min", None) == 0 and last.end < max_iters:
        raise UserError(
            f"{path}: its schedule ends at iteration {last.end} with a rate of 0, and train_cfg.max_iters is {max_iters}: "
            f"nothing would be learnt in between. Go on to its end by --cfg-options train_cfg.max_iters={last.end}, or train on "
            "under a new schedule by --load-from, with another --work-dir"
        )


def config_differences(checkpoint: dict[str, Any], config: Config) -> list[str]:
    """One line for each value that is another in the configuration than in the one inside the checkpoint.

    Raises:
        UserError: an optimiser or schedule is of another class, so that its state means nothing.
    """
    written = embedded_config(checkpoint, "the checkpoint")
    if written is None:
        return []
    old, new = dict(leaves(written)), dict(leaves(json.loads(config_json(config))))
    lines = []
    for key in [key for key in {**old, **new} if old.get(key) != new.get(key)]:
        if key.startswith(_FROM_CHECKPOINT) and key.endswith(".type") and key in old and key in new:
            raise UserError(
                f"{key}: got {new[key]!r}, but the checkpoint holds the state of {old[key]!r}; resume with the config of "
                "that run, or start from the weights by --load-from"
            )
        if key.startswith(_IN_GROUPS):
            lines.append(f"{key}: {_shown(old, key)} of the checkpoint is used, not {_shown(new, key)} of the config")
        elif not key.startswith((*_FROM_CHECKPOINT, *OF_THE_CALL)):
            lines.append(f"{key}: {_shown(new, key)} of the config is used, not {_shown(old, key)} of the checkpoint")
    return lines


def state_differences(where: str, kept: dict[str, Any], built: dict[str, Any]) -> list[str]:
    """One line for each setting that the state of an optimiser or a schedule brings along and the configuration has otherwise.

    What moves while training (``lr`` where a schedule sets it, ``last_step`` and the like) is not a setting.

    Args:
        where: key of the configuration, for the lines.
        kept: a parameter group of the optimiser, or the state of a schedule, in the checkpoint.
        built: the same from the configuration.
    """
    moving = {"params", "last_step", "verbose", "base_values"} | ({"lr"} if "initial_lr" in kept else set())
    return [
        f"{where}.{key.removeprefix('initial_')}: {value} of the checkpoint is used, not {built[key]} of the config"
        for key, value in kept.items()
        if not key.startswith("_") and key not in moving and key in built and _plain(value) != _plain(built[key])
    ]


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, (list, tuple)) else value


def leaves(value: Any, where: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys and values of a nested configuration; a list of plain values is one value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    if not any(isinstance(item, (dict, list)) for _, item in items) and not isinstance(value, dict):
        yield where.removeprefix("."), value
        return
    for key, item in items:
        yield from leaves(item, f"{where}.{key}")


def _shown(values: dict[str, Any], key: str) -> str:
    return repr(values[key]) if key in values else "nothing"
