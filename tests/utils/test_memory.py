"""Memory that is kept is not mapped again."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
import torch
from mmseg.utils.memory import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
def work():
    return [torch.ones(2 ** 24) for _ in range(2)]
for _ in range(8):
    work()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(4):
    work()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
def test_freed_tensors_are_not_mapped_again() -> None:
    faults = {how: int(subprocess.check_output([sys.executable, "-c", PROGRAM, how])) for how in ("keep", "give back")}
    assert faults["keep"] * 20 < faults["give back"], faults
