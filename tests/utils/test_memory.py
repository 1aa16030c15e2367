"""Memory that is kept is not mapped again."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from mmseg.utils.memory import _left_in_groups

PROGRAM = """
import resource
import numpy as np
from mmseg.utils.memory import keep_freed_memory

def faults():
    def work():
        return [np.ones(2 ** 23) for _ in range(2)]  # 64 MiB, as a tensor of a step
    for _ in range(2):
        work()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    work()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

given_back = faults()
assert keep_freed_memory()
print(faults(), given_back)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
def test_freed_tensors_are_not_mapped_again(repo: Path) -> None:
    """In a process of its own, which keeps them from then on."""
    small_pages = os.environ | {"NUMPY_MADVISE_HUGEPAGE": "0"}
    kept, given_back = map(int, subprocess.check_output([sys.executable, "-c", PROGRAM], cwd=repo, env=small_pages).split())
    assert kept * 20 < given_back


GIB = 2**30


@pytest.mark.parametrize(("groups", "files", "expected"), [
    ("0::/", {}, []),
    ("0::/", {"memory.max": "max", "memory.current": str(GIB)}, []),
    ("0::/", {"memory.max": str(8 * GIB), "memory.current": str(3 * GIB)}, [5 * GIB]),
    ("0::/", {"memory.max": str(8 * GIB), "memory.current": str(7 * GIB), "memory.stat": f"anon 1\ninactive_file {6 * GIB}"},
     [7 * GIB]),  # photographs that were read can be dropped
    ("0::/job/step", {"job/memory.max": str(4 * GIB), "job/memory.current": str(GIB), "job/step/memory.max": "max",
                      "job/step/memory.current": "0"}, [3 * GIB]),
    ("0::/of/the/host", {"memory.max": str(8 * GIB), "memory.current": "0"}, [8 * GIB]),  # as a container may see it
    ("5:cpu,cpuacct:/x\n4:memory:/docker/a\n0::/", {
        "memory/docker/a/memory.limit_in_bytes": str(2 * GIB), "memory/docker/a/memory.usage_in_bytes": str(GIB),
        "memory/docker/a/memory.stat": "total_inactive_file 100"}, [GIB + 100]),
], ids=["none", "unlimited", "a container", "cached files", "groups in groups", "a path of the host", "version 1"])
def test_what_is_left_in_control_groups(groups: str, files: dict[str, str], expected: list[int], tmp_path: Path) -> None:
    texts = {"proc/self/cgroup": groups, **{f"sys/fs/cgroup/{name}": text for name, text in files.items()}}
    for name, text in texts.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert list(_left_in_groups(tmp_path)) == expected
