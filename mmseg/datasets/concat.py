"""Several data sets as one, to train on their mixture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from mmengine.dataset import BaseDataset
from mmengine.logging import print_log
from torch.utils.data import ConcatDataset as _ConcatDataset

from mmseg.datasets.layouts import check_names
from mmseg.datasets.lesion_dataset import LesionDataset
from mmseg.datasets.resident import ResidentDataset
from mmseg.registry import DATASETS
from mmseg.utils.errors import UserError

__all__ = ["ConcatDataset"]


@DATASETS.register_module()
class ConcatDataset(_ConcatDataset):
    """One data set after the other; mmengine's class of this name takes none that stays in memory.

    The sampler draws every image equally often, so that a large data set would crowd out a small one: ``times`` counts one
    several times over (its images are kept once). Sizes may differ: the data preprocessor pads a batch.

    Args:
        datasets: configurations, or data sets.
        times: how often each counts; None counts all once.

    Raises:
        UserError: the data sets differ in classes or palette, ``times`` does not fit them, only some are inside of a
            :class:`ResidentDataset`, or they are to be tested on and two of their photographs have one name.
    """

    def __init__(self, datasets: Sequence[Any], times: Sequence[int] | None = None) -> None:
        counts = [1] * len(datasets) if times is None else list(times)
        if not counts or len(counts) != len(datasets) or min(counts) < 1:
            raise UserError(f"ConcatDataset: got times={counts}, expected {len(datasets)} numbers from 1, one a data set")
        built = [DATASETS.build(dataset) if isinstance(dataset, dict) else dataset for dataset in datasets]
        self.metainfo: dict[str, Any] = built[0].metainfo
        for dataset in built[1:]:
            if dataset.metainfo != self.metainfo:
                raise UserError(f"ConcatDataset: got data sets of {dataset.metainfo} and {self.metainfo}, expected the same")
        leaves = [leaf for dataset in built for leaf in _leaves(dataset)]
        plain = [type(leaf).__name__ for leaf in leaves if isinstance(leaf, BaseDataset)]
        if plain and any(isinstance(leaf, ResidentDataset) for leaf in leaves):
            raise UserError(f"ConcatDataset: got {plain[0]} beside a ResidentDataset, expected one around each data set or none; "
                            "their masks are of two kinds, which cannot stand in one batch")
        if all(getattr(dataset, "test_mode", False) for dataset in built) and any(isinstance(d, LesionDataset) for d in leaves):
            check_names((d.get_data_info(i)["img_path"] for d in built for i in range(len(d))), "ConcatDataset")
        super().__init__([dataset for dataset, count in zip(built, counts, strict=True) for _ in range(count)])
        sizes = " + ".join(f"{count} x {len(dataset)}" for dataset, count in zip(built, counts, strict=True))
        print_log(f"mixture of {len(built)} data sets: {sizes} = {len(self)} images", logger="current")


def _leaves(dataset: Any) -> Iterator[Any]:
    """The data sets inside of whatever wraps them; a ResidentDataset is one."""
    inner = [*getattr(dataset, "datasets", ()), *([dataset.dataset] if hasattr(dataset, "dataset") else [])]
    for each in inner:
        yield from _leaves(each)
    if not inner:
        yield dataset
