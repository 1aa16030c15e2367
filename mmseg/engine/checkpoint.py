"""Checkpoint files: written whole or not at all, read without running anything."""

from __future__ import annotations

import json
import os
import reprlib
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config

from mmseg.engine.work_dir import LATEST
from mmseg.registry import MODELS, TRANSFORMS, WEIGHT_INITIALIZERS, find_class
from mmseg.utils.errors import UserError
from mmseg.utils.weight_files import damaged_record, load_plain
from mmseg.utils.whole_files import flush_folder, whole_file

__all__ = ["FORMAT_VERSION", "OF_THE_CALL", "checkpoint_config", "embedded_config", "read_checkpoint", "write_checkpoint"]

FORMAT_VERSION = 1
"""Written as ``meta.format_version``; docs/architecture.md lists the keys."""

_MOST_PARTS = 1_000_000

OF_THE_CALL = ("work_dir", "load_from", "resume", "launcher", "experiment_name")
"""Keys of a configuration that say where and how a run was started, not what it is."""

_RIGHT_ONE = "give the one it was trained with, from where you trust it, as config (--config)"


def write_checkpoint(checkpoint: dict[str, Any], path: str | Path, latest: bool = False) -> None:
    """Write a checkpoint such that ``path`` holds either what it held or the whole new file, whatever happens.

    The bytes go to a temporary file in the same folder, which is flushed to the disk, read back and then renamed; the folder
    is flushed, too. A process that is killed leaves at most the temporary file, see :func:`~mmseg.utils.whole_files.whole_file`.

    Args:
        checkpoint: tensors and plain data.
        path: of the file.
        latest: make ``latest.pth`` beside ``path`` the same file. It gets the new one before ``path`` does, so that no
            moment exists at which ``latest.pth`` is not the newest.

    Raises:
        UserError: the file cannot be written; the old one is left as it was.
    """
    path = Path(path)
    try:
        with whole_file(path) as temporary:
            with temporary.open("wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
            _check_written(temporary)
            if latest:
                _link(temporary, path.with_name(LATEST))
        flush_folder(path.parent)
    except (OSError, RuntimeError, zipfile.BadZipFile) as error:  # torch reports a full disk as RuntimeError
        folder = path.parent
        note = f"{shutil.disk_usage(folder).free / 2**20:.0f} MiB are free there" if folder.is_dir() else "no such folder"
        raise UserError(
            f"{path}: the checkpoint of {_tensor_bytes(checkpoint) / 2**20:.0f} MiB could not be written ({error}); {note}. The "
            "checkpoints before it are whole: make room, or choose another --work-dir, and go on by --resume"
        ) from error


def _check_written(path: Path) -> None:
    """Some file systems lose bytes without an error; while the former checkpoint is still there that can be found out."""
    damaged = damaged_record(path)
    if damaged or not zipfile.is_zipfile(path):
        raise OSError(f"what was written cannot be read back: {damaged or 'the end of the file'}")


def _link(path: Path, name: Path) -> None:
    """Give a file a second name: a hard link, or a copy where the file system has none.

    A symbolic link would break when the file is mounted alone.
    """
    with whole_file(name) as temporary:
        try:
            os.link(path, temporary)
        except OSError:
            shutil.copyfile(path, temporary)
            with temporary.open("rb") as file:
                os.fsync(file.fileno())


def _tensor_bytes(value: Any) -> int:
    if isinstance(value, torch.Tensor):
        return value.nbytes
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    return sum(map(_tensor_bytes, inner))


def read_checkpoint(path: str | Path, map_location: str | torch.device = "cpu") -> dict[str, Any]:
    """Read a checkpoint, of this project or another; only tensors and plain data are unpickled, nothing is executed.

    Returns:
        the dictionary as written, with ``state_dict``; tensors alone become its ``state_dict``.

    Raises:
        UserError: the file is missing, damaged, holds other objects, or is no checkpoint, or its thresholds are none.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such checkpoint; tools/train.py writes latest.pth into its work_dir")
    checkpoint = load_plain(path, map_location)
    content = checkpoint if isinstance(checkpoint, dict) else {}
    if content and all(isinstance(value, torch.Tensor) for value in content.values()):
        checkpoint = content = dict(state_dict=content, meta={})
    if "state_dict" not in content:
        raise UserError(f"{path}: got no 'state_dict', expected a checkpoint written by tools/train.py")
    weights, meta = checkpoint["state_dict"], checkpoint.get("meta", {})
    sound = isinstance(weights, dict) and all(isinstance(tensor, torch.Tensor) for tensor in weights.values())
    if not sound or not isinstance(meta, dict):
        raise UserError(f"{path}: 'state_dict' or 'meta' holds something else, expected a checkpoint written by tools/train.py")
    _check_plain(meta, path)
    raw = checkpoint.get("raw_state_dict") if isinstance(checkpoint.get("raw_state_dict"), dict) else {}
    tensors = [*weights.items(), *((name, value) for name, value in raw.items() if isinstance(value, torch.Tensor))]
    odd = [name for name, tensor in tensors if not _is_plain(tensor)]
    if odd:
        raise UserError(f"{path}: {odd[0]} is sparse, quantised, or larger than what is stored of it, expected a plain tensor")
    thresholds = {} if meta.get("thresholds") is None else meta["thresholds"]
    if not isinstance(thresholds, dict) or not all(isinstance(p, (int, float)) and 0 <= p <= 1 for p in thresholds.values()):
        raise UserError(f"{path}: meta.thresholds: got {reprlib.repr(thresholds)}, expected by lesion a probability from 0 to 1")
    version = meta.get("format_version", FORMAT_VERSION)
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise UserError(f"{path}: was written by a newer version of this program (format {version}, this one knows "
                        f"{FORMAT_VERSION}); install that version")
    return checkpoint


def _is_plain(tensor: torch.Tensor) -> bool:
    """A tensor with a step of 0 is as large as it likes and takes four bytes in a file."""
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_meta:
        return False
    return tensor.numel() * tensor.element_size() <= tensor.untyped_storage().nbytes()


def _check_plain(meta: dict[str, Any], path: Path) -> None:
    """Through references a file of a kilobyte can hold more parts than there are atoms; and so can its text."""
    left: list[Any] = [meta]
    parts = 0
    while left:
        value = left.pop()
        parts += 1
        if parts > _MOST_PARTS:
            raise UserError(f"{path}: 'meta' holds more than {_MOST_PARTS:,} parts, expected what describes a checkpoint")
        left += [*value, *value.values()] if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()


def embedded_config(checkpoint: dict[str, Any], path: str | Path) -> dict[str, Any] | None:
    """The configuration inside a checkpoint as it was written, not to be built from; None where there is none.

    Raises:
        UserError: what stands there is none.
    """
    text = checkpoint.get("meta", {}).get("config_json")
    if text is None:
        return None
    try:
        config = json.loads(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: the configuration inside is not JSON ({error}); {_RIGHT_ONE}") from error
    if not isinstance(config, dict):
        raise UserError(f"{path}: the configuration inside is no dictionary; {_RIGHT_ONE}")
    return config


def checkpoint_config(checkpoint: dict[str, Any], path: str | Path) -> Config:
    """The configuration that travels inside a checkpoint, as plain data (it is never executed).

    mmengine imports and calls whatever a ``type`` names, dotted such as ``'os.system'`` or bare such as a module beside the
    checkpoint, and some layers of mmcv's take such a name under another key. Therefore what is built of it, the model and its
    data preprocessor, may name nothing but this project's classes, those that the caller has registered beside them, and the
    layers of :data:`_LAYERS`; a dot is allowed nowhere.

    Raises:
        UserError: the checkpoint carries none, or one that is not to be trusted.
    """
    config = embedded_config(checkpoint, path)
    if config is None:
        raise UserError(f"{path}: the checkpoint carries no configuration; {_RIGHT_ONE}")
    wrong = next(_foreign_types(config), None)
    if wrong:
        raise UserError(f"{path}: the configuration inside is refused, its {wrong} could run code; {_RIGHT_ONE}")
    built = (value for key in _BUILT for _, value in _parts(config.get(key)))
    largest = max((abs(value) for value in built if isinstance(value, int)), default=0)
    if largest > _MOST_CHANNELS:
        raise UserError(f"{path}: the configuration inside is refused, it asks for a size of {largest}, expected at most "
                        f"{_MOST_CHANNELS}; {_RIGHT_ONE}")
    try:
        return Config(config)
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: the configuration inside cannot be used ({error}); {_RIGHT_ONE}") from error


_BUILT = ("model", "data_preprocessor")
"""What is built of a configuration inside a checkpoint."""

_MOST_CHANNELS = 8192
"""Of a layer, and of all other sizes: a network of more would fill the memory before its weights are looked at."""

_LAYERS = frozenset({
    "BN", "BN1d", "BN2d", "SyncBN", "GN", "IN", "IN1d", "IN2d", "LN", "Conv", "Conv1d", "Conv2d", "Dropout", "DropPath", "ELU",
    "GELU", "HSigmoid", "HSwish", "LeakyReLU", "PReLU", "RReLU", "ReLU", "ReLU6", "SiLU", "Sigmoid", "Swish", "Tanh",
})
"""Of mmengine's and mmcv's; ``ConvModule`` is not among them, whose ``padding_mode`` is a hidden ``type``."""


def _parts(value: Any, keys: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """A value of JSON's and everything below it, with the keys that lead there."""
    yield keys, value
    for key, item in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from _parts(item, (*keys, str(key)))


def _foreign_types(config: dict[str, Any]) -> Iterator[str]:
    """Every ``type`` and ``_scope_`` that may not stand there, as ``key 'name'``."""
    for keys, value in _parts(config):
        if not isinstance(value, dict):
            continue
        name, scope = value.get("type"), value.get("_scope_", "mmseg")
        if scope not in ("mmseg", "mmengine"):
            yield f"_scope_ {scope!r}"
        if isinstance(name, str) and ("." in name or (keys[:1] and keys[0] in _BUILT and not _is_ours(name, keys))):
            yield f"type {name!r}"


def _is_ours(name: str, keys: tuple[str, ...]) -> bool:
    if any(key.endswith("init_cfg") for key in keys):
        return find_class(WEIGHT_INITIALIZERS, name) is not None
    if "train_transforms" in keys:
        return name in TRANSFORMS.module_dict
    return name in _LAYERS or name in MODELS.module_dict
