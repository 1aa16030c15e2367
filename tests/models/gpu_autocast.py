"""What autocast does on a GPU, done on a CPU: some functions compute in float32 there that keep bfloat16 on a CPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

_FLOAT32 = {
    F.interpolate, F.softmax, F.log_softmax, F.softplus, F.nll_loss, F.mse_loss, F.l1_loss, F.smooth_l1_loss, F.layer_norm,
    F.group_norm, F.cosine_similarity, F.binary_cross_entropy_with_logits, torch.softmax, torch.log_softmax, torch.sum,
    torch.prod, torch.cumsum, torch.exp, torch.log, torch.log2, torch.pow, torch.rsqrt, torch.reciprocal, torch.logsumexp,
    Tensor.softmax, Tensor.log_softmax, Tensor.sum, Tensor.prod, Tensor.cumsum, Tensor.exp, Tensor.log, Tensor.log2,
    Tensor.pow, Tensor.__pow__, Tensor.rsqrt, Tensor.reciprocal, Tensor.logsumexp,
}
"""Of CUDA's list (torch's documentation, "CUDA Ops that can autocast to float32"), what has a form that can be caught here."""


class GpuAutocast(TorchFunctionMode):
    """Inside an autocast of the CPU, the functions of CUDA's list take and give float32."""

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        if func in _FLOAT32 and torch.is_autocast_enabled("cpu"):
            args = tuple(_float(value) for value in args)
            kwargs = {name: _float(value) for name, value in (kwargs or {}).items()}
        return func(*args, **(kwargs or {}))


def _float(value: Any) -> Any:
    return value.float() if isinstance(value, Tensor) and value.dtype == torch.bfloat16 else value
