"""Images that a model is scored on though it, or the weights that it began with, was trained on them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmseg.datasets.leaves import Leaf, leaf_datasets
from mmseg.engine.checkpoint import embedded_config, read_checkpoint
from mmseg.engine.preflight.finding import Finding, build_or_finding
from mmseg.engine.preflight.splits import heard
from mmseg.registry import DATASETS
from mmseg.utils.errors import UserError

__all__ = ["TrainedImages", "trained_images"]

_WHICH = ("split", "split_seed", "split_dir", "fold", "num_folds", "fold_seed", "held_out", "indices")
"""Arguments that choose images of a data set."""

_FREE = {"type", "data_root", "size", "test_mode", "metainfo"}
"""Arguments that choose none."""


@dataclass(frozen=True)
class TrainedImages:
    """Images to be scored on that were trained on.

    Attributes:
        certain: paths, sorted, in a folder that the training names and that is here.
        possible: paths, sorted, that were trained on if the training's folder, which is not here, held the same images.
        chosen: what chose the training's images, for a message.
    """

    certain: list[str]
    possible: list[str]
    chosen: str

    def warnings(self, loader: str) -> Iterator[str]:
        """What to tell, one line a kind of images; ``loader`` is the key of the configuration that gives them."""
        for images, verb in ((self.certain, "was"), (self.possible, "may have been")):
            if images:
                yield (f"{loader}.dataset: got {len(images)} images that the model {verb} trained on, such as "
                       f"{Path(images[0]).name}, expected others: their scores mean nothing. Trained on was {self.chosen}; "
                       "choose what it has not seen")


def trained_images(written: dict[str, Any], config: Config, loader: str = "test_dataloader") -> TrainedImages:
    """Images of a loader that a model was trained on, so far as the configuration inside its checkpoint tells.

    The weights that its training began with count, too (``load_from``), where their file is still here.

    Data sets of lesions are compared with those of the same class. Of the checkpoint's only the folder and what chooses images
    are read, since a configuration of somebody else could run code. Where its folder is not there, as on another machine, the
    training's images are looked for in the folder that is tested on. Nothing is said of data sets that differ in an argument
    that this module does not know, which may choose images. No image is read.

    Args:
        written: configuration inside the checkpoint.
        config: of the test, or of the training that begins with these weights.
        loader: which of its images.
    """
    shared: dict[bool, set[Path]] = {True: set(), False: set()}
    chosen: dict[str, None] = {}
    asked = [leaf for leaf in leaf_datasets((config.get(loader) or {}).get("dataset")) if leaf.has_lesions]
    if not asked:  # files of weights would be read for nothing
        return TrainedImages([], [], "")
    trained = [leaf for one in _lineage(written) for leaf in _training_leaves(one) if leaf.is_bare]
    with heard():  # the data sets say it themselves when they are tested
        for tested in asked:
            for other in (leaf for leaf in trained if _alike(leaf, tested)):
                choice = {key: value for key in _WHICH if _is_plain(value := other.settings.get(key))}
                rest = {key: value for key, value in tested.settings.items() if key not in _WHICH}
                root = other.settings.get("data_root")
                there = isinstance(root, str) and os.path.isdir(root)  # noqa: PTH112 (pathlib raises where it may not look)
                own = {**rest, **choice, **({"data_root": root} if there else {})}
                both = _images(tested, tested.settings) & _images(tested, own)
                shared[there] |= both
                if both:
                    said = ", ".join(f"{key}={value!r}" for key, value in choice.items())
                    chosen[said if there else f"{said} of a folder that is not here: if it held the same images"] = None
    certain, possible = (sorted(map(str, images)) for images in (shared[True], shared[False] - shared[True]))
    return TrainedImages(certain, possible, "; ".join(chosen))


def _lineage(written: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A configuration inside a checkpoint, and those of the weights that it began with, and so on."""
    seen: set[str] = set()
    config: dict[str, Any] | None = written
    while config is not None:
        yield config
        start = config.get("load_from")
        if not isinstance(start, str) or start in seen or not os.path.isfile(start):  # noqa: PTH113 (pathlib raises, see below)
            return
        seen.add(start)
        try:
            config = embedded_config(read_checkpoint(start), start)
        except UserError:
            return


def _training_leaves(config: dict[str, Any]) -> Iterator[Leaf]:
    loader = config.get("train_dataloader")
    yield from leaf_datasets(loader.get("dataset") if isinstance(loader, dict) else None)


def _alike(trained: Leaf, tested: Leaf) -> bool:
    """Whether two data sets are of one class and alike but for arguments of :data:`_WHICH` and :data:`_FREE`."""

    def other(leaf: Leaf) -> str:  # by way of JSON, as a checkpoint has it
        return json.dumps({k: v for k, v in leaf.settings.items() if k not in _FREE.union(_WHICH)}, sort_keys=True, default=str)

    return trained.kind is tested.kind and other(trained) == other(tested)


def _is_plain(value: Any) -> bool:
    return isinstance(value, (str, int)) or (isinstance(value, list) and all(isinstance(item, int) for item in value))


def _images(leaf: Leaf, settings: dict[str, Any]) -> set[Path]:
    """Paths of a data set's images; none where it cannot be built, which is told where it is used."""
    dataset = build_or_finding(lambda: DATASETS.build(settings), leaf.where)
    if isinstance(dataset, Finding):
        return set()
    return {Path(dataset.get_data_info(i)["img_path"]).resolve() for i in range(len(dataset))}
