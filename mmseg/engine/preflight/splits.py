"""The data sets that a configuration names, and the files that they consist of."""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from mmengine.config import Config
from mmengine.logging import MMLogger

from mmseg.datasets.leaves import leaf_datasets
from mmseg.datasets.lesion_dataset import LesionDataset
from mmseg.datasets.reading import fit_size, image_size
from mmseg.engine.preflight.finding import NOTE, WARNING, Finding, build_or_finding, from_user_error
from mmseg.engine.preflight.keys import LOADERS
from mmseg.registry import DATASETS
from mmseg.structures import LESIONS
from mmseg.utils.errors import UserError

__all__ = ["File", "Split", "find_splits", "heard"]


@dataclass(frozen=True)
class File:
    """A file of a data set: ``kind`` is 'image', 'mask' or 'labels'; ``lesion`` is empty but for masks."""

    kind: str
    path: str
    lesion: str = ""


@dataclass
class Split:
    """A data set of the configuration.

    Attributes:
        loader: 'train_dataloader', ...
        where: dotted key of the data set in the configuration.
        dataset: built; no image of it has been read.
        cache: of the :class:`~mmseg.datasets.ResidentDataset` around it; None without one.
        cache_dir: of that, too; None where it is the default.
    """

    loader: str
    where: str
    dataset: LesionDataset
    cache: str | None = None
    cache_dir: str | None = None

    def records(self) -> Iterator[tuple[File, list[File]]]:
        """Every photograph with the files of its truth."""
        for index in range(len(self.dataset)):
            info = self.dataset.get_data_info(index)
            masks = info.get("mask_paths") or {}
            truth = [File("mask", path, lesion) for lesion, path in masks.items() if isinstance(path, str)]
            if "label_path" in info:
                truth.append(File("labels", info["label_path"]))
            yield File("image", info["img_path"]), truth

    def files(self) -> list[File]:
        """All files, each photograph before its truth."""
        return [file for image, truth in self.records() for file in (image, *truth)]

    @functools.cached_property
    def sizes(self) -> set[tuple[int, int]]:
        """(width, height) of the photographs, told from the headers of the files; empty where none can be read."""
        sizes = set()
        for index in range(len(self.dataset)):
            with suppress(UserError):  # which the reading of the data tells
                sizes.add(image_size(self.dataset.get_data_info(index)["img_path"]))
        return sizes

    def working_size(self) -> tuple[int, int] | None:
        """(width, height) of the largest samples; None where no photograph can be read."""
        return max((fit_size(*size, self.dataset.size) for size in self.sizes), key=lambda s: s[0] * s[1], default=None)

    def sample_bytes(self) -> int:
        """Of the largest sample as a worker hands it over: image, and masks, which for a test keep the photograph's size."""
        def of(width: int, height: int) -> int:
            seen = math.prod(fit_size(width, height, self.dataset.size))
            return 3 * seen + len(LESIONS) * (width * height if self.dataset.test_mode else seen)

        return max((of(*size) for size in self.sizes), default=0)


def find_splits(
    config: Config, loaders: Sequence[str] = LOADERS, skip: Sequence[str] = ()
) -> tuple[list[Split], list[Finding]]:
    """Build every data set of the loaders, without reading an image.

    Args:
        config: the configuration; its keys are checked already.
        loaders: which.
        skip: beginnings of keys that are wrong, which need no second finding.

    Returns:
        the data sets, and what their classes say.
    """
    splits, findings = [], []
    for loader in loaders:
        settings = config.get(loader)
        if not isinstance(settings, dict) or any(key.startswith(loader) for key in skip):
            continue
        inner = [leaf for leaf in leaf_datasets(settings.get("dataset"), f"{loader}.dataset") if leaf.has_lesions]
        if not inner:
            findings.append(Finding(NOTE, f"{loader}.dataset", "its files were not checked: it is no LesionDataset"))
        for leaf in inner:
            sized = {**leaf.settings, **({} if leaf.size is None else {"size": leaf.size})}
            with heard() as warnings:
                built = build_or_finding(functools.partial(DATASETS.build, sized), leaf.where)
            findings += [from_user_error(text, leaf.where, WARNING) for text in dict.fromkeys(warnings)]
            if isinstance(built, Finding):
                findings.append(built)
            else:
                kept = {} if leaf.resident is None else {"cache": "auto", **leaf.resident}
                splits.append(Split(loader, leaf.where, built, kept.get("cache"), kept.get("cache_dir")))
    return splits, findings


@contextmanager
def heard() -> Iterator[list[str]]:
    """Collect the warnings that are logged inside, instead of showing them."""
    logger, warnings = MMLogger.get_current_instance(), []  # type: ignore[var-annotated]

    class Ear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.levelno >= logging.WARNING:
                warnings.append(record.getMessage())

    handlers, logger.handlers = logger.handlers, [Ear()]
    try:
        yield warnings
    finally:
        logger.handlers = handlers
