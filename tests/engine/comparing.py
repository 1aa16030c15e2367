"""Train, and hold two runs against each other."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config

from mmseg.apis import build_runner
from mmseg.engine import LesionRunner
from mmseg.engine.checkpoint import read_checkpoint

MakeConfig = Callable[..., Config]


def train(config: Config) -> LesionRunner:
    runner = build_runner(config)
    runner.train()
    return runner


def scalars(work_dir: str | Path) -> list[dict[str, float]]:
    """What the logger wrote, of all runs in the folder."""
    files = sorted(Path(work_dir).glob("*/vis_data/scalars.json"))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def logged(work_dir: str | Path) -> list[dict[str, float]]:
    """The same without what a clock says."""
    return [{key: value for key, value in record.items() if "time" not in key} for record in scalars(work_dir)]


def log(work_dir: str | Path) -> str:
    return "".join(file.read_text() for file in Path(work_dir).glob("*/*.log"))


def differences(a: Any, b: Any, where: str = "") -> list[str]:
    """Keys below which two nested checkpoints differ in any bit."""
    if isinstance(a, torch.Tensor):
        return [] if a.dtype == b.dtype and torch.equal(a, b) else [where]
    if isinstance(a, dict):
        return [d for key in a.keys() | b.keys() for d in differences(a.get(key), b.get(key), f"{where}.{key}")]
    if isinstance(a, (list, tuple)):
        unequal = [where] if len(a) != len(b) else []
        return unequal + [d for i, pair in enumerate(zip(a, b, strict=False)) for d in differences(*pair, f"{where}.{i}")]
    return [] if a == b else [where]


STATE = (
    "state_dict", "raw_state_dict", "averaged_steps", "optimizer", "param_schedulers", "rng", "sampler",
)


def state_differences(a: Path, b: Path) -> list[str]:
    first, second = read_checkpoint(a), read_checkpoint(b)
    assert set(first["state_dict"])
    return [d for key in STATE for d in differences(first.get(key), second.get(key), key)]
