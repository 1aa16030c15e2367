"""Memory that is kept is not mapped again."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import resource
import torch
from mmseg.utils.memory import keep_freed_memory

def faults():
    def work():
        return [torch.ones(2 ** 24) for _ in range(2)]
    for _ in range(8):
        work()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(4):
        work()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

given_back = faults()
assert keep_freed_memory()
print(faults(), given_back)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
def test_freed_tensors_are_not_mapped_again(repo: Path) -> None:
    """In a process of its own, which keeps them from then on."""
    kept, given_back = map(int, subprocess.check_output([sys.executable, "-c", PROGRAM], cwd=repo).split())
    assert kept * 20 < given_back
