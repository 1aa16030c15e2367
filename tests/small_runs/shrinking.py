"""Configurations made small, so that the commands of documents run in seconds: as typed, on the synthetic photographs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["shrink", "shrunk"]


def shrink(config: Any) -> None:
    """Four iterations of batch 2, crops of 64, photographs of 240x160, a narrow SDC-Net; what is absent stays absent."""
    for key, value in (("train_cfg", "max_iters"), ("train_dataloader", "batch_size")):
        if config.get(key):
            config[key][value] = min(config[key].get(value) or 4, 4 if key == "train_cfg" else 2)
    if config.get("param_scheduler"):
        config.param_scheduler = []
    for key in ("train_dataloader", "val_dataloader", "test_dataloader"):
        _resize(config.get(key))
    for transform in (config.get("data_preprocessor") or {}).get("train_transforms") or []:
        if "crop_size" in transform:
            transform["crop_size"] = (64, 64)
    if (config.get("model") or {}).get("type") == "SDCNet":
        _narrow(config.model)
    if config.get("env_cfg"):
        config.env_cfg.cudnn_benchmark = False


def _resize(settings: Any) -> None:
    if isinstance(settings, dict):
        if settings.get("fold") is not None:
            settings["num_folds"] = 2  # of four images
        if isinstance(settings.get("size"), (list, tuple)):
            settings["size"] = (240, 160)
        for value in settings.values():
            _resize(value)
    elif isinstance(settings, list):
        for value in settings:
            _resize(value)


def _narrow(model: Any) -> None:
    """As NARROW of conftest.py, whatever the number of stages."""
    model.backbone.update(base_channels=8, stem_channels=8, init_cfg=None)
    first, *others = model.decode_head if isinstance(model.decode_head, list) else [model.decode_head]
    first.update(in_channels=64, channels=16)
    for head in others:
        head.update(prev_channels=16, fuse_channels=(16,) * len(head.fuse_channels))
    if model.get("auxiliary_head"):
        model.auxiliary_head.update(in_channels=32, channels=16)


def shrunk(load_config: Callable[..., Any]) -> Callable[..., Any]:
    """``load_config`` whose configurations are small."""

    def load(*args: Any, **kwargs: Any) -> Any:
        config = load_config(*args, **kwargs)
        shrink(config)
        return config

    return load
