"""From a configuration and a checkpoint to a model."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import torch
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import DefaultScope

from mmseg.engine.checkpoint import checkpoint_config, read_checkpoint
from mmseg.engine.config import check_config, load_config
from mmseg.engine.dataset_info import dataset_metainfo
from mmseg.engine.runner import load_weights
from mmseg.models.segmentors.base import BaseSegmentor
from mmseg.registry import MODELS
from mmseg.utils.device import resolve_device
from mmseg.utils.errors import UserError

__all__ = ["init_model", "register_all_modules"]

_P = ParamSpec("_P")
_T = TypeVar("_T")


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

    if init_default_scope and (DefaultScope.get_current_instance() is None or _scope_name() != "mmseg"):
        DefaultScope.get_instance(f"mmseg-{len(DefaultScope._instance_dict)}", scope_name="mmseg")


def _scope_name() -> str:
    return DefaultScope.get_current_instance().scope_name


def _one_at_a_time(function: Callable[_P, _T]) -> Callable[_P, _T]:
    """Make threads wait for each other: mmengine's registries and scopes are global."""
    lock = threading.Lock()

    @functools.wraps(function)
    def guarded(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        with lock:
            return function(*args, **kwargs)

    return guarded


@_one_at_a_time
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
        the segmentor in evaluation mode, with ``cfg``, ``dataset_meta`` (classes, palette) and ``checkpoint_meta``; what was
        loaded under which name is in ``load_report`` (None without a checkpoint).

    Raises:
        UserError: a file is missing or faulty, or the weights do not fit.
    """
    register_all_modules()
    target = resolve_device(None if device is None else str(device))
    loaded = read_checkpoint(checkpoint) if checkpoint is not None else None
    if isinstance(config, Config):
        settings = config
    elif config is not None:
        settings = load_config(config)
    elif loaded is not None and checkpoint is not None:
        settings = checkpoint_config(loaded, checkpoint)
    else:
        raise ValueError("init_model: got neither config nor checkpoint, expected at least one")
    settings.merge_from_dict(cfg_options or {})
    check_config(settings)
    model: Any = revert_sync_batchnorm(build_model(settings))
    model.load_report = load_weights(model, loaded["state_dict"], str(checkpoint)) if loaded is not None else None
    meta: dict[str, Any] = (loaded or {}).get("meta") or {}
    model.cfg, model.checkpoint_meta, model.dataset_meta = settings, meta, _dataset_meta(meta, settings)
    return model.to(target, memory_format=torch.channels_last).eval()


def build_model(config: Config) -> BaseSegmentor:
    """The segmentor of a configuration, with its data preprocessor, uninitialised.

    Raises:
        UserError: a wrong value in the configuration.
    """
    model = dict(config.model)
    if "data_preprocessor" in config:
        model.setdefault("data_preprocessor", config.data_preprocessor)
    try:
        return MODELS.build(model)
    except (ValueError, TypeError, KeyError) as error:  # what constructors say of wrong values
        raise UserError(f"{config.filename or 'config'}: {error}") from error


def _dataset_meta(meta: dict[str, Any], config: Config) -> dict[str, Any]:
    """Classes and palette: the checkpoint's (under old names, too), else those of the configuration's data set."""
    meta = {**meta, **{name.lower(): meta[name] for name in ("CLASSES", "PALETTE") if meta.get(name)}}
    if "classes" not in meta or "palette" not in meta:
        meta = dataset_metainfo(config)
    return dict(classes=tuple(meta["classes"]), palette=[tuple(colour) for colour in meta["palette"]])
