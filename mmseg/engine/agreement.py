"""What processes must do at the same step, they agree on."""

from __future__ import annotations

from datetime import timedelta
from functools import cache

import torch

__all__ = ["COLLECTIVE_TIMEOUT", "agree", "wait_at_most"]

COLLECTIVE_TIMEOUT = 600
"""Seconds that a process waits for the others, where ``env_cfg.dist_cfg.timeout`` says nothing else."""


_timeout = [float(COLLECTIVE_TIMEOUT)]


def wait_at_most(seconds: float) -> None:
    """How long :func:`agree` waits for other processes; to be said before it is first called."""
    _timeout[0] = float(seconds)


def agree(number: int) -> int:
    """The largest of every process's number. All must call this; nothing waits for a GPU."""
    if not torch.distributed.is_initialized():
        return number
    shared = torch.tensor(number)
    torch.distributed.all_reduce(shared, torch.distributed.ReduceOp.MAX, group=_control_group())
    return int(shared)


@cache
def _control_group() -> torch.distributed.ProcessGroup | None:
    """Gloo, on the host, whatever the gradients travel by."""
    if torch.distributed.get_backend() == "gloo":
        return None
    return torch.distributed.new_group(backend="gloo", timeout=timedelta(seconds=_timeout[0]))
