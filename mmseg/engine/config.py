"""Read a configuration, and find its mistakes before anything heavy starts."""

from __future__ import annotations

import ast
import contextlib
import itertools
import json
import os
import re
import sys
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmseg.compat.old_config import OLD_KEYS, is_old, upgrade_config
from mmseg.engine.preflight.config import config_findings, dig
from mmseg.engine.preflight.finding import refuse
from mmseg.engine.preflight.keys import LOADERS, TOP_LEVEL_KEYS
from mmseg.utils.errors import UserError, nearest

__all__ = ["check_config", "config_json", "load_config", "merge_options", "require"]


def load_config(path: str | Path, cfg_options: dict[str, Any] | None = None, tell: bool = True) -> Config:
    """Read a Python configuration with its ``_base_`` files, environment values and overrides.

    ``{{$NAME:default}}`` stands for an environment value; an empty one counts as unset. A configuration of mmsegmentation 0.x
    is translated, overrides that use its own keys included (docs/compatibility.md).

    Args:
        path: of the configuration.
        cfg_options: overrides by dotted key, such as ``{'model.backbone.depth': 34}``.
        tell: print what a translation did, on stderr.

    Raises:
        UserError: the file is missing or faulty, or an override names no place in it.
    """
    path = Path(path)
    if not path.is_file():
        siblings = [p.name for p in path.parent.glob("*.py")] if path.parent.is_dir() else []
        raise UserError(f"{path}: no such config file{nearest(path.name, siblings)}")
    with _without_empty_environment():
        try:
            config = Config.fromfile(str(path))
        except re.error as error:  # of mmengine, which puts a variable's value into a pattern
            odd = [f"{key}={value}" for key, value in os.environ.items() if key.endswith(("_ROOT", "_HOME")) and "\\" in value]
            raise UserError(f"{path}: got {', '.join(odd) or error}, expected a path with '/'; in WSL C:\\Users is /mnt/c/Users"
                            ) from error
        except Exception as error:  # a config is a program of the user's: it can fail in any way
            raise UserError(_fault(path, error)) from error
    if tell and not _is_old(config) and (idle := _idle_variables(path)):  # of an old one the translation tells them
        print(f"warning: {path}: {', '.join(idle)}: given a value and used nowhere in this file; what files of _base_ made of "
              "theirs stays: name the place itself, as tools/print_config.py shows it", file=sys.stderr)
    options = dict(cfg_options or {})
    if _is_old(config):
        old = (OLD_KEYS | set(config)) - {"train_cfg"}  # the oldest ones have an empty train_cfg, which is not the new one
        merge_options(config, {key: options.pop(key) for key in list(options) if key.partition(".")[0] in old})
        config, notes = upgrade_config(config)
        if tell:
            print(f"note: {path} is a config of mmsegmentation 0.x; translated:\n{notes}", file=sys.stderr)
    for key in options:
        first = key.partition(".")[0]
        if first not in TOP_LEVEL_KEYS:
            what = "a variable of the file, copied to where it is used" if first in config else "no key of a configuration"
            raise UserError(f"--cfg-options {key}: {first!r} is {what}; name the place itself, as tools/print_config.py shows it"
                            f"{nearest(first, TOP_LEVEL_KEYS, likeness=0.6)}")
    merge_options(config, options)
    return config


def _idle_variables(path: Path) -> list[str]:
    """Variables of a file with ``_base_`` that are neither keys of a configuration nor used, as one that a base uses would be."""
    try:
        tree = ast.parse(Path(path).read_text(encoding="utf-8"))
    except (SyntaxError, ValueError, OSError):  # YAML or JSON
        return []
    named = [target.id for node in tree.body if isinstance(node, ast.Assign) for target in node.targets
             if isinstance(target, ast.Name)]
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    return [name for name in named if name not in used | TOP_LEVEL_KEYS | OLD_KEYS | {"_base_"}] if "_base_" in named else []


def _fault(path: Path, error: Exception) -> str:
    """What failed in a configuration, and in which of its files."""
    frames = list(traceback.walk_tb(error.__traceback__))
    named = (frame.f_locals["filename"] for frame, _ in frames if frame.f_code.co_name == "_file2dict")
    entered = [name for name, _ in itertools.groupby(named)]
    if len(set(entered)) < len(entered):
        return f"{path}: its _base_ files name each other in a circle: {' -> '.join(entered[:3])}"
    if isinstance(error, ImportError) and error.__cause__ is not None:  # mmengine's text hides the reason
        cause = error.__cause__.__context__ or error.__cause__
        return (f"{path}: custom_imports cannot be imported: {type(cause).__name__}: {cause}; is its folder in the checkout or "
                "in PYTHONPATH, and is what it imports installed?")
    lines = [line for frame, line in frames if frame.f_code.co_filename in entered]
    file = next((name for name in reversed(entered) if Path(name).is_file()), path)  # the last may be one that is not there
    line = f" (line {lines[-1]})" if lines else ""
    return f"{file}: cannot be read as a config: {type(error).__name__}: {error}{line}"


def _is_old(config: Config) -> bool:
    try:
        return is_old(config)
    except UserError as error:
        raise UserError(f"{config.filename}: {error}") from error


def merge_options(config: Config, options: dict[str, Any]) -> Config:
    """Override values of a configuration in place, by dotted key.

    Raises:
        UserError: an override names no place in it.
    """
    try:
        config.merge_from_dict(options)
    except (KeyError, TypeError, IndexError, AttributeError, ValueError) as error:
        where = next(filter(None, (_misstep(config, key) for key in options)), str(error))
        raise UserError(f"--cfg-options does not fit {config.filename or 'the configuration'}: {where}") from error
    return config


def _misstep(config: Config, key: str) -> str:
    """Where an override leaves the configuration, in words; empty where it does not."""
    place: Any = config
    parts = key.split(".")
    for i, part in enumerate(parts):
        where = ".".join(parts[:i])
        if isinstance(place, tuple):
            return f"{key}: {where} is a tuple; give the whole of it, {where}=(...)"
        if isinstance(place, list) and not (part.isdigit() and int(part) < len(place)):
            return f"{key}: {where} is a list, got {part!r}; expected a number from 0 to {len(place) - 1}, such as {where}.0"
        place = place[int(part)] if isinstance(place, list) else dig(place, part)
    return ""


def config_json(config: Config) -> str:
    """A configuration as checkpoints carry it.

    Raises:
        UserError: it holds something else than names, numbers, lists and dictionaries.
    """
    try:
        return json.dumps(config.to_dict())
    except (TypeError, ValueError) as error:
        raise UserError(
            f"{config.filename or 'config'}: cannot be stored in checkpoints ({error}); expected names, numbers, lists and "
            "dictionaries: name a class by its registered name, import none into the file, and make arrays lists") from error


def check_config(config: Config, loaders: Sequence[str] = LOADERS) -> None:
    """Tell every mistake in a configuration at once. All modules must be registered.

    Args:
        config: to be checked.
        loaders: see :func:`~mmseg.engine.preflight.config.config_findings`.

    Raises:
        UserError: with one line a finding: key, what was got, what was expected or the nearest right name.
    """
    refuse(config_findings(config, loaders), f"{config.filename or 'config'}:")


def require(config: Config, *keys: str) -> None:
    """Raise a UserError where the configuration lacks one of these top-level keys, as the parts in ``_base_`` do."""
    missing = [key for key in keys if config.get(key) is None]
    if missing:
        raise UserError(f"{config.filename or 'config'}: got no {', '.join(missing)}, expected a whole config such as "
                        "configs/sdcnet/*.py")


@contextlib.contextmanager
def _without_empty_environment() -> Iterator[None]:
    """Hide environment variables that are empty, so that the defaults in a config apply."""
    hidden = [key for key, value in os.environ.items() if value == ""]
    for key in hidden:
        del os.environ[key]
    try:
        yield
    finally:
        os.environ.update(dict.fromkeys(hidden, ""))
