"""The one place that asks about devices."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch

from mmseg.utils.errors import UserError

__all__ = [
    "check_local_rank", "default_device", "distributed_backend", "exact_convolutions", "free_memory", "get_rng_state",
    "gpu_report", "has_native_bfloat16", "local_processes", "peak_memory", "prefers_planar_weight_gradients",
    "process_device", "recorded", "reset_peak_memory", "resolve_device", "sent_to", "set_rng_state", "wait_for",
]

T = TypeVar("T")


def default_device() -> torch.device:
    """The current GPU where there is one, else the CPU."""
    return torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")


def wait_for(device: torch.device) -> None:
    """Wait until a GPU has done all it was asked for, so that a clock tells how long that took."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def sent_to(device: torch.device, numbers: torch.Tensor) -> torch.Tensor:
    """A few numbers of the CPU on a device, without waiting until a GPU has done what it was asked for before."""
    ready = numbers.pin_memory() if device.type == "cuda" and numbers.device.type == "cpu" else numbers
    return ready.to(device, non_blocking=True)


def process_device(index: int) -> str:
    """The name of the device of one process of several on a machine: each has a GPU of its own, or all share the CPU."""
    return f"cuda:{index % torch.cuda.device_count()}" if torch.cuda.is_available() else "cpu"


def local_processes(processes: int) -> int:
    """How many of so many processes of a job share this machine: what its launcher says, or else all.

    torchrun and MPI are asked first: they may run inside a task of Slurm, whose variable then counts launchers.
    """
    told = (os.environ.get(name, "") for name in ("LOCAL_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_SIZE", "SLURM_NTASKS_PER_NODE"))
    return min(processes, next((max(1, int(number)) for number in told if number.isdecimal()), processes))


def check_local_rank() -> None:
    """See that this process of several has a GPU of its own, where there are any.

    Raises:
        UserError: there are more processes than GPUs.
    """
    count, rank = torch.cuda.device_count(), torch.distributed.get_node_local_rank(fallback_rank=0)
    if torch.cuda.is_available() and rank >= count:
        raise UserError(f"got process {rank + 1} on a machine of {count} GPUs, expected one process a GPU; start {count} at most "
                        "(the number behind the config of tools/dist_train.sh), or set CUDA_VISIBLE_DEVICES; where Slurm gives "
                        "each task a GPU of its own, add --gpu-bind=none to SRUN_ARGS")


def resolve_device(name: str | None) -> torch.device:
    """A device by name, such as 'cpu' or 'cuda:0'; None means :func:`default_device`.

    Raises:
        UserError: no such device here.
    """
    if name is None:
        return default_device()
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, ImportError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"device: got {name!r}, which cannot be used here ({reason}); expected 'cpu' or 'cuda:N'") from error
    return device


def distributed_backend() -> str:
    """The collective library for the devices of this machine: 'nccl' or 'gloo'."""
    return "nccl" if torch.cuda.is_available() else "gloo"


def free_memory(device: torch.device) -> int:
    """Bytes that are free on a GPU."""
    return torch.cuda.mem_get_info(device)[0]


def has_native_bfloat16(device_type: str) -> bool:
    """Whether a kind of device ('cuda', 'cpu') computes in bfloat16 itself; emulating it is slower than float32."""
    if device_type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device_type == "cpu" and getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)()


@contextmanager
def exact_convolutions() -> Iterator[None]:
    """Inside, a GPU convolves float32 in float32 (not in TF32, of 10 bits), and tries no algorithms at every new image size.

    The settings are the process's: with several threads inside, the last one out puts back what the first one in has found.
    """
    cudnn = torch.backends.cudnn
    with _exact.lock:
        if _exact.inside == 0:
            _exact.before = cudnn.allow_tf32, cudnn.benchmark
            cudnn.allow_tf32 = cudnn.benchmark = False
        _exact.inside += 1
    try:
        yield
    finally:
        with _exact.lock:
            _exact.inside -= 1
            if _exact.inside == 0:
                cudnn.allow_tf32, cudnn.benchmark = _exact.before


class _Exact:
    """How many are inside of :func:`exact_convolutions`, and what was set before."""

    def __init__(self) -> None:
        self.lock, self.inside, self.before = threading.Lock(), 0, (True, False)


_exact = _Exact()


def prefers_planar_weight_gradients() -> bool:
    """Whether the CPU has AVX2 and nothing wider: where torch computes weights' gradients slowly in channels-last order."""
    return torch.backends.cpu.get_cpu_capability() == "AVX2"


def get_rng_state() -> dict[str, Any]:
    """torch's random state of the CPU and of the current GPU."""
    state: dict[str, Any] = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def set_rng_state(state: dict[str, Any]) -> None:
    """The inverse of :func:`get_rng_state`; a GPU's state is passed over where there is none."""
    torch.set_rng_state(state["cpu"].cpu())
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"].cpu())


def gpu_report() -> dict[str, Any]:
    """What there is to know of GPUs before one is used.

    Returns:
        ``cuda``: the version that torch is built for, or None; ``architectures``: for which it is built, such as 'sm_90';
        ``devices``: name, GiB of memory and architecture of each; ``hidden``: the user has hidden all.
    """
    devices = []
    for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        properties = torch.cuda.get_device_properties(index)
        devices.append((properties.name, properties.total_memory / 2**30, f"sm_{properties.major}{properties.minor}"))
    architectures = torch.cuda.get_arch_list() if devices else []
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1")
    return dict(cuda=torch.version.cuda, architectures=architectures, devices=devices, hidden=hidden)


def reset_peak_memory(device: torch.device) -> None:
    """Give cached memory back and begin to measure anew; nothing on a CPU."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def peak_memory(device: torch.device) -> tuple[int, int] | None:
    """Bytes reserved at most since :func:`reset_peak_memory`, and bytes that this process could have; None on a CPU."""
    if device.type != "cuda":
        return None
    torch.cuda.synchronize(device)
    free = torch.cuda.mem_get_info(device)[0]
    return torch.cuda.max_memory_reserved(device), free + torch.cuda.memory_reserved(device)


def recorded(work: Callable[[], T]) -> tuple[Callable[[], None], T]:
    """Record what a piece of work does on the GPU as a CUDA graph; nothing is computed yet.

    Args:
        work: that only computes: it neither waits for the GPU nor copies to it.

    Returns:
        a function that does all of it, and what ``work`` has returned: tensors that the former writes, each time anew.

    Raises:
        RuntimeError: the work cannot be recorded. Nothing can be drawn or allocated on the GPU after that (torch 2.11).
    """
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = work()
    return graph.replay, result
