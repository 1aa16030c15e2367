"""A checkpoint that can be given to others: weights and what describes them, nothing of the machine."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import torch

from mmseg.engine.checkpoint import OF_THE_CALL, embedded_config, read_checkpoint, write_checkpoint
from mmseg.utils.digests import file_sha256
from mmseg.utils.errors import UserError
from mmseg.utils.paths import make_folder
from mmseg.utils.thresholds import with_thresholds

__all__ = ["publish_checkpoint"]

_META = ("format_version", "iter", "seed", "config_name", "config_json", "classes", "palette", "thresholds", "metrics", "init",
         "versions", "time")
"""What this project writes; of another program's ``meta``, which may hold its machine, nothing else is taken over."""


def publish_checkpoint(
    source: str | Path, target: str | Path, half: bool = False, thresholds: float | Mapping[str, float] | None = None
) -> tuple[Path, list[str]]:
    """Write the weights of a checkpoint to a file whose name ends in eight digits of its SHA-256, as mmsegmentation's do.

    Optimiser, schedule and random state stay behind: the file serves inference, testing and ``--load-from``, not ``--resume``.
    Of absolute paths in the configuration only the last part is kept.

    Args:
        source: checkpoint with ``state_dict``.
        target: such as ``weights/name.pth``, which becomes ``weights/name-<8 digits>.pth``.
        half: convolution kernels in float16; they become float32 again when they are loaded. Everything of one dimension
            (normalisation, biases) stays as it is.
        thresholds: one for all lesions or by lesion, 0 to 1, for ``pred_sem_seg``; those not named stay as they are.

    Returns:
        the file, and a line for everything that was left out or changed, beside the state of the run.

    Raises:
        UserError: no such checkpoint, a weight that float16 cannot hold, a threshold that is none or names no lesion, or the file
            cannot be written.
    """
    checkpoint, target = read_checkpoint(source), Path(target)
    if target.suffix != ".pth":
        raise UserError(f"{target}: got a name that ends in {target.suffix!r}, expected one that ends in '.pth'")
    weights = {name: _halved(name, tensor, source) if half else tensor for name, tensor in checkpoint["state_dict"].items()}
    known: dict[str, Any] = checkpoint.get("meta") or {}
    meta = {key: known[key] for key in _META if key in known}
    lines = [f"meta.{key}: left out" for key in known if key not in _META]
    config: dict[str, Any] = embedded_config(checkpoint, source) or {}
    if thresholds is not None:
        if not known.get("thresholds"):
            raise UserError(f"{source}: holds no thresholds to be changed: it is another program's, or has none")
        meta["thresholds"] = limits = with_thresholds(known["thresholds"], thresholds)
        if isinstance(config.get("model"), dict):  # whose own would go before them
            config["model"]["test_cfg"] = {**(config["model"].get("test_cfg") or {}), "thresholds": list(limits.values())}
        lines.append(f"thresholds: {', '.join(f'{name} {limit}' for name, limit in limits.items())}")
    if "config_json" in meta:
        lines += [f"config.{key}: left out" for key in OF_THE_CALL if config.pop(key, None)]
        meta["config_json"] = json.dumps(_without_folders(config, "config", lines))
    draft = make_folder(target.parent, "TARGET") / f".{target.stem}.draft.pth"
    try:
        write_checkpoint(dict(state_dict=weights, meta=meta), draft)
    except UserError as error:
        raise UserError(f"{target}: cannot be written: {error.__cause__ or error}; make room, or name another TARGET") from error
    return draft.replace(target.with_name(f"{target.stem}-{file_sha256(draft)[:8]}.pth")), lines


def _halved(name: str, tensor: torch.Tensor, source: str | Path) -> torch.Tensor:
    if tensor.ndim < 2 or tensor.dtype != torch.float32:
        return tensor
    half = tensor.half()
    if not half.isfinite().all():
        largest = f"{float(tensor.abs().max()):.3g}"
        raise UserError(f"{source}: {name} holds numbers up to {largest}, which float16 cannot; leave out half")
    return half


def _without_folders(value: Any, key: str, lines: list[str]) -> Any:
    """A configuration in which absolute paths are their last part; what was changed is added to ``lines``."""
    if isinstance(value, dict):
        return {name: _without_folders(inner, f"{key}.{name}", lines) for name, inner in value.items()}
    if isinstance(value, list):
        return [_without_folders(inner, f"{key}.{place}", lines) for place, inner in enumerate(value)]
    if isinstance(value, str) and (PurePosixPath(value).is_absolute() or PureWindowsPath(value).is_absolute()):
        kind = PurePosixPath if PurePosixPath(value).is_absolute() else PureWindowsPath
        lines.append(f"{key}: {value} became {kind(value).name}")
        return kind(value).name
    return value
