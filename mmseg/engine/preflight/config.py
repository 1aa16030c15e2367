"""What a configuration says of itself: keys, types, ranges, and values that cannot go together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.hooks import EMAHook
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop

from mmseg.compat.legacy_lr import LegacyLR
from mmseg.datasets.leaves import leaf_datasets
from mmseg.engine.dataset_info import data_preprocessor_of
from mmseg.engine.preflight.finding import ERROR, NOTE, WARNING, Finding
from mmseg.engine.preflight.keys import LOADERS, dig, key_findings
from mmseg.engine.preflight.types import matches
from mmseg.registry import HOOKS, LOOPS, PARAM_SCHEDULERS, find_class, find_subclass
from mmseg.utils.paths import find_weights

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


def config_findings(config: Config, loaders: Sequence[str] = LOADERS) -> Iterator[Finding]:
    """Everything that can be told without building anything. All modules must be registered.

    Args:
        config: to be checked.
        loaders: those that will be used; none where only the model is built, of a configuration that may be of long ago.
    """
    yield from key_findings(config)
    yield from _range_findings(config)
    yield from _together_findings(config)
    if "train_dataloader" in loaders:
        yield from _runner_findings(config)
        yield from _initialiser_findings(config)
        yield from _loop_findings(config)
        yield from _average_findings(config)
        yield from _schedule_findings(config)
        yield from _interval_findings(config)
    yield from _data_findings(config, loaders)
    yield from _normalisation_findings(config)


def _runner_findings(config: Config) -> Iterator[Finding]:
    """Keys for mmengine's runner that would do harm here."""
    if config.get("activation_checkpointing") is not None:
        yield Finding(ERROR, "activation_checkpointing", f"{config.activation_checkpointing!r:.60}", "nothing",
                      "mmengine's way takes the gradients from a part that is given images, as the backbone is; to save memory "
                      "set model.backbone.with_cp=True")
    if dig(config, "auto_scale_lr.enable") and not dig(config, "auto_scale_lr.base_batch_size"):
        yield Finding(ERROR, "auto_scale_lr.base_batch_size", "nothing", "the batch that the learning rate is for, such as 4")


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


def _loop_findings(config: Config) -> Iterator[Finding]:
    """Training is counted in iterations."""
    loop = config.get("train_cfg")
    if not isinstance(loop, dict):
        return
    if loop.get("type") is None and loop.get("by_epoch") is False and loop.get("max_iters") is not None:
        yield Finding(WARNING, "train_cfg.type", "None", "'IterBasedTrainLoop'",
                      "mmengine's own loop takes part: it is neither stopped nor resumed exactly")
    elif loop.get("type") is None or find_subclass(LOOPS, loop["type"], EpochBasedTrainLoop):
        yield Finding(ERROR, "train_cfg.type", f"{loop.get('type')!r}", "'IterBasedTrainLoop'",
                      "training is counted in iterations here: max_iters = epochs x images / batch")
    elif find_subclass(LOOPS, loop["type"], IterBasedTrainLoop) and loop.get("max_iters") is None:
        yield Finding(ERROR, "train_cfg.max_iters", "nothing", "a number of iterations")


def _data_findings(config: Config, loaders: Sequence[str]) -> Iterator[Finding]:
    """Masks of the size that their user needs, loaders that torch can build and that come to an end, and one working size."""
    sizes = []
    for loader in loaders:
        settings, tests = config.get(loader), loader != "train_dataloader"
        if not isinstance(settings, dict):
            continue
        for key in ("persistent_workers", "prefetch_factor"):
            if settings.get(key) and not settings.get("num_workers"):
                yield Finding(
                    ERROR, f"{loader}.{key}", f"{settings[key]} without workers", "num_workers > 0", f"or leave {key} out")
        if settings.get("shuffle"):
            yield Finding(ERROR, f"{loader}.shuffle", "True beside the sampler", "nothing", "set sampler.shuffle instead")
        if settings.get("sampler") is None:
            yield Finding(ERROR, f"{loader}.sampler", "nothing", "such as dict(type='InfiniteSampler', shuffle=True)")
        if tests and dig(settings, "sampler.type") == "InfiniteSampler":
            yield Finding(ERROR, f"{loader}.sampler.type", "'InfiniteSampler'", "'DefaultSampler'", "it would never end")
        for leaf in leaf_datasets(settings.get("dataset"), f"{loader}.dataset"):
            if not leaf.reads_itself:
                continue
            if tests and leaf.resident is not None:
                yield Finding(ERROR, leaf.where, "a ResidentDataset around it", "the data set itself", "metrics need its masks")
            elif leaf.size is not None and bool(leaf.settings.get("test_mode")) != tests:
                yield Finding(ERROR, f"{leaf.where}.test_mode", f"{leaf.settings.get('test_mode', False)}", f"{tests}",
                              "masks of the photograph's own size are for metrics, of the working size for training")
            if leaf.size is None or matches(leaf.size, tuple[int, int]):  # else it is told as a value of the wrong type
                sizes.append((loader, leaf, leaf.size and tuple(sorted(leaf.size))))
    trained = {size for loader, _, size in sizes if loader == "train_dataloader"}
    for loader, leaf, size in sizes:
        if trained and loader != "train_dataloader" and size not in trained:
            of_training = " or ".join(map(str, trained))
            yield Finding(WARNING, f"{leaf.where}.size", f"{leaf.size}", f"{of_training} (either way round), as in training",
                          "lesions would have another size than the network has learnt")


def _schedule_findings(config: Config) -> Iterator[Finding]:
    """A schedule that begins after the last iteration would end as an assertion deep in the library."""
    most = _number(config, "train_cfg.max_iters")
    schedules = config.get("param_scheduler") or []
    schedules = schedules if isinstance(schedules, (list, tuple)) else [schedules]
    yield from _length_findings(schedules, most)
    for i, schedule in enumerate(schedules):
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


def _length_findings(schedules: Sequence[Any], most: float | None) -> Iterator[Finding]:
    """The last schedule should end with the training; warm-ups end earlier."""
    ends = [(end, i) for i, schedule in enumerate(schedules) if isinstance(schedule, dict)
            and schedule.get("type") not in ("LinearLR", "ConstantLR") and (end := _number(schedule, "end")) is not None]
    open_ended = any(isinstance(s, dict) and s.get("end") is None for s in schedules)
    if most is None or not ends or open_ended or max(ends)[0] == most:
        return
    end, i = max(ends)
    yield Finding(
        WARNING, f"param_scheduler.{i}.end", f"{end}", f"train_cfg.max_iters, {most}, or none",
        "the rest is trained at its last rate, which may be 0" if end < most else "training ends before it does")


def _by_epoch(name: Any) -> bool:
    """Whether the runner lets a schedule count epochs where it is not told: all but one, whatever the class has as default."""
    return find_class(PARAM_SCHEDULERS, name) is not None and find_subclass(PARAM_SCHEDULERS, name, LegacyLR) is None


def _interval_findings(config: Config) -> Iterator[Finding]:
    """Things that would never happen within ``max_iters``."""
    most = _number(config, "train_cfg.max_iters")
    validates = config.get("val_dataloader") is not None
    interval = _number(config, "train_cfg.val_interval") or 1000  # IterBasedTrainLoop's own
    if most is not None and validates and interval > most:
        yield Finding(
            WARNING, "train_cfg.val_interval", f"{interval}", f"at most train_cfg.max_iters, {most}",
            "it would run once, after the last iteration",
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


def _average_findings(config: Config) -> Iterator[Finding]:
    """A moving average that has hardly left the weights that it began with when training ends: mmengine's has no warm-up."""
    most, hooks = _number(config, "train_cfg.max_iters") or 0, config.get("custom_hooks")
    for i, hook in enumerate(hooks if isinstance(hooks, (list, tuple)) and most > 0 else ()):
        if not (isinstance(hook, dict) and find_subclass(HOOKS, hook.get("type"), EMAHook)) or hook.get("begin_iter") or hook.get(
                "begin_epoch"):
            continue
        momentum, interval = hook.get("momentum", 2e-4), hook.get("interval", 1)  # mmengine's own
        if (hook.get("ema_type", "ExponentialMovingAverage") == "ExponentialMovingAverage" and isinstance(momentum, float)
                and 0 < momentum < 1 and isinstance(interval, int) and interval > 0
                and (share := (1 - momentum) ** (most / interval)) > 0.05):
            yield Finding(
                WARNING, f"custom_hooks.{i}.momentum", f"{momentum}", f"at least {min(0.5, 5 * interval / most):.2g}",
                f"in the end {100 * share:.0f} % of the average would be the weights that training begins with")


def _normalisation_findings(config: Config) -> Iterator[Finding]:
    where, settings = data_preprocessor_of(config)
    if where.startswith("model.") and config.get("data_preprocessor") not in (None, settings):
        yield Finding(WARNING, "data_preprocessor", "other settings than model.data_preprocessor, which is used",
                      "one of the two", "take one out; --cfg-options name the other")
    std: Any = settings.get("std")
    mean: Any = settings.get("mean")
    if isinstance(std, (list, tuple)) and any(isinstance(s, (int, float)) and not s > 0 for s in std):
        yield Finding(ERROR, f"{where}.std", f"{list(std)}", "numbers greater than 0, since images are divided by them")
    numbers = [v for part in (mean, std) if isinstance(part, (list, tuple)) for v in part if isinstance(v, (int, float))]
    if len(numbers) == 6 and max(numbers) <= 1 and any(mean):  # zeros and ones mean: not at all
        yield Finding(WARNING, f"{where}.mean", f"{list(mean)}", "numbers from 0 to 255, as std",
                      "for a new training multiply both by 255, or let tools/dataset_statistics.py tell them")


def pretrained_findings(config: Config) -> Iterator[Finding]:
    """Files of weights that the configuration names and that are not there."""
    start = config.get("load_from")
    if isinstance(start, (str, Path)) and not Path(start).is_file():
        yield Finding(ERROR, "load_from", f"{str(start)!r}, which is no file", "a checkpoint", "name another by --load-from")
    if (config.get("resume") and start is None) or not isinstance(config.get("model"), dict):
        return
    for where, path in _initialisers(config.model, "model"):
        if isinstance(path, (str, Path)) and not (path := Path(find_weights(str(path)))).is_file():
            yield Finding(
                WARNING, where, f"{path}, which is no file", "pretrained weights",
                "put the file there (nothing is downloaded); training would start from scratch",
            )


def _initialiser_findings(config: Config) -> Iterator[Finding]:
    """The obvious way to say that there are no first weights is not the right one."""
    for where, path in _initialisers(config.get("model"), "model"):
        if not isinstance(path, (str, Path)):
            yield Finding(ERROR, where, repr(path), "a path", f"for random weights {where.rpartition('.')[0]}=None")


def _initialisers(value: Any, where: str) -> Iterator[tuple[str, Any]]:
    """Key and path of every ``Pretrained`` initialiser."""
    if isinstance(value, (list, tuple)):
        for i, item in enumerate(value):
            yield from _initialisers(item, f"{where}.{i}")
    elif isinstance(value, dict):
        if where == "model" and isinstance(value.get("pretrained"), str):
            yield "model.pretrained", value["pretrained"]
        if value.get("type") == "Pretrained" and "checkpoint" in value:
            yield f"{where}.checkpoint", value["checkpoint"]
        for key, item in value.items():
            yield from _initialisers(item, f"{where}.{key}")
