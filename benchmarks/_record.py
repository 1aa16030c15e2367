"""What every benchmark writes down beside its numbers."""

from __future__ import annotations

import json
import platform
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

__all__ = ["processor", "write_record"]


def write_record(path: Path | None, script: str, packages: tuple[str, ...], **numbers: Any) -> None:
    """Write numbers with command, date, machine and versions as JSON; None writes nothing."""
    if path is None:
        return
    about = dict(
        command=" ".join(["python", f"benchmarks/{script}", *sys.argv[1:]]), date=time.strftime("%Y-%m-%d"),
        machine=processor(), versions={name: version(name) for name in packages},
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(about | numbers, indent=2) + "\n")
    print(f"wrote {path}", file=sys.stderr)


def processor() -> str:
    """The processor's name where the system tells it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0]}, {len(names)} cores" if names else platform.processor() or platform.machine()
