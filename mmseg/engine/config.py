"""Read a configuration, and find its mistakes before anything heavy starts."""

from __future__ import annotations

import contextlib
import inspect
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import Registry
from torch.utils.data import DataLoader

from mmseg.compat.old_config import is_old, upgrade_config
from mmseg.registry import (
    ALL_REGISTRIES,
    DATA_SAMPLERS,
    DATASETS,
    HOOKS,
    LOOPS,
    METRICS,
    MODELS,
    OPTIM_WRAPPERS,
    OPTIMIZERS,
    PARAM_SCHEDULERS,
    TRANSFORMS,
    VISBACKENDS,
    VISUALIZERS,
)
from mmseg.utils.errors import UserError, nearest

__all__ = ["check_config", "load_config"]

TOP_LEVEL_KEYS = frozenset({
    "auto_scale_lr", "compile", "custom_hooks", "custom_imports", "data_preprocessor", "default_hooks", "default_scope",
    "env_cfg", "experiment_name", "find_unused_parameters", "launcher", "load_from", "log_level", "log_processor", "model",
    "model_wrapper_cfg", "optim_wrapper", "param_scheduler", "randomness", "resume", "runner_type", "sync_bn", "test_cfg",
    "test_dataloader", "test_evaluator", "train_cfg", "train_dataloader", "val_cfg", "val_dataloader", "val_evaluator",
    "visualizer", "work_dir",
})
"""What a whole configuration may hold; other top-level names are variables that the file itself uses."""

_EXPECTED_REGISTRY: dict[str, Registry] = {
    "model": MODELS, "data_preprocessor": MODELS, "backbone": MODELS, "neck": MODELS, "decode_head": MODELS,
    "auxiliary_head": MODELS, "loss_decode": MODELS, "dataset": DATASETS, "sampler": DATA_SAMPLERS,
    "train_transforms": TRANSFORMS, "default_hooks": HOOKS, "custom_hooks": HOOKS, "train_cfg": LOOPS, "val_cfg": LOOPS,
    "test_cfg": LOOPS, "val_evaluator": METRICS, "test_evaluator": METRICS, "optim_wrapper": OPTIM_WRAPPERS,
    "optimizer": OPTIMIZERS, "param_scheduler": PARAM_SCHEDULERS, "visualizer": VISUALIZERS, "vis_backends": VISBACKENDS,
}
"""Where a ``type`` below this key is looked for; elsewhere in every registry."""

_LAYER_KEYS = ("conv_cfg", "norm_cfg", "act_cfg")
"""Their arguments are mmcv's, which adds some of its own (``requires_grad``)."""


def load_config(path: str | Path, cfg_options: dict[str, Any] | None = None, tell: bool = True) -> Config:
    """Read a Python configuration with its ``_base_`` files, environment values and overrides.

    ``{{$NAME:default}}`` stands for an environment value; an empty one counts as unset. A configuration of mmsegmentation 0.x
    is translated, overrides that use its own keys included (docs/compatibility.md).

    Args:
        path: of the configuration.
        cfg_options: overrides by dotted key, such as ``{'model.backbone.depth': 34}``.
        tell: print what a translation did, on stderr.

    Raises:
        UserError: the file is missing or faulty, or an override names no place in it.
    """
    path = Path(path)
    if not path.is_file():
        siblings = [p.name for p in path.parent.glob("*.py")] if path.parent.is_dir() else []
        raise UserError(f"{path}: no such config file{nearest(path.name, siblings)}")
    with _without_empty_environment():
        try:
            config = Config.fromfile(str(path))
        except Exception as error:  # a config is a program of the user's: it can fail in any way
            raise UserError(f"{path}: cannot be read as a config: {type(error).__name__}: {error}") from error
    options = dict(cfg_options or {})
    if _is_old(config):
        _override(config, {key: options.pop(key) for key in list(options) if key.partition(".")[0] in config})
        config, notes = upgrade_config(config)
        if tell:
            print(f"note: {path} is a config of mmsegmentation 0.x; translated:\n{notes}", file=sys.stderr)
    _override(config, options)
    return config


def _is_old(config: Config) -> bool:
    try:
        return is_old(config)
    except UserError as error:
        raise UserError(f"{config.filename}: {error}") from error


def _override(config: Config, options: dict[str, Any]) -> None:
    try:
        config.merge_from_dict(options)
    except (KeyError, TypeError, IndexError, AttributeError, ValueError) as error:
        raise UserError(f"--cfg-options does not fit {config.filename}: {error}") from error


def check_config(config: Config) -> None:
    """Tell every unknown key and misspelt type at once. All modules must be registered.

    A dictionary with a ``type`` is held against the arguments of the class of that name.

    Raises:
        UserError: with one line a finding: key, what was got, the nearest right name.
    """
    findings = [
        f"{key}: no such key{nearest(key, TOP_LEVEL_KEYS)}"
        for key, value in config.items()
        if key not in TOP_LEVEL_KEYS and nearest(key, TOP_LEVEL_KEYS, likeness=0.85) and isinstance(value, (dict, list))
    ]
    findings += [f"{key}: missing" for key in ("model",) if key not in config]
    for key in sorted(TOP_LEVEL_KEYS & set(config)):
        findings += _check_value(config[key], key, _EXPECTED_REGISTRY.get(key))
    findings += _check_loaders(config)
    findings += _check_schedule(config)
    if findings:
        raise UserError(f"{config.filename or 'config'}:\n  " + "\n  ".join(findings))


def _check_loaders(config: Config) -> Iterator[str]:
    """A loader has no ``type``: its keys are those of torch's DataLoader and mmengine's own."""
    known = {*inspect.signature(DataLoader.__init__).parameters, "num_batch_per_epoch"}
    for where in ("train_dataloader", "val_dataloader", "test_dataloader"):
        for key in config.get(where) or {}:
            if key not in known:
                yield f"{where}.{key}: a data loader takes no argument {key!r}{nearest(key, known)}"


def _check_schedule(config: Config) -> Iterator[str]:
    """A schedule that begins after the last iteration would end as an assertion deep in the library."""
    most = (config.get("train_cfg") or {}).get("max_iters")
    schedules = config.get("param_scheduler") or []
    for i, schedule in enumerate(schedules if isinstance(schedules, (list, tuple)) else [schedules]):
        begin = schedule.get("begin", 0)
        if most is not None and begin >= schedule.get("end", most):
            yield (
                f"param_scheduler.{i}.begin: got {begin}, expected less than its end, {schedule.get('end', most)}; "
                "train_cfg.max_iters is the end where none is given"
            )


def _check_value(value: Any, where: str, registry: Registry | None) -> Iterator[str]:
    """Walk lists and dictionaries; findings come out in the order of the file."""
    if isinstance(value, (list, tuple)):
        for i, item in enumerate(value):
            yield from _check_value(item, f"{where}.{i}", registry)
    elif isinstance(value, dict):
        if isinstance(value.get("type"), str):
            yield from _check_typed(value, where, registry)
        for key, item in value.items():
            inner = registry if where == "default_hooks" else _EXPECTED_REGISTRY.get(key)
            yield from _check_value(item, f"{where}.{key}", inner)


def _check_typed(value: dict, where: str, registry: Registry | None) -> Iterator[str]:
    """Compare a ``dict(type=..., ...)`` with the class that it names."""
    name = value["type"]
    registries = (registry,) if registry is not None else ALL_REGISTRIES
    found = next((c for r in registries if (c := r.get(name)) is not None), None)
    if found is None:
        known = [n for r in registries for n in (*r.module_dict, *(r.parent.module_dict if r.parent else ()))]
        yield f"{where}.type: no class {name!r} is registered{nearest(name, known)}"
        return
    accepted = _arguments(found)
    if accepted is not None and where.rpartition(".")[2] not in _LAYER_KEYS:
        of_builder = {"paramwise_cfg", "constructor"} if where == "optim_wrapper" else set()
        for key in (k for k in value if k not in accepted | of_builder | {"type", "_scope_", "priority", "_delete_"}):
            yield f"{where}.{key}: {name} takes no argument {key!r}{nearest(key, accepted)}"


def _arguments(found: Any) -> set[str] | None:
    """Names that a class's constructor takes, those it hands to its parents included; None where that cannot be told."""
    if not inspect.isclass(found):
        return None
    names: set[str] = set()
    for cls in found.__mro__:
        if "__init__" not in vars(cls) or cls is object:
            continue
        parameters = inspect.signature(vars(cls)["__init__"]).parameters.values()
        names |= {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            return names - {"self"}
    return None


@contextlib.contextmanager
def _without_empty_environment() -> Iterator[None]:
    """Hide environment variables that are empty, so that the defaults in a config apply."""
    hidden = [key for key, value in os.environ.items() if value == ""]
    for key in hidden:
        del os.environ[key]
    try:
        yield
    finally:
        os.environ.update(dict.fromkeys(hidden, ""))
