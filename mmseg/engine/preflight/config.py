"""What a configuration says of itself: keys, types, ranges, and values that cannot go together."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmseg.engine.preflight.finding import ERROR, NOTE, WARNING, Finding
from mmseg.engine.preflight.keys import LOADERS, key_findings
from mmseg.registry import PARAM_SCHEDULERS, find_class

__all__ = ["config_findings", "dig", "pretrained_findings"]

_LEAST = {
    "train_cfg.max_iters": 1, "train_cfg.val_interval": 1, "default_hooks.checkpoint.interval": 1,
    "default_hooks.logger.interval": 1, "randomness.seed": 0, "optim_wrapper.accumulative_counts": 1,
    **{f"{loader}.batch_size": 1 for loader in LOADERS}, **{f"{loader}.num_workers": 0 for loader in LOADERS},
}
"""Least values of numbers that nothing else would refuse, or only long after the start."""

_TOGETHER = {
    "training": ("train_dataloader", "train_cfg", "optim_wrapper"),
    "validation": ("val_dataloader", "val_cfg", "val_evaluator"),
    "testing": ("test_dataloader", "test_cfg", "test_evaluator"),
}


def config_findings(config: Config) -> Iterator[Finding]:
    """Everything that can be told without building anything. All modules must be registered."""
    yield from key_findings(config)
    yield from _range_findings(config)
    yield from _together_findings(config)
    yield from _schedule_findings(config)
    yield from _interval_findings(config)
    yield from _normalisation_findings(config)


def dig(config: Any, key: str) -> Any:
    """The value at a dotted key; None where there is none."""
    for part in key.split("."):
        if isinstance(config, (list, tuple)) and part.isdigit() and int(part) < len(config):
            config = config[int(part)]
        else:
            config = config.get(part) if isinstance(config, (dict, Config)) else None
    return config


def _number(config: Any, key: str) -> float | None:
    """The number at a dotted key; None for everything else, which other checks tell."""
    value = dig(config, key)
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _range_findings(config: Config) -> Iterator[Finding]:
    for key, least in _LEAST.items():
        value = _number(config, key)
        if value is not None and not value >= least:
            yield Finding(ERROR, key, f"{value}", f"{least} or more")
    seed = _number(config, "randomness.seed")
    if seed is not None and seed >= 2**32:
        yield Finding(ERROR, "randomness.seed", f"{seed}", "less than 2**32, as numpy's generator takes it")


def _together_findings(config: Config) -> Iterator[Finding]:
    """The three keys of a phase stand together or not at all."""
    for phase, keys in _TOGETHER.items():
        missing = [key for key in keys if config.get(key) is None]
        if missing and len(missing) < len(keys):
            given = [key for key in keys if key not in missing]
            yield Finding(
                ERROR, missing[0], f"no {' and no '.join(missing)}, but {' and '.join(given)}", "all three or none",
                f"{phase} needs {', '.join(keys)}; name them, or set {' and '.join(given)} to None",
            )


def _schedule_findings(config: Config) -> Iterator[Finding]:
    """A schedule that begins after the last iteration would end as an assertion deep in the library."""
    most = _number(config, "train_cfg.max_iters")
    schedules = config.get("param_scheduler") or []
    for i, schedule in enumerate(schedules if isinstance(schedules, (list, tuple)) else [schedules]):
        if not isinstance(schedule, dict):
            yield Finding(ERROR, f"param_scheduler.{i}", f"{schedule!r:.60}", "a dictionary with a type")
            continue
        begin, end = (_number(schedule, key) for key in ("begin", "end"))
        begin, end = begin or 0, most if end is None else end
        if most and end is not None and begin >= end:
            yield Finding(
                ERROR, f"param_scheduler.{i}.begin", f"{begin}", f"less than its end, {end}",
                "train_cfg.max_iters is the end where none is given",
            )
        if most is not None and schedule.get("by_epoch", _by_epoch(schedule.get("type"))):
            yield Finding(
                WARNING, f"param_scheduler.{i}.by_epoch", f"{schedule.get('by_epoch')}", "False",
                "training is counted in iterations here, so that this schedule would never move",
            )


def _by_epoch(name: Any) -> bool:
    """Whether a schedule counts epochs where it is not told: mmengine's do."""
    return getattr(find_class(PARAM_SCHEDULERS, name), "__module__", "").startswith("mmengine.")


def _interval_findings(config: Config) -> Iterator[Finding]:
    """Things that would never happen within ``max_iters``."""
    most = _number(config, "train_cfg.max_iters")
    validates = config.get("val_dataloader") is not None
    interval = _number(config, "train_cfg.val_interval") or 1000  # IterBasedTrainLoop's own
    if most is not None and validates and interval > most:
        yield Finding(
            WARNING, "train_cfg.val_interval", f"{interval}", f"at most train_cfg.max_iters, {most}",
            "no validation would ever run",
        )
    saves = _number(config, "default_hooks.checkpoint.interval")
    if most is not None and saves is not None and saves > most:
        yield Finding(
            NOTE, "default_hooks.checkpoint.interval",
            f"{saves} is more than train_cfg.max_iters, {most}: the only checkpoint will be that of the last iteration",
        )
    counts = _number(config, "optim_wrapper.accumulative_counts") or 1
    for key, every in (
        ("default_hooks.checkpoint.interval", saves),
        ("train_cfg.val_interval", interval if validates and dig(config, "default_hooks.checkpoint.save_best") else None),
    ):
        if every is not None and every % counts and (most is None or every < most):
            yield Finding(
                WARNING, key, f"{every}", f"a multiple of optim_wrapper.accumulative_counts, {counts}",
                "a checkpoint in between lacks the gradients that are being added up: a resumed run would not be exact",
            )
    best = dig(config, "default_hooks.checkpoint.save_best")
    if best and not validates:
        yield Finding(
            ERROR, "default_hooks.checkpoint.save_best", f"{best!r} without validation",
            "val_dataloader, val_cfg and val_evaluator", "there would be no best checkpoint; name them, or set save_best to None",
        )


def _normalisation_findings(config: Config) -> Iterator[Finding]:
    std = dig(config, "data_preprocessor.std")
    if isinstance(std, (list, tuple)) and any(isinstance(s, (int, float)) and not s > 0 for s in std):
        yield Finding(ERROR, "data_preprocessor.std", f"{list(std)}", "numbers greater than 0, since images are divided by them")


def pretrained_findings(config: Config) -> Iterator[Finding]:
    """Files of weights that the configuration names and that are not there."""
    start = config.get("load_from")
    if isinstance(start, (str, Path)) and not Path(start).is_file():
        yield Finding(ERROR, "load_from", f"{str(start)!r}, which is no file", "a checkpoint", "name another by --load-from")
    if (config.get("resume") and start is None) or not isinstance(config.get("model"), dict):
        return
    for where, path in _initialisers(config.model, "model"):
        if not Path(path).is_file():
            yield Finding(
                WARNING, where, f"{path}, which is no file", "pretrained weights",
                "put the file there (nothing is downloaded); training would start from scratch",
            )


def _initialisers(value: Any, where: str) -> Iterator[tuple[str, str]]:
    """Key and path of every ``Pretrained`` initialiser."""
    if isinstance(value, (list, tuple)):
        for i, item in enumerate(value):
            yield from _initialisers(item, f"{where}.{i}")
    elif isinstance(value, dict):
        if value.get("type") == "Pretrained" and isinstance(value.get("checkpoint"), str):
            yield f"{where}.checkpoint", value["checkpoint"]
        for key, item in value.items():
            yield from _initialisers(item, f"{where}.{key}")
