"""The data sets of a configuration inside of whatever wraps them, without reading any data."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mmseg.datasets.basesegdataset import BaseSegDataset
from mmseg.datasets.lesion_dataset import LesionDataset
from mmseg.registry import DATASETS, find_class

__all__ = ["Leaf", "leaf_datasets", "summarise_datasets"]


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
        found = find_class(DATASETS, self.settings.get("type"))
        return found if inspect.isclass(found) else None

    @property
    def is_bare(self) -> bool:
        """Whether :attr:`kind` is looked up by a bare name, which imports nothing: so it must be inside of checkpoints."""
        name = self.settings.get("type")
        return isinstance(name, str) and "." not in name and "_scope_" not in self.settings

    @property
    def has_lesions(self) -> bool:
        """Whether it is a :class:`LesionDataset`."""
        return self.kind is not None and issubclass(self.kind, LesionDataset)

    @property
    def reads_itself(self) -> bool:
        """Whether the project's own code reads its files, and not a pipeline of the user's."""
        kinds = (LesionDataset, BaseSegDataset)
        return self.kind is not None and issubclass(self.kind, kinds) and not self.settings.get("pipeline")

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


def summarise_datasets(settings: Any) -> dict[str, str] | None:
    """What the data sets below ``settings`` are, for a reader: ``type`` and ``split``; None where there is none."""
    leaves = list(leaf_datasets(settings))
    if not leaves:
        return None
    types = ", ".join(str(leaf.settings.get("type")) for leaf in leaves)
    return dict(type=types, split=", ".join(_part(leaf.settings) for leaf in leaves))


def _part(settings: dict[str, Any]) -> str:
    split, fold = str(settings.get("split", "not recorded")), settings.get("fold")
    if fold is None:
        return split
    return f"{split} ({'only' if settings.get('held_out') else 'all but'} fold {fold} of {settings.get('num_folds', 5)})"
