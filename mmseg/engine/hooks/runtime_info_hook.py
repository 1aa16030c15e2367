"""What a step leaves for the logger stays on the device until the logger wants it."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.hooks import LoggerHook
from mmengine.hooks import RuntimeInfoHook as _RuntimeInfoHook
from torch import Tensor

from mmseg.engine.log_window import bound_log_window
from mmseg.registry import HOOKS
from mmseg.utils.device import has_native_bfloat16

__all__ = ["RuntimeInfoHook"]

_MOST = 100
"""Iterations whose numbers may wait; also where the logger's interval is longer, or there is no logger."""


@HOOKS.register_module()
class RuntimeInfoHook(_RuntimeInfoHook):
    """:class:`mmengine.hooks.RuntimeInfoHook` without waiting for a GPU at every step; registered by the runner itself.

    Losses and the norm of the gradients are kept where they are and brought into the message hub all at once, in their order,
    when a :class:`~mmengine.hooks.LoggerHook` is due, before a checkpoint, before validation and when training ends: the hub
    then holds what mmengine's hook would have put there. In between, the losses of the last steps are not in the hub yet.
    """

    def __init__(self) -> None:
        self._kept: list[tuple[dict[str, Any], Tensor | None]] = []

    def before_train(self, runner: Any) -> None:
        """Say on what, and in which numbers, is computed."""
        super().before_train(runner)
        device = next(runner.model.parameters()).device
        kind = type(runner.optim_wrapper).__name__
        if hasattr(runner.optim_wrapper, "computes_in"):
            kind = runner.optim_wrapper.computes_in(device.type)
        kind = "float32" if kind == "OptimWrapper" else kind
        native = has_native_bfloat16(device.type)
        if kind == "float32" and device.type == "cuda" and native and torch.backends.cudnn.allow_tf32:  # older ones have neither
            kind += " (convolutions in TF32)"
        runner.logger.info(f"forward passes compute in {kind}, on {device}")
        if kind == "bfloat16" and not native:
            runner.logger.warning(
                f"optim_wrapper.dtype: got bfloat16, which this {device.type} only emulates, more slowly than float32; leave out "
                "--amp, or set optim_wrapper.dtype=auto")

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: dict[str, Any] | None = None
    ) -> None:
        """Keep what the step gave; have all hooks fetch what they kept where it is time."""
        wrapper = runner.optim_wrapper
        values = {f"train/{name}": value for name, value in (outputs or {}).items()}
        if getattr(wrapper, "gradient_norm", None) is not None:
            values = {f"train/{wrapper.grad_name}": wrapper.gradient_norm, **values}
            wrapper.gradient_norm = None
        tensors = {name: value.detach().reshape(()) for name, value in values.items() if isinstance(value, Tensor)}
        device = next(iter(tensors.values())).device if tensors else None
        stacked = torch.stack([value.to(device) for value in tensors.values()]) if tensors else None
        self._kept.append((values | dict.fromkeys(tensors), stacked))
        if self._is_due(runner, batch_idx):
            runner.call_hook("fetch")

    def _is_due(self, runner: Any, batch_idx: int) -> bool:
        """When the logger writes; see :meth:`mmengine.hooks.LoggerHook.after_train_iter`."""
        intervals = [hook.interval for hook in runner.hooks if isinstance(hook, LoggerHook)]
        return (
            len(self._kept) >= _MOST or self.end_of_epoch(runner.train_dataloader, batch_idx)
            or any(self.every_n_inner_iters(batch_idx, interval) for interval in intervals)
        )

    def fetch(self, runner: Any) -> None:
        """Bring what was kept into the message hub, by one transfer."""
        kept, self._kept = self._kept, []
        stacks = [stacked for _, stacked in kept if stacked is not None]
        numbers = iter(torch.cat(stacks).tolist() if stacks else ())
        for values, _ in kept:
            for name, value in values.items():
                runner.message_hub.update_scalar(name, next(numbers) if value is None else value)
        bound_log_window(runner.message_hub, runner.log_processor)

    def before_val(self, runner: Any) -> None:
        """Nothing is validated before the steps so far are known to be sound."""
        runner.call_hook("fetch")
        super().before_val(runner)

    def after_train(self, runner: Any) -> None:
        """The last steps, too."""
        runner.call_hook("fetch")
        super().after_train(runner)
