"""What a configuration says of its data set, without reading any data."""

from __future__ import annotations

from typing import Any

from mmengine.config import Config

from mmseg.datasets import LesionDataset
from mmseg.registry import DATASETS

__all__ = ["dataset_is_known", "dataset_metainfo", "trains_on_lesions"]


def dataset_metainfo(config: Config) -> dict[str, Any]:
    """``classes`` and ``palette`` of the data set that a configuration trains or tests on, without reading any data.

    Without one they are the lesions, as in most data sets of this project.
    """
    dataset, found = _innermost_dataset(config)
    return {**LesionDataset.METAINFO, **getattr(found, "METAINFO", {}), **(dataset.get("metainfo") or {})}


def dataset_is_known(config: Config) -> bool:
    """Whether the class of the data set is registered; of another one neither classes nor their kind are known."""
    dataset, found = _innermost_dataset(config)
    return found is not None or not isinstance(dataset.get("type"), str)


def trains_on_lesions(config: Config) -> bool:
    """Whether the data set has lesions, which may overlap; otherwise one index map an image."""
    found = _innermost_dataset(config)[1]
    return found is None or issubclass(found, LesionDataset)


def _innermost_dataset(config: Config) -> tuple[dict[str, Any], type | None]:
    """Configuration and class of the data set inside its wrappers (the first, of several)."""
    loader = config.get("train_dataloader") or config.get("test_dataloader")
    dataset = loader.get("dataset") if isinstance(loader, dict) else None
    while isinstance(dataset, dict) and (dataset.get("dataset") or dataset.get("datasets")):
        dataset = dataset.get("dataset") or next(iter(dataset["datasets"]))
    if not isinstance(dataset, dict):
        return {}, None
    return dataset, DATASETS.get(dataset["type"]) if isinstance(dataset.get("type"), str) else None
