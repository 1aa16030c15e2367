"""What processes must do at the same step, they agree on."""

from __future__ import annotations

from datetime import timedelta
from functools import cache
from typing import Any

import torch
from mmengine.dist import all_gather_object

from mmseg.utils.errors import UserError

__all__ = ["COLLECTIVE_TIMEOUT", "agree", "check_same", "wait_at_most"]

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


def check_same(facts: dict[str, Any]) -> None:
    """See that every process has the same facts; all must call this.

    Raises:
        UserError: on every process: what another one has otherwise than the first.
    """
    told = all_gather_object(facts)
    lines = []
    for key in dict.fromkeys(key for of_process in told for key in of_process):
        other = next((rank for rank, of_process in enumerate(told) if of_process.get(key) != told[0].get(key)), None)
        if other is not None:
            lines.append(f"{key}: {told[0].get(key)!r:.80} in process 0, {told[other].get(key)!r:.80} in process {other}")
    if lines:
        more = f"\n  and {len(lines) - 10} more" if len(lines) > 10 else ""
        raise UserError("the processes do not train the same; give every machine the same command, code, files and data:\n  "
                        + "\n  ".join(lines[:10]) + more)


@cache
def _control_group() -> torch.distributed.ProcessGroup | None:
    """Gloo, on the host, whatever the gradients travel by."""
    if torch.distributed.get_backend() == "gloo":
        return None
    return torch.distributed.new_group(backend="gloo", timeout=timedelta(seconds=_timeout[0]))
