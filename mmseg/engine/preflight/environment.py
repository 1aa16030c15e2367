"""What the run stands on: Python, PyTorch, driver and devices."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from pathlib import Path

import mmcv
import mmengine
import numpy as np
import torch
from packaging.version import Version

from mmseg.engine.preflight.finding import ERROR, NOTE, WARNING, Finding
from mmseg.utils.device import gpu_report
from mmseg.version import __version__

__all__ = ["environment_findings"]

_LEAST = {"torch": (2, 10), "onedl-mmengine": (0, 10, 12), "onedl-mmcv": (2, 3)}
"""As in requirements/runtime.txt."""

_DRIVER = Path("/proc/driver/nvidia/version")


def environment_findings(driver: Path = _DRIVER) -> Iterator[Finding]:
    """Versions, and what does not go together.

    Args:
        driver: where NVIDIA's driver says what it is.
    """
    versions = {"torch": torch.__version__, "onedl-mmengine": mmengine.__version__, "onedl-mmcv": mmcv.__version__}
    for name, least in _LEAST.items():
        if Version(versions[name]).release < least:
            wanted = ".".join(map(str, least))
            yield Finding(ERROR, name, versions[name], f"{wanted} or newer",
                          "pip install -c requirements/constraints.txt -r requirements/runtime.txt")
    yield Finding(
        NOTE, "versions", f"mmseg {__version__}, Python {platform.python_version()}, torch {torch.__version__}, "
        f"mmengine {mmengine.__version__}, mmcv {mmcv.__version__}, numpy {np.__version__}",
    )
    yield from _gpu_findings(driver)


def _gpu_findings(driver: Path) -> Iterator[Finding]:
    report = gpu_report()
    installed = _driver_version(driver)
    if not report["devices"]:
        yield Finding(NOTE, "device", f"CPU, {torch.get_num_threads()} threads")
        if installed and not report.get("hidden"):
            built = f"is built for CUDA {report['cuda']}" if report["cuda"] else "is the build for CPUs"
            yield Finding(
                WARNING, "device", f"driver {installed}, but no GPU that torch can use", "a GPU",
                f"this torch {built}: install one that fits the driver (nvidia-smi shows its CUDA), or start the container with "
                "--gpus all",
            )
    for index, (name, gigabytes, architecture) in enumerate(report["devices"]):
        yield Finding(NOTE, "device", f"{name}, {gigabytes:.1f} GiB, driver {installed or '?'}, CUDA {report['cuda']}")
        if report["architectures"] and not _runs_on(architecture, report["architectures"]):
            yield Finding(  # the first is used; the others may be for a screen
                WARNING if index else ERROR, "device", f"{name} ({architecture})", f"one of {', '.join(report['architectures'])}",
                "install a torch that is built for this GPU, or hide it by CUDA_VISIBLE_DEVICES",
            )


def _runs_on(architecture: str, built: list[str]) -> bool:
    """Code for a GPU runs on later ones of its generation (``sm_80`` on 8.6), and ``compute_`` code on all later ones; of GPUs
    whose names are other ones nothing is known."""
    if not any(entry.startswith(("sm_", "compute_")) for entry in built):
        return True
    major, minor = int(architecture[3:-1]), int(architecture[-1])
    for entry in built:
        kind, _, digits = entry.rstrip("af").partition("_")
        if not digits.isdigit():
            continue
        of = (int(digits[:-1] or 0), int(digits[-1]))
        if (kind == "sm" and of[0] == major and of[1] <= minor) or (kind == "compute" and of <= (major, minor)):
            return True
    return False


def _driver_version(path: Path) -> str:
    try:
        words = path.read_text().splitlines()[0].split()
    except (OSError, IndexError):
        return ""
    return next((word for word in words if word.replace(".", "").isdigit() and "." in word), "?")
