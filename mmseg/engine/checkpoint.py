"""Checkpoint files: written whole or not at all, read without running anything."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import shutil
import zipfile
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config

from mmseg.utils.errors import UserError

__all__ = ["FORMAT_VERSION", "checkpoint_config", "link_latest", "read_checkpoint", "write_checkpoint"]

FORMAT_VERSION = 1
"""Written as ``meta.format_version``; docs/architecture.md lists the keys."""


def write_checkpoint(checkpoint: dict[str, Any], path: str | Path) -> None:
    """Write a checkpoint such that ``path`` holds either what it held or the whole new file, whatever happens.

    The bytes go to a temporary file in the same folder, which is flushed to the disk and then renamed.

    Raises:
        UserError: the file cannot be written; the old one is left as it was.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        with temporary.open("wb") as file:
            torch.save(checkpoint, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as RuntimeError
        folder = path.parent
        note = f"{shutil.disk_usage(folder).free / 2**20:.0f} MiB are free there" if folder.is_dir() else "no such folder"
        raise UserError(f"{path}: the checkpoint could not be written ({error}); {note}") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def link_latest(path: str | Path) -> Path:
    """Make ``latest.pth`` beside ``path`` the same file: a hard link, or a copy where the file system has none.

    A symbolic link would break when the file is mounted alone.
    """
    path = Path(path)
    latest, temporary = path.with_name("latest.pth"), path.with_name(".latest.pth.new")
    temporary.unlink(missing_ok=True)
    try:
        os.link(path, temporary)
    except OSError:
        shutil.copyfile(path, temporary)
    return temporary.replace(latest)


def read_checkpoint(path: str | Path, map_location: str | torch.device = "cpu") -> dict[str, Any]:
    """Read a checkpoint of this project; only tensors and plain data are unpickled, nothing in the file is executed.

    Returns:
        the dictionary as written, with ``state_dict`` and ``meta``.

    Raises:
        UserError: the file is missing, damaged, holds other objects, or is not a checkpoint of this project.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such checkpoint; tools/train.py writes latest.pth into its work_dir")
    try:
        checkpoint = torch.load(path, map_location=map_location, weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{path}: refused, because it is damaged or holds more than tensors and plain data, which could run code: "
            f"{_reason(error)}"
        ) from error
    except Exception as error:  # damaged bytes make the unpickler fail in any way
        raise UserError(f"{path}: not a readable checkpoint ({_reason(error)})") from error
    damaged = _damaged_record(path)
    if damaged:
        raise UserError(f"{path}: the file is damaged, the checksum of its part {damaged} is wrong; take an earlier checkpoint")
    if not isinstance(checkpoint, dict) or "state_dict" not in checkpoint:
        raise UserError(f"{path}: got no 'state_dict', expected a checkpoint written by tools/train.py")
    weights, meta = checkpoint["state_dict"], checkpoint.get("meta", {})
    sound = isinstance(weights, dict) and all(isinstance(tensor, torch.Tensor) for tensor in weights.values())
    if not sound or not isinstance(meta, dict):
        raise UserError(f"{path}: 'state_dict' or 'meta' holds something else, expected a checkpoint written by tools/train.py")
    return checkpoint


def _damaged_record(path: Path) -> str | None:
    """The first part whose CRC-32 is wrong; torch writes one for every tensor into its archive but does not check it."""
    if not zipfile.is_zipfile(path):  # torch's format before 1.6 has none
        return None
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip()
    except Exception as error:  # damaged bytes make the reading of the archive fail in any way
        raise UserError(f"{path}: not a readable checkpoint ({_reason(error)})") from error


def _reason(error: Exception) -> str:
    """The line of torch's long message that says what was found."""
    lines = [line.strip() for line in str(error).splitlines()] or [type(error).__name__]
    return next((line.split(" Please use")[0] for line in lines if "WeightsUnpickler error" in line), lines[0])


def checkpoint_config(checkpoint: dict[str, Any], path: str | Path) -> Config:
    """The configuration that travels inside a checkpoint, as plain data (it is never executed).

    Raises:
        UserError: the checkpoint carries none.
    """
    text = checkpoint.get("meta", {}).get("config_json")
    if text is None:
        raise UserError(f"{path}: the checkpoint carries no configuration; name the one it was trained with by --config")
    try:
        return Config(json.loads(text))
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise UserError(f"{path}: the configuration inside cannot be read ({error}); name the one it was trained with") from error
