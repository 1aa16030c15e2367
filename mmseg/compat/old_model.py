"""The model of a 0.x configuration."""

from __future__ import annotations

import copy
from typing import Any

from mmseg.compat.notes import Notes
from mmseg.utils.paths import find_weights, home_as_written, home_path

__all__ = ["upgrade_model"]

_SHALLOW = "STDCNet813M_73.91.tar"
_TEST_KEYS = ("mode", "crop_size", "stride", "thresholds", "flips")


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
    _name_shallow_weights(model, notes)
    _upgrade_losses(model, "model", notes)
    if model.get("test_cfg"):
        for key in [key for key in model["test_cfg"] if key not in _TEST_KEYS]:
            del model["test_cfg"][key]
            notes.dropped(f"test_cfg.{key}", "no segmentor here takes it")
    return dict(model=model)


def _move_pretrained(model: dict[str, Any], notes: Notes) -> None:
    source = model.pop("pretrained")
    if source is None:
        notes.dropped("model.pretrained", "None: the weights are random")
        return
    backbone = model.setdefault("backbone", {})
    given = backbone.get("init_cfg", {})
    if not isinstance(given, dict) or "type" in given:
        notes.dropped("model.pretrained", "model.backbone.init_cfg is given")
        return
    backbone["init_cfg"] = {"type": "Pretrained", "checkpoint": source, **given}
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


def _name_shallow_weights(model: dict[str, Any], notes: Notes) -> None:
    """ISDNet's own code names the first weights of the shallow branch, which its configs do not."""
    heads = model.get("decode_head")
    for head in heads if isinstance(heads, list | tuple) else (heads,):
        if isinstance(head, dict) and head.get("type") == "ISDHead" and "shallow_init_cfg" not in head:
            head["shallow_init_cfg"] = dict(type="Pretrained", checkpoint=f"{home_as_written()}/model/{_SHALLOW}")
            notes.became("the file of weights in ISDHead's own code", f"shallow_init_cfg ($SDCNET_HOME/model/{_SHALLOW})")


def _upgrade_losses(part: Any, where: str, notes: Notes) -> None:
    """``DiceLoss`` was another function under that name; a weighted cross-entropy was divided by another number."""
    for key, value in part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list | tuple) else ():
        if isinstance(value, dict) and value.get("type") == "DiceLoss":
            value["type"] = "LegacyDiceLoss"
            notes.became(f"{where}.{key}: DiceLoss", "LegacyDiceLoss, the same function")
        elif isinstance(value, dict) and value.get("type") == "CrossEntropyLoss" and value.get("class_weight") is not None:
            notes.dropped(f"{where}.{key}: the mean over all pixels", "with class_weight it is over the weights, as in 1.x")
        _upgrade_losses(value, f"{where}.{key}", notes)
