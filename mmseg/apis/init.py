"""From a configuration and a checkpoint to a model."""

from __future__ import annotations

import contextlib
import copy
import re
import reprlib
import threading
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import DefaultScope

from mmseg.datasets.basesegdataset import drawn_palette
from mmseg.engine.checkpoint import checkpoint_config, embedded_config, read_checkpoint
from mmseg.engine.config import check_config, load_config, merge_options
from mmseg.engine.dataset_info import (
    dataset_metainfo,
    ignored_pipeline,
    input_differences,
    model_settings,
    named_metainfo,
    trained_leaf,
    working_size,
)
from mmseg.engine.runner import load_weights
from mmseg.models.segmentors.base import BaseSegmentor
from mmseg.registry import MODELS
from mmseg.utils.device import resolve_device
from mmseg.utils.errors import UserError

__all__ = ["init_model", "register_all_modules"]

_LOCK = threading.Lock()
"""Threads build models one after the other: mmengine's registries and scopes are global."""


def register_all_modules(init_default_scope: bool = True) -> None:
    """Register every class of this package; the one place that imports for that purpose.

    Args:
        init_default_scope: make ``mmseg`` the scope in which bare names are looked up.
    """
    import mmseg.compat
    import mmseg.datasets
    import mmseg.engine
    import mmseg.evaluation
    import mmseg.models
    import mmseg.visualization  # noqa: F401

    scope = DefaultScope.get_current_instance()
    if init_default_scope and (scope is None or scope.scope_name != "mmseg"):
        DefaultScope.get_instance(f"mmseg-{len(DefaultScope._instance_dict)}", scope_name="mmseg")


def init_model(
    config: str | Path | Config | None = None,
    checkpoint: str | Path | None = None,
    device: str | torch.device | None = None,
    cfg_options: dict[str, Any] | None = None,
) -> BaseSegmentor:
    """Build a model and load its weights, ready to predict.

    Args:
        config: a file or a configuration; None takes the one inside the checkpoint.
        checkpoint: written by ``tools/train.py``, or by mmsegmentation or ISDNet (docs/compatibility.md); None leaves the
            weights as initialised.
        device: such as 'cpu' or 'cuda:0'; None takes a GPU where there is one.
        cfg_options: overrides by dotted key.

    Returns:
        the segmentor in evaluation mode, with ``cfg``, ``working_size``, ``dataset_meta`` (classes, palette) and
        ``checkpoint_meta``; what was loaded under which name is in ``load_report`` (None without a checkpoint). Where the
        configuration names no ``test_cfg.thresholds``, those of the checkpoint are there.

    Raises:
        UserError: a file is missing or faulty, or the weights or their thresholds do not fit.
    """
    with _LOCK:
        register_all_modules()
        target = resolve_device(None if device is None else str(device))
        loaded = read_checkpoint(checkpoint) if checkpoint is not None else None
        settings = _settings(config, checkpoint, loaded, cfg_options or {})
        check_config(settings if config is not None else _built(settings), loaders=())
        model: Any = revert_sync_batchnorm(build_model(settings))
        model.load_report = load_weights(model, loaded["state_dict"], str(checkpoint)) if loaded is not None else None
        meta: dict[str, Any] = (loaded or {}).get("meta") or {}
        model.cfg, model.checkpoint_meta, model.dataset_meta = settings, meta, _dataset_meta(meta, settings)
        model.working_size = working_size(settings)
        if config is not None and loaded is not None:
            with contextlib.suppress(UserError, TypeError, ValueError, IndexError, KeyError):  # what is inside may be damaged
                for what, options in input_differences(settings, embedded_config(loaded, str(checkpoint)) or {}):
                    MMLogger.get_current_instance().warning(f"{what}; name no config, or have in it {options}")
        if where := ignored_pipeline(settings):
            MMLogger.get_current_instance().warning(
                f"{where}.pipeline is not run on photographs, which go into the network at their own size; for another one give "
                f"{where} size=(width, height), which its pipeline does not read")
        _take_thresholds(model, meta)
        return model.to(target, memory_format=torch.channels_last).eval()


def _settings(
    config: str | Path | Config | None, checkpoint: str | Path | None, loaded: dict[str, Any] | None, options: dict[str, Any]
) -> Config:
    """A configuration of the model's own, with the overrides."""
    if config is not None and not isinstance(config, Config):
        return load_config(config, options)
    if config is not None:
        return merge_options(copy.deepcopy(config), options)
    if loaded is not None and checkpoint is not None:
        return merge_options(checkpoint_config(loaded, checkpoint), options)
    raise ValueError("init_model: got neither config nor checkpoint, expected at least one")


def _built(settings: Config) -> Config:
    """What is built of a configuration inside a checkpoint: its data sets and hooks may be classes that are not here."""
    return Config({key: settings[key] for key in ("model", "data_preprocessor") if settings.get(key) is not None})


def _take_thresholds(model: BaseSegmentor, meta: dict[str, Any]) -> None:
    """Check the thresholds; those of the checkpoint become the model's own where its configuration names none."""
    stored = meta.get("thresholds")
    names, _ = model.shown_classes(model.dataset_meta)
    try:
        thresholds = model.lesion_thresholds(names, stored)
    except (TypeError, ValueError) as error:
        raise UserError(f"thresholds of {', '.join(names)}: {error}") from error
    if stored and thresholds:
        model.test_cfg["thresholds"] = list(thresholds.values())


def build_model(config: Config) -> BaseSegmentor:
    """The segmentor of a configuration, with its data preprocessor, uninitialised.

    Raises:
        UserError: a wrong value in the configuration.
    """
    try:
        return MODELS.build(model_settings(config))
    except (ValueError, TypeError, KeyError, AssertionError, ImportError) as error:  # what constructors say of wrong values
        raise UserError(f"{config.filename or 'config'}: {error}") from error


def _dataset_meta(meta: dict[str, Any], config: Config) -> dict[str, Any]:
    """Classes and palette: the checkpoint's, else those of the configuration's data set."""
    meta = named_metainfo(meta)
    if "classes" not in meta or "palette" not in meta:
        meta = dataset_metainfo(config)
        own = (trained_leaf(config).settings.get("metainfo") or {}).get("palette")
        if own is None and len(meta["palette"]) != len(meta["classes"]):
            meta = {**meta, "palette": drawn_palette(len(meta["classes"]))}  # as the data set gives it to itself
    try:
        classes, palette = tuple(meta["classes"]), [tuple(int(value) for value in colour) for colour in meta["palette"]]
        sound = all(isinstance(name, str) and re.fullmatch(r"[^\x00-\x1f]{1,64}", name) for name in classes)
        sound &= all(len(colour) == 3 and all(0 <= value <= 255 for value in colour) for colour in palette)
    except (TypeError, ValueError):
        sound = False
    if not sound or len(set(classes)) < len(classes) or not 0 < len(classes) < 256 or len(classes) != len(palette):
        raise UserError(f"classes and palette: got {reprlib.repr(meta['classes'])} and {reprlib.repr(meta['palette'])}, expected "
                        "different names on one line each, and a colour (R, G, B) from 0 to 255 for each")
    return dict(classes=classes, palette=palette)
