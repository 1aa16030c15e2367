"""The model of a 0.x configuration."""

from __future__ import annotations

import copy
from typing import Any

from mmseg.compat.notes import Notes
from mmseg.utils.paths import home, home_path

__all__ = ["find_weights", "upgrade_model"]

_TEST_KEYS = ("mode", "crop_size", "stride", "thresholds", "flips")

_PLAIN_LOSS = {"use_mask": False, "reduction": "mean"}
"""Arguments of a loss that say what is always so here."""


def upgrade_model(old: dict[str, Any], notes: Notes) -> dict[str, Any]:
    """The new ``model``; empty where the configuration has none.

    Args:
        old: the whole configuration, of which ``model`` and the oldest top-level ``train_cfg``, ``test_cfg`` are used.
        notes: told what became what.
    """
    if "model" not in old:
        return {}
    model = copy.deepcopy(old["model"])
    for name in ("train_cfg", "test_cfg"):
        if isinstance(old.get(name), dict):
            model[name] = {**(model.get(name) or {}), **old[name]}
            notes.became(name, f"model.{name}")
    if "pretrained" in model:
        _move_pretrained(model, notes)
    _look_at_home(model, "model", notes)
    _drop_plain_arguments(model, "model", notes)
    if model.get("test_cfg"):
        for key in [key for key in model["test_cfg"] if key not in _TEST_KEYS]:
            del model["test_cfg"][key]
            notes.dropped(f"test_cfg.{key}", "no segmentor here takes it")
    return dict(model=model)


def find_weights(source: str) -> str:
    """Where pretrained weights are looked for: the name behind ``open-mmlab://``, or of a URL, in ``$SDCNET_HOME/model``.

    Args:
        source: such as 'open-mmlab://resnet18_v1c'; a path stays what it is.

    Returns:
        a path; of the names ``resnet18_v1c.pth`` and ``resnet18_v1c-<digest>.pth`` the one that is there.
    """
    if "://" not in source:
        return source
    stem = source.rpartition("/")[2].removesuffix(".pth")
    folder = home_path("model")
    found = [path.name for path in (folder / f"{stem}.pth", *sorted(folder.glob(f"{stem}-*.pth"))) if path.is_file()]
    return f"{home()}/model/{found[0] if found else stem + '.pth'}"


def _move_pretrained(model: dict[str, Any], notes: Notes) -> None:
    source = model.pop("pretrained")
    if source is None:
        notes.dropped("model.pretrained", "None: the weights are random")
        return
    model.setdefault("backbone", {})["init_cfg"] = dict(type="Pretrained", checkpoint=source)
    notes.became("model.pretrained", "model.backbone.init_cfg")


def _look_at_home(part: Any, where: str, notes: Notes) -> None:
    """Replace every address of weights by a place on the disk."""
    for key, value in part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list | tuple) else ():
        if key == "checkpoint" and isinstance(value, str) and "://" in value:
            part[key] = find_weights(value)
            there = home_path("model", part[key].rpartition("/")[2]).is_file()
            state = "found there" if there else "not there yet: until it is, training starts from scratch; nothing is downloaded"
            notes.became(f"{where}.checkpoint={value!r}", f"{part[key]} ({state})")
        else:
            _look_at_home(value, f"{where}.{key}", notes)


def _drop_plain_arguments(part: Any, where: str, notes: Notes) -> None:
    """Leave out of losses what can only be so here; another value stays, and is told when the configuration is checked."""
    for key, value in part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list | tuple) else ():
        if isinstance(value, dict) and str(value.get("type", "")).endswith("Loss"):
            for name in [name for name, plain in _PLAIN_LOSS.items() if name in value and value[name] == plain]:
                del value[name]
                notes.dropped(f"{where}.{key}.{name}", "always so here")
        _drop_plain_arguments(value, f"{where}.{key}", notes)
