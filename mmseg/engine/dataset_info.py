"""What a configuration says of its data sets, without reading any data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from mmengine.config import Config

from mmseg.datasets import LesionDataset
from mmseg.datasets.leaves import Leaf, leaf_datasets
from mmseg.utils.errors import UserError

__all__ = [
    "data_preprocessor_of", "dataset_is_known", "dataset_metainfo", "ignored_pipeline", "input_differences", "model_settings",
    "named_metainfo", "reordered_classes", "trained_leaf", "trains_on_lesions", "working_size",
]

_MOST_PIXELS = 2**27
"""Of a photograph as the network sees it."""


def _first_leaf(config: Config, *loaders: str) -> Leaf | None:
    for loader in loaders:
        settings = config.get(loader)
        leaf = next(leaf_datasets(settings.get("dataset"), f"{loader}.dataset"), None) if isinstance(settings, dict) else None
        if leaf is not None:
            return leaf
    return None


def trained_leaf(config: Config) -> Leaf:
    """The data set that a configuration trains on, or else tests on; the first, of several."""
    return _first_leaf(config, "train_dataloader", "test_dataloader") or Leaf("", {}, ())


def dataset_metainfo(config: Config) -> dict[str, Any]:
    """``classes`` and ``palette`` of the data set that a configuration trains or tests on, without reading any data.

    Without one they are the lesions, as in most data sets of this project.
    """
    leaf = trained_leaf(config)
    return {**LesionDataset.METAINFO, **getattr(leaf.kind, "METAINFO", {}), **(leaf.settings.get("metainfo") or {})}


def dataset_is_known(config: Config) -> bool:
    """Whether the class of the data set is registered and it, or the configuration, tells its classes; of another one neither
    classes nor their kind are known before it is built."""
    leaf = trained_leaf(config)
    if leaf.kind is None:
        return not isinstance(leaf.settings.get("type"), str)
    told = {**getattr(leaf.kind, "METAINFO", {}), **(leaf.settings.get("metainfo") or {})}
    return leaf.has_lesions or bool(told.get("classes"))


def trains_on_lesions(config: Config) -> bool:
    """Whether the data set has lesions, which may overlap; otherwise one index map an image."""
    leaf = trained_leaf(config)
    return leaf.kind is None or leaf.has_lesions


def ignored_pipeline(config: Config) -> str | None:
    """Where a data set prepares its test images by a pipeline of its own and names no ``size``: photographs elsewhere are not
    prepared so. None where all is well.
    """
    leaf = _first_leaf(config, "test_dataloader", "val_dataloader", "train_dataloader")
    return leaf.where if leaf and leaf.settings.get("pipeline") and leaf.size is None else None


def data_preprocessor_of(config: Any) -> tuple[str, dict[str, Any]]:
    """Key and settings of the data preprocessor that counts: the model's own, or else the one at the top level."""
    model = config.get("model")
    own = model.get("data_preprocessor") if isinstance(model, dict) else None
    where, found = ("data_preprocessor", config.get("data_preprocessor")) if own is None else ("model.data_preprocessor", own)
    return where, found if isinstance(found, dict) else {}


def model_settings(config: Config) -> dict[str, Any]:
    """Of the segmentor, with the data preprocessor of the top level where it has none of its own."""
    settings = dict(config.model)
    if config.get("data_preprocessor") is not None:
        settings.setdefault("data_preprocessor", config.data_preprocessor)
    return settings


def input_differences(config: Any, written: dict[str, Any]) -> list[tuple[str, str]]:
    """What would be otherwise than in a network's training, what it sees and its thresholds, and the overrides that put it right.

    Args:
        config: that it is tested or used by.
        written: configuration inside its checkpoint.
    """
    found = []
    (where, own), (_, trained) = data_preprocessor_of(config), data_preprocessor_of(written)
    given: list[Any] = [part.get(key) for part in (own, trained) for key in ("mean", "std")]
    if all(isinstance(numbers, (list, tuple)) for numbers in given) and not (
            np.allclose(given[0], given[2]) and np.allclose(given[1], given[3])):
        mean, std = (",".join(map(str, trained[key])) for key in ("mean", "std"))
        found.append((f"normalisation: got mean={list(own['mean'])}, std={list(own['std'])} from the config, but the model was "
                      "trained with others", f"{where}.mean=[{mean}] {where}.std=[{std}]"))
    limits, of_its_own = (_thresholds(one) for one in (config, written))
    named = "thresholds" in _test_settings(config)  # else the checkpoint's are used
    if named and limits is not None and of_its_own not in (None, limits):
        found.append((f"thresholds: got {limits} from the config, but the model was trained for {of_its_own}",
                      f"model.test_cfg.thresholds={str(of_its_own).replace(' ', '')}"))
    of_training = trained_leaf(written)
    if of_training.is_bare and trained_leaf(config).kind is of_training.kind:  # another data set has another size
        here, there = working_size(config), working_size(written)
        if here is not None and there is not None and sorted(here) != sorted(there):
            found.append((f"size: got images within {here[0]}x{here[1]} from the config, but the model was trained for "
                          f"{there[0]}x{there[1]}: lesions have another size than it has learnt",
                          f"test_dataloader.dataset.size=[{there[0]},{there[1]}]"))
    return found


def _test_settings(config: Any) -> dict[str, Any]:
    """``model.test_cfg``, empty where there is none."""
    model = config.get("model")
    settings = model.get("test_cfg") if isinstance(model, dict) else None
    return settings if isinstance(settings, dict) else {}


def _thresholds(config: Any) -> float | list[float] | None:
    """Of a model: one number for all lesions where that says it; None where pixels are of their likeliest class."""
    limits = _test_settings(config).get("thresholds", 0.5)
    if not isinstance(limits, (list, tuple)):
        return limits
    return limits[0] if len(set(limits)) == 1 else list(limits)  # a published configuration has lists for tuples


def named_metainfo(meta: Mapping[str, Any]) -> dict[str, Any]:
    """A checkpoint's ``meta`` with ``classes`` and ``palette`` where it has them: under the names of this project, of
    mmsegmentation 0.x (``CLASSES``) or 1.x (``dataset_meta``)."""
    of_1x = meta.get("dataset_meta")
    of_0x = {name.lower(): meta[name] for name in ("CLASSES", "PALETTE") if meta.get(name) is not None}
    own = {name: value for name, value in meta.items() if value is not None}
    return {**(of_1x if isinstance(of_1x, dict) else {}), **of_0x, **own}


def reordered_classes(config: Config, meta: Mapping[str, Any]) -> tuple[list[str], list[str]] | None:
    """Classes of a checkpoint and of a configuration's data set that are the same in another order; a background is left out.

    Args:
        config: whose data the model is used on.
        meta: of the checkpoint, see :func:`named_metainfo`.
    """
    named = named_metainfo(meta).get("classes")
    theirs = [str(name) for name in named] if isinstance(named, (list, tuple)) else []
    theirs, ours = (
        [name for name in names if name.lower() not in ("bg", "background")]
        for names in (theirs, map(str, dataset_metainfo(config)["classes"])))
    return (theirs, ours) if theirs != ours and sorted(theirs) == sorted(ours) else None


def working_size(config: Config) -> tuple[int, int] | None:
    """The box ``(width, height)`` into which photographs are scaled for the network: that of the test images, or where a
    configuration tests on none of those it validates or trains on. None where the network takes photographs as they are.

    Raises:
        UserError: it is too large for any network.
    """
    leaf = _first_leaf(config, "test_dataloader", "val_dataloader", "train_dataloader")
    size = leaf.size if leaf else None
    if size is None:
        return None
    if size[0] * size[1] > _MOST_PIXELS:
        where = f"{leaf.where}.size" if leaf else "size"
        raise UserError(f"{where}: got {tuple(size)}, expected at most {_MOST_PIXELS / 1e6:.0f} million pixels")
    return int(size[0]), int(size[1])
