"""Write a 0.x configuration in the new form, its ``_base_`` files kept apart."""

from __future__ import annotations

import ast
import os
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmseg.compat.notes import Notes
from mmseg.compat.old_config import is_old, upgrade_settings
from mmseg.engine.config import load_config
from mmseg.utils.errors import UserError
from mmseg.utils.paths import home_as_written

__all__ = ["upgrade_files"]


def upgrade_files(path: str | Path, out_dir: str | Path) -> tuple[list[Path], Notes]:
    """Translate a 0.x configuration file and every file it inherits from; each keeps its name and its bases.

    A file gets what its translation, bases included, has beyond theirs. What several bases would set (which mmengine
    forbids) stays in the first, the rest is in the file that inherits from them. The result is read back and compared with
    the translation in memory.

    Args:
        path: of the configuration.
        out_dir: folder; the files lie in it as the old ones lay beside each other.

    Returns:
        the paths written, bases first; and what became what.

    Raises:
        UserError: a configuration that is not of 0.x, what cannot be translated, or a file that exists already; then nothing
            is written.
    """
    path = Path(path).resolve()
    expected = load_config(path, tell=False)
    if not is_old(Config.fromfile(str(path)).to_dict()):
        raise UserError(f"{path}: got no config of mmsegmentation 0.x, expected one with data, lr_config and the like; the files "
                        "that it is based on are translated with it")
    bases = _find_bases(path)
    root = Path(os.path.commonpath([file.parent for file in bases]))
    targets = {file: Path(out_dir) / file.relative_to(root) for file in bases}
    there = [str(target) for target in targets.values() if target.exists()]
    if there:
        raise UserError(f"{', '.join(there)}: exists already; name another folder")
    own: dict[Path, dict[str, Any]] = {}
    whole: dict[Path, dict[str, Any]] = {}
    for file in bases:  # bases come before what inherits from them
        inherited = _join(bases[file], own, whole)
        try:
            translated, notes = upgrade_settings(Config.fromfile(str(file)).to_dict())
        except UserError as error:
            raise UserError(f"{file}: {error}") from error
        own[file] = _difference(translated, inherited)
        whole[file] = translated
    try:
        for file, target in targets.items():
            _write(target, own[file], [os.path.relpath(targets[base], target.parent) for base in bases[file]])
        if load_config(targets[path]).to_dict() != expected.to_dict():
            raise UserError(f"{targets[path]}: does not give back what {path} is; please report the latter")
    except BaseException:
        for target in targets.values():
            target.unlink(missing_ok=True)
        raise
    return list(targets.values()), notes


def _find_bases(path: Path) -> dict[Path, list[Path]]:
    """Every file with the files it names as ``_base_``, bases first."""
    named: Any = []
    try:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "_base_" for t in node.targets):
                named = ast.literal_eval(node.value)
    except (OSError, SyntaxError, ValueError) as error:
        raise UserError(f"{path}: cannot be translated by itself: {error}; expected a Python file whose _base_ are the paths of "
                        "such files, written out") from error
    bases = [Path(os.path.normpath(path.parent / name)) for name in ([named] if isinstance(named, str) else named)]
    found: dict[Path, list[Path]] = {}
    for base in bases:
        found.update(_find_bases(base))
    found[path] = bases
    return found


def _join(bases: list[Path], own: dict[Path, dict[str, Any]], whole: dict[Path, dict[str, Any]]) -> dict[str, Any]:
    """What a file inherits; of a top-level key that several bases set, only the first keeps its value."""
    joined: dict[str, Any] = {}
    for base in bases:
        for key in joined.keys() & whole[base].keys():
            own[base].pop(key, None)
            del whole[base][key]
        joined.update(whole[base])
    return joined


def _difference(new: dict[str, Any], base: dict[str, Any]) -> dict[str, Any]:
    """What a file must say for ``new`` to come out of merging it into ``base``."""
    own: dict[str, Any] = {}
    for key, value in new.items():
        inherited = base.get(key)
        if key not in base:
            own[key] = value
        elif isinstance(value, dict) and isinstance(inherited, dict) and not inherited.keys() - value.keys():
            if part := _difference(value, inherited):
                own[key] = part
        elif value != inherited:
            own[key] = {**value, "_delete_": True} if isinstance(value, dict) else value
    return own


def _write(target: Path, settings: dict[str, Any], bases: list[str]) -> None:
    text = Config(settings).pretty_text.replace(f"'{home_as_written()}/model/", "'{{$SDCNET_HOME:.}}/model/")
    header = f"_base_ = {bases!r}\n" if bases else ""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(header + text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"{target}: cannot be written ({error.strerror})") from error
