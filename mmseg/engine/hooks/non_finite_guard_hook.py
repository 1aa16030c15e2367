"""Stop before a loss or gradient that is not finite reaches the weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.dist import all_gather_object
from mmengine.hooks import Hook
from mmengine.optim import AmpOptimWrapper
from torch import Tensor, nn

from mmseg.engine.agreement import agree
from mmseg.registry import HOOKS
from mmseg.utils.errors import UserError

__all__ = ["NonFiniteGuardHook"]


@dataclass
class _Update:
    """What an update was made of; tensors stay on the device."""

    iteration: int
    rate: float
    batches: list[tuple[dict[str, Tensor], list[str]]]
    norm: Tensor
    bad: Tensor
    stopped: Tensor
    """1 where this or an earlier update, of any process, was not finite."""


@HOOKS.register_module()
class NonFiniteGuardHook(Hook):
    """End training before an update with a NaN or an infinity, on every process; registered by the runner itself.

    The losses of every forward pass since the last update and the norm of the gradients are judged just before
    ``optimizer.step``. The weights, and the checkpoints on the disk, are those of the last finite step. Where gradients are
    clipped by their norm, that norm is used.

    On a CPU the verdict is looked at there and then. On a GPU that would mean waiting for it at every step; instead it stays
    on the device, where torch's fused optimisers read it (``found_inf``, as a ``GradScaler`` sets it) and leave out that
    update and every later one. It is looked at when the losses are fetched, which is before any log line, validation or
    checkpoint. Other optimisers, and ``AmpOptimWrapper``, which has such a flag of its own, are looked at there and then; of the
    latter the losses alone, also where its scaler leaves an update out: it looks for its scale by gradients that overflow.

    Args:
        lazy: leave the verdict on the device, where the optimiser can read it; None means: on a GPU.
    """

    def __init__(self, lazy: bool | None = None) -> None:
        self.lazy = lazy
        self._seen: list[tuple[dict[str, Tensor], list[str]]] = []
        self._updates: list[_Update] = []
        self._stopped: Tensor | None = None

    def before_train(self, runner: Any) -> None:
        """Listen to the model's losses and to the optimiser's steps."""
        self._runner, optimizer = runner, runner.optim_wrapper.optimizer
        self._device = next(runner.bare_model.parameters()).device
        lazy = self._device.type != "cpu" if self.lazy is None else self.lazy
        if lazy and _can_skip(optimizer) and not isinstance(runner.optim_wrapper, AmpOptimWrapper):
            self._stopped = optimizer.found_inf = torch.zeros((), device=self._device)
        runner.bare_model.register_forward_hook(self._note, with_kwargs=True)
        optimizer.register_step_pre_hook(self._check)

    def _note(self, module: nn.Module, args: tuple, kwargs: dict[str, Any], output: Any) -> None:
        """Keep the losses of a training batch and the names of its files until the update."""
        if kwargs.get("mode") == "loss" and isinstance(output, dict):
            losses = {name: loss.detach() for name, loss in output.items() if isinstance(loss, Tensor)}
            self.after_losses(self._runner, losses, kwargs.get("data_samples") or [])

    def after_losses(self, runner: Any, losses: dict[str, Tensor], data_samples: Sequence[Any]) -> None:
        """Also called for a batch whose losses were replayed (:class:`~mmseg.engine.graphed_step.GraphedStep`)."""
        self._seen.append((losses, [str(sample.get("img_path")) for sample in data_samples]))

    def _check(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        batches, self._seen = self._seen, []
        norm = self._gradient_norm(optimizer)
        scaled = isinstance(self._runner.optim_wrapper, AmpOptimWrapper)
        values = [*(() if scaled else (norm,)), *(loss for losses, _ in batches for loss in losses.values())]
        bad = torch.isfinite(torch.cat([value.reshape(-1) for value in values])).all().logical_not()
        rate = max(self._runner.optim_wrapper.get_lr()["lr"])
        update = _Update(self._runner.iter + 1, rate, batches, norm, bad, bad)
        if self._stopped is None:
            if agree(bool(bad)):
                raise UserError(self._report(update, later=0))
            return
        self._stopped.copy_(torch.maximum(self._stopped, bad))
        if torch.distributed.is_initialized():
            torch.distributed.all_reduce(self._stopped, torch.distributed.ReduceOp.MAX)
        update.stopped = self._stopped.clone()
        self._updates.append(update)

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Judge the losses of an update that a scaler has left out, too: at the first that is not finite training ends."""
        wrapper = runner.optim_wrapper
        if self._seen and isinstance(wrapper, AmpOptimWrapper) and wrapper.should_update():
            self._check(wrapper.optimizer)

    def fetch(self, runner: Any) -> None:
        """Look at the verdicts that were left on the device."""
        updates, self._updates = self._updates, []
        if updates and updates[-1].stopped:  # it stays 1
            first = next(i for i, update in enumerate(updates) if update.stopped)
            raise UserError(self._report(updates[first], later=len(updates) - first - 1))

    def _gradient_norm(self, optimizer: torch.optim.Optimizer) -> Tensor:
        wrapper = self._runner.optim_wrapper
        if wrapper.clip_grad_kwargs and wrapper.grad_name == "grad_norm":
            kept = getattr(wrapper, "gradient_norm", None)
            if kept is not None:
                return kept
            return torch.tensor(self._runner.message_hub.get_scalar("train/grad_norm").current(), device=self._device)
        gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        return torch.nn.utils.get_total_norm(gradients)

    def _report(self, update: _Update, later: int) -> str:
        """What every process saw, and what may help."""
        mine = [
            ({name: float(loss.float().mean()) for name, loss in losses.items()}, files) for losses, files in update.batches
        ]
        lines = []
        for rank, (batches, norm, bad) in enumerate(all_gather_object((mine, float(update.norm), bool(update.bad)))):
            for losses, files in batches:
                terms = ", ".join(f"{name} {value:.6g}" for name, value in losses.items())
                state = "not finite" if bad else "finite"
                lines += [f"process {rank}, {state}: {terms}; norm of the gradients {norm:.6g}"]
                lines += [f"  {file}" for file in files]
        runner = self._runner
        left_out = f" (nor did the {later} after it reach the weights)" if later else ""
        text = "\n  ".join([
            f"iteration {update.iteration}: a loss or a gradient is not finite; training ends before this update{left_out}",
            *lines,
            f"The weights and the checkpoints in {runner.work_dir} are not touched by it. What to try, in this order:",
            "look at these files (tools/browse_dataset.py); optim_wrapper.clip_grad.max_norm lower, or "
            "optim_wrapper.dtype=float32, with --resume; "
            f"a lower learning rate (now {update.rate:.3g}) or a longer warm-up, in a run of its own from these weights "
            "(--load-from, another --work-dir), since --resume keeps the checkpoint's",
        ])
        runner.logger.info(text)  # many lines: to the file; the console has it from the error
        return text


def _can_skip(optimizer: torch.optim.Optimizer) -> bool:
    """Whether ``step`` leaves out an update on the device where ``optimizer.found_inf`` is 1."""
    fused = getattr(optimizer, "_step_supports_amp_scaling", False)
    fused = fused and all(group.get("fused") for group in optimizer.param_groups)  # which a checkpoint may have changed
    return fused and isinstance(optimizer, (torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD))
