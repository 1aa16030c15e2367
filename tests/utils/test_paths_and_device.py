"""Where things live, and on which device they run."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mmseg.utils import UserError, home, home_path
from mmseg.utils.device import default_device, distributed_backend, get_rng_state, local_processes, resolve_device, set_rng_state

no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="says what happens where there is no GPU")


@pytest.mark.parametrize(("value", "expected"), [(None, "."), ("", "."), ("/somewhere/else", "/somewhere/else")])
def test_home(value: str | None, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Docker and shells pass an unset variable on as an empty one."""
    monkeypatch.delenv("SDCNET_HOME", raising=False)
    if value is not None:
        monkeypatch.setenv("SDCNET_HOME", value)
    assert home() == Path(expected)
    assert home_path("model", "latest.pth") == Path(expected, "model", "latest.pth")


def test_the_cpu_can_always_be_named() -> None:
    assert resolve_device("cpu") == torch.device("cpu")


@no_gpu
def test_without_a_gpu() -> None:
    assert resolve_device(None) == default_device() == torch.device("cpu")
    assert distributed_backend() == "gloo"


@pytest.mark.parametrize("name", ["", "gpu", "cuda:99", "cpu:-1", "mps:7", "hpu"])
def test_a_device_that_cannot_be_used(name: str) -> None:
    with pytest.raises(UserError) as caught:
        resolve_device(name)
    message = str(caught.value)
    assert f"device: got {name!r}" in message
    assert "expected 'cpu' or 'cuda:N'" in message
    assert "\n" not in message, "torch's reasons have many lines"


def test_the_random_state_comes_back() -> None:
    state = get_rng_state()
    first = torch.rand(3)
    set_rng_state(state)
    assert torch.equal(torch.rand(3), first)


@pytest.mark.parametrize(("told", "expected"), [
    ({}, 16), ({"LOCAL_WORLD_SIZE": "8"}, 8), ({"LOCAL_WORLD_SIZE": "8", "SLURM_NTASKS_PER_NODE": "1"}, 8),
    ({"SLURM_NTASKS_PER_NODE": "4"}, 4), ({"SLURM_NTASKS_PER_NODE": "4(x2)"}, 16), ({"LOCAL_WORLD_SIZE": "32"}, 16),
])
def test_processes_of_this_machine(monkeypatch: pytest.MonkeyPatch, told: dict[str, str], expected: int) -> None:
    """torchrun may run inside a task of Slurm, which then counts launchers; alone in somebody's allocation it is one process."""
    for name in ("LOCAL_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_SIZE", "SLURM_NTASKS_PER_NODE"):
        monkeypatch.setenv(name, told.get(name, ""))
    assert local_processes(16) == expected
    assert local_processes(1) == 1
