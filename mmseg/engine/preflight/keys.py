"""Keys and types of a configuration, against the classes that they name."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator, Mapping
from typing import Any

from mmengine.config import Config
from mmengine.registry import Registry
from torch.utils.data import DataLoader

from mmseg.engine.preflight.finding import ERROR, WARNING, Finding, build_or_finding
from mmseg.engine.preflight.types import describe, hints, matches
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
    find_class,
)
from mmseg.utils.errors import nearest

__all__ = ["LOADERS", "arguments", "dig", "key_findings"]

TOP_LEVEL_KEYS = frozenset({
    "activation_checkpointing", "auto_scale_lr", "compile", "cuda_graph", "custom_hooks", "custom_imports", "data_preprocessor",
    "default_hooks", "default_scope", "efficient_conv_bn_eval", "env_cfg", "experiment_name", "find_unused_parameters",
    "launcher", "load_from", "log_level", "log_processor", "model", "model_wrapper_cfg", "optim_wrapper", "param_scheduler",
    "randomness", "resume", "runner_type", "sync_bn", "test_cfg", "test_dataloader", "test_evaluator", "train_cfg",
    "train_dataloader", "val_cfg", "val_dataloader", "val_evaluator", "visualizer", "work_dir",
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

_OWN_KEYS = frozenset({"type", "_scope_", "priority", "_delete_"})
"""What a dictionary with a ``type`` may hold beside the arguments of its class."""

_OF_INITIALISERS = frozenset({"override", "name"})
"""What mmengine takes out of an initialiser's configuration before it builds it."""

LOADERS = ("train_dataloader", "val_dataloader", "test_dataloader")

_WITHOUT_TYPE: dict[str, frozenset[str]] = {
    "model.test_cfg": frozenset({"mode", "crop_size", "stride", "thresholds", "flips"}),
    "optim_wrapper.clip_grad": frozenset({"type", "max_norm", "norm_type", "error_if_nonfinite", "foreach", "clip_value"}),
    "optim_wrapper.paramwise_cfg": frozenset({
        "custom_keys", "bias_lr_mult", "bias_decay_mult", "norm_decay_mult", "dwconv_decay_mult", "flat_decay_mult",
        "bypass_duplicate", "dcn_offset_lr_mult"}),
    "env_cfg": frozenset({"cudnn_benchmark", "mp_cfg", "dist_cfg", "resource_limit"}),
    "auto_scale_lr": frozenset({"enable", "base_batch_size"}),
}
"""Keys of dictionaries that name no class; most readers would pass over others without a word."""

_NEEDS_DICTIONARY = frozenset({
    "data_preprocessor", "default_hooks", "env_cfg", "log_processor", "model", "optim_wrapper", "randomness", "test_cfg",
    "train_cfg", "val_cfg", "visualizer", *LOADERS,
})


def dig(config: Any, key: str) -> Any:
    """The value at a dotted key; None where there is none."""
    for part in key.split("."):
        if isinstance(config, (list, tuple)) and part.isdigit() and int(part) < len(config):
            config = config[int(part)]
        else:
            config = config.get(part) if isinstance(config, (dict, Config)) else None
    return config


def key_findings(config: Config) -> Iterator[Finding]:
    """Every unknown key, misspelt type and value of the wrong type, in the order of the file. All modules must be registered.

    A dictionary with a ``type`` is held against the arguments of the class of that name.
    """
    for key in config:
        if key not in TOP_LEVEL_KEYS:
            near = nearest(key, TOP_LEVEL_KEYS, likeness=0.85)
            if near:
                yield Finding(ERROR, key, "no such key", fix=near.removeprefix("; "))
    if config.get("model") is None:
        yield Finding(ERROR, "model", "missing")
    if not isinstance(config.get("work_dir", ""), (str, type(None))):
        yield _wrong_type("work_dir", config.work_dir, str)
    for key in sorted(TOP_LEVEL_KEYS & set(config)):
        if key in _NEEDS_DICTIONARY and not isinstance(config[key], (dict, type(None))):
            yield Finding(ERROR, key, f"{config[key]!r:.60}", "a dictionary")
        else:
            yield from _check_value(config[key], key, _EXPECTED_REGISTRY.get(key))
    if not isinstance(config.get("custom_hooks"), (list, tuple, type(None))):
        yield Finding(ERROR, "custom_hooks", f"{config.custom_hooks!r:.60}", "a list of dictionaries")
    for where in LOADERS:
        if isinstance(config.get(where), dict):
            yield from _check_loader(config[where], where)
    for where, known in _WITHOUT_TYPE.items():
        yield from _check_without_type(config, where, known)


def _check_loader(loader: dict[str, Any], where: str) -> Iterator[Finding]:
    """A loader has no ``type``: its keys are those of torch's DataLoader and mmengine's own."""
    known = {*inspect.signature(DataLoader.__init__).parameters, "num_batch_per_epoch"} - {"self"}
    for key, value in loader.items():
        if key not in known:
            yield _unknown(f"{where}.{key}", f"a data loader takes no argument {key!r}", key, known)
        elif key in ("batch_size", "num_workers") and (value is None or not matches(value, int)):
            yield _wrong_type(f"{where}.{key}", value, int)
    if not isinstance(loader.get("dataset"), dict):
        yield Finding(ERROR, f"{where}.dataset", f"{loader.get('dataset')!r:.60}", "a dictionary with a type")


def _check_without_type(config: Config, where: str, known: frozenset[str]) -> Iterator[Finding]:
    settings = dig(config, where)
    if not isinstance(settings, dict) or (where.endswith("paramwise_cfg") and "constructor" in config.optim_wrapper):
        return
    for key in settings:
        if key not in known:
            near = nearest(key, known).removeprefix("; ")  # foreign configs may bring what their own models read
            yield Finding(WARNING if where == "model.test_cfg" else ERROR, f"{where}.{key}", "a key that nothing reads",
                          fix=near or f"known are {', '.join(sorted(known))}")


def _check_value(value: Any, where: str, registry: Registry | None) -> Iterator[Finding]:
    """Walk lists and dictionaries; findings come out in the order of the file."""
    if isinstance(value, (list, tuple)):
        for i, item in enumerate(value):
            yield from _check_value(item, f"{where}.{i}", registry)
    elif isinstance(value, dict):
        if isinstance(value.get("type"), str):
            yield from _check_typed(value, where, registry)
        elif inspect.isclass(kind := value.get("type")):
            yield Finding(ERROR, f"{where}.type", f"the class {kind.__name__}", f"its name, {kind.__name__!r}",
                          "classes are not imported into a configuration; one of your own comes by "
                          "custom_imports=dict(imports=['its.module'])")
        for key, item in value.items():
            inner = registry if where == "default_hooks" else _EXPECTED_REGISTRY.get(key)
            yield from _check_value(item, f"{where}.{key}", inner)


def _check_typed(value: dict, where: str, registry: Registry | None) -> Iterator[Finding]:
    """Compare a ``dict(type=..., ...)`` with the class that it names."""
    name = value["type"]
    registries = (registry,) if registry is not None else ALL_REGISTRIES
    found = next((c for r in registries if (c := find_class(r, name)) is not None), None)
    module = name.rpartition(".")[0] if isinstance(name, str) else ""
    if found is None and module.strip("."):
        imported = build_or_finding(lambda: importlib.import_module(module), f"{where}.type")
        if isinstance(imported, Finding):
            yield imported
            return
    if found is None:
        known = [n for r in registries for n in (*r.module_dict, *(r.parent.module_dict if r.parent else ()))]
        near = nearest(name, known).removeprefix("; ")
        own = "a class of your own comes by custom_imports=dict(imports=['its.module'])"
        yield Finding(ERROR, f"{where}.type", f"no class {name!r} is registered", fix=f"{near} {own}".lstrip())
        return
    accepted = arguments(found)
    if accepted is None or where.rpartition(".")[2] in _LAYER_KEYS:
        return
    annotated = hints(found)
    own_keys = _OWN_KEYS | (_OF_INITIALISERS if "init_cfg" in where else frozenset())
    for key, item in value.items():
        if key in accepted:
            if key in annotated and not matches(item, annotated[key]):
                yield _wrong_type(f"{where}.{key}", item, annotated[key])
        elif key not in own_keys and not (where == "optim_wrapper" and key in ("paramwise_cfg", "constructor")):
            yield _unknown(f"{where}.{key}", f"{name} takes no argument {key!r}", key, accepted | {"type"})


def _unknown(where: str, what: str, name: str, choices: Any) -> Finding:
    return Finding(ERROR, where, what, fix=nearest(name, choices).removeprefix("; "))


def _wrong_type(where: str, value: Any, hint: Any) -> Finding:
    kind = "" if isinstance(value, (Mapping, type(None))) else f" ({type(value).__name__})"
    return Finding(ERROR, where, f"{value!r:.60}{kind}", describe(hint))


def arguments(found: Any) -> set[str] | None:
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
