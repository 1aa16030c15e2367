"""What a configuration says of its data sets, without reading any data."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mmengine.config import Config

from mmseg.datasets import LesionDataset
from mmseg.registry import DATASETS

__all__ = [
    "Leaf", "dataset_is_known", "dataset_metainfo", "leaf_datasets", "trained_leaf", "trains_on_lesions", "working_size",
]


@dataclass(frozen=True)
class Leaf:
    """A data set of a configuration inside of whatever wraps it.

    Attributes:
        where: dotted key.
        settings: its configuration.
        wrappers: those of what is around it, the outermost first.
    """

    where: str
    settings: dict[str, Any]
    wrappers: tuple[dict[str, Any], ...]

    @property
    def kind(self) -> type | None:
        """Its class, where that is registered."""
        name = self.settings.get("type")
        found = DATASETS.get(name) if isinstance(name, str) and name.strip(".") else None  # mmengine stumbles over dots alone
        return found if inspect.isclass(found) else None

    @property
    def has_lesions(self) -> bool:
        """Whether it is a :class:`LesionDataset`."""
        return self.kind is not None and issubclass(self.kind, LesionDataset)

    @property
    def resident(self) -> dict[str, Any] | None:
        """Configuration of the :class:`~mmseg.datasets.ResidentDataset` around it; None without one."""
        return next((s for s in reversed(self.wrappers) if str(s.get("type")).rpartition(".")[2] == "ResidentDataset"), None)

    @property
    def size(self) -> Any:
        """Its box ``(width, height)``: the innermost wrapper's where one has it, else its own."""
        given = (settings.get("size") for settings in (*reversed(self.wrappers), self.settings))
        return next((size for size in given if size is not None), None)


def leaf_datasets(settings: Any, where: str = "", wrappers: tuple[dict[str, Any], ...] = ()) -> Iterator[Leaf]:
    """Every data set below ``settings`` that wraps no other, in order.

    Args:
        settings: of a data set, or a list of them; anything else holds none.
        where: their dotted key.
        wrappers: what is around them.
    """
    if isinstance(settings, (list, tuple)):
        for i, item in enumerate(settings):
            yield from leaf_datasets(item, f"{where}.{i}", wrappers)
    elif isinstance(settings, dict):
        inner = [key for key in ("dataset", "datasets") if settings.get(key)]
        for key in inner:
            yield from leaf_datasets(settings[key], f"{where}.{key}", (*wrappers, settings))
        if not inner:
            yield Leaf(where, settings, wrappers)


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
    """Whether the class of the data set is registered; of another one neither classes nor their kind are known."""
    leaf = trained_leaf(config)
    return leaf.kind is not None or not isinstance(leaf.settings.get("type"), str)


def trains_on_lesions(config: Config) -> bool:
    """Whether the data set has lesions, which may overlap; otherwise one index map an image."""
    leaf = trained_leaf(config)
    return leaf.kind is None or leaf.has_lesions


def working_size(config: Config) -> tuple[int, int] | None:
    """The box ``(width, height)`` into which photographs are scaled for the network: that of the test images, or where a
    configuration tests on none of those it validates or trains on. None where the network takes photographs as they are."""
    leaf = _first_leaf(config, "test_dataloader", "val_dataloader", "train_dataloader")
    size = leaf.size if leaf else None
    return None if size is None else (int(size[0]), int(size[1]))
