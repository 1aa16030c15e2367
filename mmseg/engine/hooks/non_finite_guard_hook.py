"""Stop before a loss or gradient that is not finite reaches the weights."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.dist import all_gather_object
from mmengine.hooks import Hook
from torch import Tensor, nn

from mmseg.engine.agreement import agree
from mmseg.registry import HOOKS
from mmseg.utils.errors import UserError

__all__ = ["NonFiniteGuardHook"]


@HOOKS.register_module()
class NonFiniteGuardHook(Hook):
    """End training before an update with a NaN or an infinity, on every process; registered by the runner itself.

    The losses of every forward pass since the last update and the norm of the gradients are looked at just before
    ``optimizer.step``. The weights, and the checkpoints on the disk, are those of the last finite step. Where gradients are
    clipped by their norm, that norm is used; it is on the host already, so that nothing more waits for a GPU than one number,
    whether all losses are finite.
    """

    def __init__(self) -> None:
        self._seen: list[tuple[dict[str, Tensor], list[str]]] = []

    def before_train(self, runner: Any) -> None:
        """Listen to the model's losses and to the optimiser's steps."""
        self._runner = runner
        runner.bare_model.register_forward_hook(self._note, with_kwargs=True)
        runner.optim_wrapper.optimizer.register_step_pre_hook(self._check)

    def _note(self, module: nn.Module, args: tuple, kwargs: dict[str, Any], output: Any) -> None:
        """Keep the losses of a training batch and the names of its files until the update."""
        if kwargs.get("mode") == "loss" and isinstance(output, dict):
            losses = {name: loss.detach() for name, loss in output.items() if isinstance(loss, Tensor)}
            self._seen.append((losses, [str(sample.get("img_path")) for sample in kwargs.get("data_samples") or []]))

    def _check(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        seen, self._seen = self._seen, []
        norm = self._gradient_norm(optimizer)
        finite = [torch.isfinite(loss).all() for losses, _ in seen for loss in losses.values()]
        fine = norm < float("inf") and (not finite or bool(torch.stack(finite).all()))  # NaN is not less
        if agree(not fine):
            raise UserError(self._report(seen, norm, fine))

    def _gradient_norm(self, optimizer: torch.optim.Optimizer) -> float:
        wrapper = self._runner.optim_wrapper
        if wrapper.clip_grad_kwargs and wrapper.grad_name == "grad_norm":
            return float(self._runner.message_hub.get_scalar("train/grad_norm").current())
        gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        return float(torch.nn.utils.get_total_norm(gradients))

    def _report(self, seen: list[tuple[dict[str, Tensor], list[str]]], norm: float, fine: bool) -> str:
        """What every process saw, and what may help."""
        mine = [({name: float(loss.float().mean()) for name, loss in losses.items()}, files) for losses, files in seen]
        lines = []
        for rank, (batches, its_norm, its_fine) in enumerate(all_gather_object((mine, norm, fine))):
            for losses, files in batches:
                terms = ", ".join(f"{name} {value:.6g}" for name, value in losses.items())
                state = "finite" if its_fine else "not finite"
                lines += [f"process {rank}, {state}: {terms}; norm of the gradients {its_norm:.6g}"]
                lines += [f"  {file}" for file in files]
        runner = self._runner
        rate = max(runner.optim_wrapper.get_lr()["lr"])
        text = "\n  ".join([
            f"iteration {runner.iter + 1}: a loss or a gradient is not finite; training ends before this update", *lines,
            f"The weights and the checkpoints in {runner.work_dir} are not touched by it. What to try, in this order:",
            "look at these files (tools/browse_dataset.py); "
            f"a lower learning rate (now {rate:.3g}) or a longer warm-up; optim_wrapper.clip_grad.max_norm lower; "
            "optim_wrapper.dtype=float32; then go on by --resume or start again",
        ])
        runner.logger.info(text)  # many lines: to the file; the console has it from the error
        return text
