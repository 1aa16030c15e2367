"""How a 0.x configuration trains: optimiser, learning rate, loop, hooks and the machine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mmseg.compat.notes import Notes
from mmseg.utils.errors import UserError

__all__ = ["upgrade_schedule"]

_BACKENDS = {"TensorboardLoggerHook": "TensorboardVisBackend", "WandbLoggerHook": "WandbVisBackend"}

_POLICIES = {"fixed": "fixed", "poly": "poly", "Poly": "poly", "step": "step", "Step": "step"}


def upgrade_schedule(old: dict[str, Any], notes: Notes) -> dict[str, Any]:
    """Everything of a configuration but its model and data.

    Raises:
        UserError: training counted in epochs, or a policy that is not known.
    """
    new: dict[str, Any] = {}
    for key, upgrade in _SECTIONS.items():
        if old.get(key) is not None:
            for name, value in upgrade(old[key], notes).items():
                merge(new, name, value)
    wrapper = new.get("optim_wrapper")
    if wrapper and "optimizer" in wrapper:
        wrapper.setdefault("type", "OptimWrapper")
    return new


def merge(new: dict[str, Any], name: str, value: Any) -> None:
    """Put a value in, joining dictionaries."""
    if isinstance(value, dict) and isinstance(new.get(name), dict):
        for key, item in value.items():
            merge(new[name], key, item)
    else:
        new[name] = value


def _optimizer(old: dict[str, Any], notes: Notes) -> dict[str, Any]:
    moved = {key: value for key, value in old.items() if key in ("paramwise_cfg", "constructor") and value}
    notes.became("optimizer", ", ".join(["optim_wrapper.optimizer", *(f"optim_wrapper.{key}" for key in moved)]))
    return dict(optim_wrapper=dict(
        optimizer={key: value for key, value in old.items() if key not in ("paramwise_cfg", "constructor")}, **moved))


def _optimizer_config(old: dict[str, Any], notes: Notes) -> dict[str, Any]:
    old = dict(old)
    kind = old.pop("type", None)
    new: dict[str, Any] = {}
    if old.get("grad_clip") is not None:
        new["clip_grad"] = dict(old["grad_clip"])
        notes.became("optimizer_config.grad_clip", "optim_wrapper.clip_grad")
    if kind is not None and "Fp16" in kind:
        new.update(_half(notes, f"optimizer_config.type={kind!r}"))
        if "loss_scale" in old:
            notes.dropped("optimizer_config.loss_scale", "bfloat16 has the range of float32")
    if "cumulative_iters" in old:
        new["accumulative_counts"] = old["cumulative_iters"]
        notes.became("optimizer_config.cumulative_iters", "optim_wrapper.accumulative_counts")
    elif kind not in (None, "OptimizerHook") and "Fp16" not in kind:
        notes.dropped(f"optimizer_config.type={kind!r}", "no counterpart")
    for key in old.keys() - {"grad_clip", "loss_scale", "cumulative_iters"}:
        notes.dropped(f"optimizer_config.{key}", "mmengine's wrapper sees to it")
    return dict(optim_wrapper=new)


def _fp16(old: dict[str, Any], notes: Notes) -> dict[str, Any]:
    if "loss_scale" in old:
        notes.dropped("fp16.loss_scale", "bfloat16 has the range of float32")
    return dict(optim_wrapper=_half(notes, "fp16"))


def _half(notes: Notes, where: str) -> dict[str, Any]:
    notes.became(where, "optim_wrapper.type='AutocastOptimWrapper' (bfloat16 where the device has it, on a CPU, too)")
    return dict(type="AutocastOptimWrapper", dtype="auto")


def _learning_rate(old: dict[str, Any], notes: Notes) -> dict[str, Any]:
    old = dict(old)
    _in_iterations(old, "lr_config")
    policy = _POLICIES.get(old.pop("policy", "fixed"))
    if policy is None or old.pop("warmup_by_epoch", False):
        raise UserError("lr_config: expected policy='poly', 'step' or 'fixed', and a warm-up counted in iterations")
    known = ("power", "min_lr", "step", "gamma", "warmup", "warmup_iters", "warmup_ratio")
    for key in [key for key in old if key not in known]:
        notes.dropped(f"lr_config.{key}", "no counterpart")
    notes.became("lr_config", "param_scheduler (LegacyLR: the same value at every iteration)")
    values = {key: old[key] for key in known if old.get(key) is not None}
    return dict(param_scheduler=[dict(type="LegacyLR", policy=policy, **values)])


def _runner(old: dict[str, Any], notes: Notes) -> dict[str, Any]:
    if old.get("type", "IterBasedRunner") != "IterBasedRunner" or "max_iters" not in old:
        raise UserError(f"runner: got {old}, expected dict(type='IterBasedRunner', max_iters=...): training is counted in "
                        "iterations here; multiply the epochs by images / samples_per_gpu")
    notes.became("runner", "train_cfg")
    return dict(train_cfg=dict(type="IterBasedTrainLoop", max_iters=old["max_iters"]))


def _total_iters(old: int, notes: Notes) -> dict[str, Any]:
    notes.became("total_iters", "train_cfg.max_iters")
    return dict(train_cfg=dict(type="IterBasedTrainLoop", max_iters=old))


def _checkpoint(old: dict[str, Any], notes: Notes) -> dict[str, Any]:
    old = dict(old)
    _in_iterations(old, "checkpoint_config")
    hook = {key: old.pop(key) for key in ("interval", "max_keep_ckpts") if key in old}
    for key in old:
        notes.dropped(f"checkpoint_config.{key}", "iter_N.pth and latest.pth are always written, with classes and config inside")
    notes.became("checkpoint_config", "default_hooks.checkpoint")
    return dict(default_hooks=dict(checkpoint=dict(type="CheckpointHook", **hook)))


def _evaluation(old: dict[str, Any], notes: Notes) -> dict[str, Any]:
    old = dict(old)
    _in_iterations(old, "evaluation")
    for key in old.keys() - {"interval", "metric", "save_best", "by_epoch"}:
        notes.dropped(f"evaluation.{key}", "images are scored one by one as they are predicted")
    notes.became("evaluation.interval", "train_cfg.val_interval")
    return dict(train_cfg=dict(val_interval=old.get("interval", 1)))


def _log(old: dict[str, Any], notes: Notes) -> dict[str, Any]:
    logger = dict(type="LoggerHook", log_metric_by_epoch=False, interval=old.get("interval", 10))
    backends = [dict(type="LocalVisBackend")]
    for hook in old.get("hooks", ()):
        kind = hook["type"]
        if kind in _BACKENDS:
            settings = {"init_kwargs": hook["init_kwargs"]} if hook.get("init_kwargs") else {}
            backends.append(dict(type=_BACKENDS[kind], **settings))
            notes.became(f"log_config.hooks:{kind}", f"visualizer.vis_backends:{_BACKENDS[kind]}")
        elif kind != "TextLoggerHook":
            notes.dropped(f"log_config.hooks:{kind}", "no counterpart")
    notes.became("log_config", "default_hooks.logger, visualizer")
    return dict(default_hooks=dict(logger=logger), visualizer=dict(type="Visualizer", vis_backends=backends))


def _machine(old: dict[str, Any], notes: Notes) -> dict[str, Any]:
    notes.became("dist_params", "env_cfg.dist_cfg")
    for key in old.keys() - {"backend"}:
        notes.dropped(f"dist_params.{key}", "tools/dist_train.sh takes PORT from the environment")
    return dict(env_cfg=dict(dist_cfg=dict(backend=old.get("backend", "nccl"))))


def _cudnn(old: bool, notes: Notes) -> dict[str, Any]:
    notes.became("cudnn_benchmark", "env_cfg.cudnn_benchmark")
    return dict(env_cfg=dict(cudnn_benchmark=old))


def _resume(old: str, notes: Notes) -> dict[str, Any]:
    notes.became("resume_from", "load_from, resume=True")
    return dict(load_from=old, resume=True)


def _auto_resume(old: bool, notes: Notes) -> dict[str, Any]:
    notes.became("auto_resume", "resume")
    return dict(resume=True) if old else {}


def _workflow(old: Any, notes: Notes) -> dict[str, Any]:
    notes.dropped("workflow", f"{old}: training, with validation every val_interval iterations, is the one there is")
    return {}


def _seed(old: int, notes: Notes) -> dict[str, Any]:
    notes.became("seed", "randomness.seed")
    return dict(randomness=dict(seed=old))


def _in_iterations(section: dict[str, Any], where: str) -> None:
    if section.pop("by_epoch", False):
        raise UserError(f"{where}.by_epoch: got True, expected False: training is counted in iterations here")


_SECTIONS: dict[str, Callable[[Any, Notes], dict[str, Any]]] = {
    "optimizer": _optimizer, "optimizer_config": _optimizer_config, "fp16": _fp16, "lr_config": _learning_rate,
    "runner": _runner, "total_iters": _total_iters, "checkpoint_config": _checkpoint, "evaluation": _evaluation,
    "log_config": _log, "dist_params": _machine, "cudnn_benchmark": _cudnn, "resume_from": _resume, "auto_resume": _auto_resume,
    "workflow": _workflow, "seed": _seed,
}
