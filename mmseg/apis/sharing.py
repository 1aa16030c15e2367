"""Photographs shared out over processes, which need each other only at the end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import torch

from mmseg.apis.folders import Outcome
from mmseg.utils.device import process_device
from mmseg.utils.errors import UserError

__all__ = ["Share"]


@dataclass(frozen=True)
class Share:
    """What falls to this process; without arguments it is the only one.

    Attributes:
        rank: which process this is, from 0.
        world: how many there are.
        device: its own, by name; None: whatever is there.
        group: how they are connected.
    """

    rank: int = 0
    world: int = 1
    device: str | None = None
    group: torch.distributed.ProcessGroup | None = None

    @classmethod
    def of_torchrun(cls) -> Share:
        """That of a process which torchrun started. It meets the others over gloo; while they work nothing travels.

        The connection stays open, so that the end of another process is noticed; one that works is waited for a month.

        Raises:
            UserError: torchrun did not start it.
        """
        if not torch.distributed.is_torchelastic_launched():
            raise UserError("--launcher pytorch: got a process that torchrun did not start; use tools/dist_inference.sh")
        torch.distributed.init_process_group("gloo", timeout=timedelta(minutes=10))
        group = torch.distributed.new_group(backend="gloo", timeout=timedelta(days=30))
        device = process_device(torch.distributed.get_node_local_rank())
        return cls(torch.distributed.get_rank(), torch.distributed.get_world_size(), device, group)

    def agree_on(self, files: Sequence[Path]) -> list[Path]:
        """The first process's list: another that lists a folder a moment later, or elsewhere, may find others in it."""
        listed = [list(files)]
        if self.group is not None:
            torch.distributed.broadcast_object_list(listed, src=0, group=self.group)
        return listed[0]

    def add_up(self, outcome: Outcome) -> Outcome:
        """What became of all processes' photographs; each must call this once, when it is done."""
        if self.group is None:
            return outcome
        parts = [Outcome()] * self.world
        torch.distributed.all_gather_object(parts, outcome, group=self.group)
        torch.distributed.destroy_process_group()
        return sum(parts, Outcome())
