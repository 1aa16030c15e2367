"""Configurations of mmsegmentation 0.x: recognised by their keys, translated in memory."""

from __future__ import annotations

from typing import Any

from mmengine.config import Config

from mmseg.compat.notes import Notes
from mmseg.compat.old_data import has_lesions, upgrade_data
from mmseg.compat.old_model import upgrade_model
from mmseg.compat.old_schedule import merge, upgrade_schedule
from mmseg.utils.errors import UserError

__all__ = ["OLD_KEYS", "is_old", "upgrade_config", "upgrade_settings"]

OLD_KEYS = frozenset({
    "auto_resume", "checkpoint_config", "cudnn_benchmark", "data", "dist_params", "evaluation", "fp16", "log_config", "lr_config",
    "optimizer", "optimizer_config", "resume_from", "runner", "seed", "total_iters", "workflow",
})
"""Top-level keys of 0.x that became others; a configuration with one of them and none of the new ones is old."""

_NEW_KEYS = frozenset({"optim_wrapper", "param_scheduler", "train_dataloader", "val_dataloader", "test_dataloader", "train_cfg"})

_KEPT = ("custom_imports", "custom_hooks", "find_unused_parameters", "load_from", "log_level", "work_dir")

_VARIABLES = (
    "dataset_type", "data_root", "img_norm_cfg", "crop_size", "train_pipeline", "test_pipeline", "norm_cfg", "classes", "palette",
)
"""Names by which the parts of a 0.x configuration are passed on inside the file: no news where they are gone."""


def is_old(settings: dict[str, Any]) -> bool:
    """Whether a configuration is of 0.x.

    Raises:
        UserError: it has keys of both.
    """
    old = [key for key in settings if key in OLD_KEYS and isinstance(settings[key], dict) and key != "seed"]
    new = [key for key in settings if key in _NEW_KEYS and not _is_oldest_train_cfg(key, settings[key])]
    if new and any(key in ("data", "lr_config", "runner", "checkpoint_config", "log_config") for key in old):
        raise UserError(f"the configuration mixes mmsegmentation 0.x ({', '.join(old)}) and 1.x ({', '.join(new)}); "
                        "expected one of the two: remove the old keys, or the new ones")
    return bool(old) and not new


def _is_oldest_train_cfg(key: str, value: Any) -> bool:
    """Before 0.11 the model's ``train_cfg`` stood at the top; it has no loop in it."""
    loop = {"type", "max_iters", "max_epochs"}
    return key == "train_cfg" and (value is None or isinstance(value, dict)) and not loop & set(value or ())


def upgrade_config(config: Config) -> tuple[Config, Notes]:
    """Translate a 0.x configuration; what it computes stays the same.

    Returns:
        the new configuration, and what became what.

    Raises:
        UserError: what is not possible here, with the file's name.
    """
    try:
        old = config.to_dict()
        settings, notes = upgrade_settings(old)
        if {"model", "data"} <= old.keys() and not _datasets(settings):
            raise UserError("data: got no train, val or test, expected one of them at least")
    except UserError as error:
        raise UserError(f"{config.filename}: {error}") from error
    return Config(settings, filename=config.filename), notes


def upgrade_settings(old: dict[str, Any]) -> tuple[dict[str, Any], Notes]:
    """Translate the settings of a whole configuration or of a part of one, such as a ``_base_`` file.

    What depends on several parts (scores, the runtime) is added where ``model`` and a data set are both there.
    """
    notes = Notes()
    new: dict[str, Any] = {}
    for part in (upgrade_model(old, notes), upgrade_data(old, notes), upgrade_schedule(old, notes)):
        for key, value in part.items():
            merge(new, key, value)
    for key in _KEPT:
        if old.get(key) is not None:
            new.setdefault(key, old[key])
    if "model" in old and _datasets(new):
        _complete(new, old.get("evaluation"), notes)
    known = {*OLD_KEYS, *_KEPT, *_VARIABLES, "model", "train_cfg", "test_cfg"}
    for key in (key for key in old if key not in known and isinstance(old[key], dict | list)):
        notes.dropped(key, "a variable of the file, or unknown to mmsegmentation 0.x")
    return new, notes


def _datasets(new: dict[str, Any]) -> list[dict[str, Any]]:
    """The data sets of the loaders, that of the training first."""
    loaders = [new.get(f"{role}_dataloader", {}) for role in ("train", "test", "val")]
    return [loader["dataset"] for loader in loaders if "dataset" in loader]


def _complete(new: dict[str, Any], evaluation: dict[str, Any] | None, notes: Notes) -> None:
    """Add scores, loops and what every run needs here."""
    lesions = has_lesions(_datasets(new)[0])
    metrics = (evaluation or {}).get("metric", "mIoU")
    metrics = [metrics] if isinstance(metrics, str) else list(metrics)
    evaluator = dict(type="LesionMetric") if lesions else dict(type="IoUMetric", iou_metrics=metrics)
    runtime: dict[str, Any] = dict(
        default_scope="mmseg", env_cfg=dict(cudnn_benchmark=False), randomness=dict(seed=0), log_level="INFO",
        log_processor=dict(by_epoch=False), load_from=None, resume=False,
        visualizer=dict(type="Visualizer", vis_backends=[dict(type="LocalVisBackend")]),
        default_hooks=dict(
            timer=dict(type="IterTimerHook"), logger=dict(type="LoggerHook", interval=50, log_metric_by_epoch=False),
            param_scheduler=dict(type="ParamSchedulerHook"), checkpoint=dict(type="CheckpointHook", interval=1000),
            batch_seed=dict(type="BatchSeedHook"), curves=dict(type="CurvesHook")))
    given = dict(new)
    new.clear()
    for key, value in (*runtime.items(), *given.items()):
        merge(new, key, value)
    if not lesions and "thresholds" not in (new["model"].get("test_cfg") or {}):
        merge(new, "model", dict(test_cfg=dict(thresholds=None)))
        notes.became("the class of a pixel", "as in 0.x the likeliest of all (model.test_cfg.thresholds=None)")
    if "test_dataloader" in new:
        new.update(test_cfg=dict(type="TestLoop"), test_evaluator=evaluator)
    if evaluation is None:
        new.pop("val_dataloader", None)
        notes.dropped("data.val", "no evaluation is asked for")
    elif "val_dataloader" in new:
        new.update(val_cfg=dict(type="ValLoop"), val_evaluator=evaluator)
        notes.became(f"evaluation.metric={metrics}", f"val_evaluator, test_evaluator: {evaluator['type']}")
        if best := evaluation.get("save_best"):
            name = metrics[0] if best in ("auto", True) else best
            new["default_hooks"]["checkpoint"]["save_best"] = f"lesion/{name}" if lesions else name
            notes.became("evaluation.save_best", "default_hooks.checkpoint.save_best")
    if "train_cfg" in new and "val_cfg" not in new:
        new["train_cfg"].pop("val_interval", None)
