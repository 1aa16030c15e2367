"""Mixed precision on any device."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from mmengine.optim import OptimWrapper
from torch import Tensor, nn

from mmseg.registry import OPTIM_WRAPPERS
from mmseg.utils.device import has_native_bfloat16

__all__ = ["AutocastOptimWrapper"]


@OPTIM_WRAPPERS.register_module()
class AutocastOptimWrapper(OptimWrapper):
    """Run the forward pass under ``torch.autocast``, on a GPU or a CPU; weights, gradients and losses stay float32.

    bfloat16 has the range of float32, so no loss scaling is needed. Clipping does not wait for the norm of the gradients: it
    stays in ``gradient_norm``, a scalar on the device, until :class:`~mmseg.engine.hooks.RuntimeInfoHook` takes it.

    Args:
        dtype: 'bfloat16'; 'float32' switches autocast off; 'auto' takes bfloat16 where the device computes in it itself.
        **kwargs: of :class:`mmengine.optim.OptimWrapper`.
    """

    def __init__(self, dtype: str = "bfloat16", **kwargs: Any) -> None:
        if dtype not in ("auto", "bfloat16", "float32"):
            raise ValueError(f"AutocastOptimWrapper: got dtype={dtype!r}, expected 'auto', 'bfloat16' or 'float32'")
        super().__init__(**kwargs)
        self.dtype = dtype
        self.gradient_norm: Tensor | None = None

    def computes_in(self, device: str) -> str:
        """The number format of forward passes on a kind of device: 'bfloat16' or 'float32'."""
        return ("bfloat16" if has_native_bfloat16(device) else "float32") if self.dtype == "auto" else self.dtype

    @contextlib.contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Forward passes inside run in bfloat16 on the device of the model's weights."""
        device = next(model.parameters()).device.type
        enabled = self.computes_in(device) == "bfloat16"
        with super().optim_context(model), torch.autocast(device, torch.bfloat16, enabled=enabled):
            yield

    def _clip_grad(self) -> None:
        """As mmengine's, without bringing the norm to the host."""
        parameters = [p for group in self.optimizer.param_groups for p in group["params"] if p.grad is not None]
        norm = self.clip_func(parameters, **self.clip_grad_kwargs) if parameters else None
        self.gradient_norm = None if norm is None else norm.detach()
