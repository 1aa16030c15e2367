"""Images that a model is tested on though it was trained on them."""

from __future__ import annotations

from typing import Any

from mmengine.config import Config

from mmseg.datasets.leaves import Leaf, leaf_datasets
from mmseg.engine.preflight.finding import Finding, build_or_finding
from mmseg.engine.preflight.splits import heard
from mmseg.registry import DATASETS

__all__ = ["trained_images"]

_WHICH = ("split", "split_seed", "split_dir", "fold", "num_folds", "fold_seed", "held_out")
"""Arguments that choose images of a data set."""


def trained_images(written: dict[str, Any], config: Config) -> tuple[list[str], str]:
    """Test images that a model was trained on, so far as the configuration inside its checkpoint tells.

    Data sets of lesions are compared with those of the same class, listed from the folder that is tested on: the training's may
    have been elsewhere. No image is read.

    Args:
        written: configuration inside the checkpoint.
        config: of the test.

    Returns:
        the paths of the images, sorted, and what chose those of the training, for a message.
    """
    shared: set[str] = set()
    chosen: dict[str, None] = {}
    trained = list(leaf_datasets((written.get("train_dataloader") or {}).get("dataset")))
    with heard():  # the data sets say it themselves when they are tested
        for tested in leaf_datasets((config.get("test_dataloader") or {}).get("dataset")):
            root = tested.settings.get("data_root")
            for other in (leaf for leaf in trained if leaf.has_lesions and leaf.kind is tested.kind):
                both = _images(tested, root) & _images(other, root)
                shared |= both
                if both:
                    choice = (f"{key}={other.settings[key]!r}" for key in _WHICH if other.settings.get(key) is not None)
                    chosen[", ".join(choice)] = None
    return sorted(shared), "; ".join(chosen)


def _images(leaf: Leaf, root: Any) -> set[str]:
    """Paths of a data set's images; none where it cannot be built, which is told where it is used."""
    dataset = build_or_finding(lambda: DATASETS.build({**leaf.settings, "data_root": root}), leaf.where)
    return set() if isinstance(dataset, Finding) else {dataset.get_data_info(i)["img_path"] for i in range(len(dataset))}
