"""Images that a model is tested on though it was trained on them."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmseg.datasets.leaves import Leaf, leaf_datasets
from mmseg.engine.preflight.finding import Finding, build_or_finding
from mmseg.engine.preflight.splits import heard
from mmseg.registry import DATASETS

__all__ = ["TrainedImages", "trained_images"]

_WHICH = ("split", "split_seed", "split_dir", "fold", "num_folds", "fold_seed", "held_out", "indices")
"""Arguments that choose images of a data set."""

_FREE = {"type", "data_root", "size", "test_mode", "metainfo"}
"""Arguments that choose none."""


@dataclass(frozen=True)
class TrainedImages:
    """Images of a test that were trained on.

    Attributes:
        certain: paths, sorted, in a folder that the training names and that is here.
        possible: paths, sorted, that were trained on if the training's folder, which is not here, held the same images.
        chosen: what chose the training's images, for a message.
    """

    certain: list[str]
    possible: list[str]
    chosen: str


def trained_images(written: dict[str, Any], config: Config) -> TrainedImages:
    """Test images that a model was trained on, so far as the configuration inside its checkpoint tells.

    Data sets of lesions are compared with those of the same class. Of the checkpoint's only the folder and what chooses images
    are read, since a configuration of somebody else could run code. Where its folder is not there, as on another machine, the
    training's images are looked for in the folder that is tested on. Nothing is said of data sets that differ in an argument
    that this module does not know, which may choose images. No image is read.

    Args:
        written: configuration inside the checkpoint.
        config: of the test.
    """
    shared: dict[bool, set[Path]] = {True: set(), False: set()}
    chosen: dict[str, None] = {}
    loader = written.get("train_dataloader")
    trained = [leaf for leaf in leaf_datasets(loader.get("dataset") if isinstance(loader, dict) else None) if leaf.is_bare]
    with heard():  # the data sets say it themselves when they are tested
        for tested in leaf_datasets((config.get("test_dataloader") or {}).get("dataset")):
            for other in (leaf for leaf in trained if tested.has_lesions and _alike(leaf, tested)):
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
