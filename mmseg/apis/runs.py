"""From a configuration to a runner."""

from __future__ import annotations

from typing import Any

from mmengine.config import Config

from mmseg.apis.init import dataset_metainfo, register_all_modules, trains_on_lesions
from mmseg.engine.config import check_config
from mmseg.engine.runner import LesionRunner
from mmseg.utils.errors import UserError
from mmseg.utils.paths import make_folder

__all__ = ["build_runner"]


def build_runner(config: Config) -> LesionRunner:
    """Check a configuration whole, make its ``work_dir`` and build what runs it.

    Raises:
        UserError: a mistake in the configuration, or a ``work_dir`` that cannot be written.
    """
    register_all_modules()
    check_config(config)
    make_folder(config.work_dir, "--work-dir")
    try:
        runner = LesionRunner.from_cfg(config)
    except (ValueError, TypeError, KeyError, AssertionError) as error:  # what constructors say of wrong values
        raise UserError(f"{config.filename}: {error}") from error
    _check_classes(runner.bare_model, config)
    return runner


def _check_classes(model: Any, config: Config) -> None:
    """Heads and targets must agree with the data on the number of classes and on their kind, before any data is read."""
    names, of_lesions = dataset_metainfo(config)["classes"], trains_on_lesions(config)
    expected, target = (len(names), "multilabel") if model.multi_label else (len(names) + of_lesions, "index")
    kind = "multi_label=True (one channel a lesion)" if model.multi_label else "softmax (background and the lesions)"
    if not of_lesions:
        kind = f"softmax over the classes of {config.train_dataloader.dataset.type}"
    wrong = [
        f"{name}.num_classes: got {head.num_classes}, expected {expected} for {kind}"
        for name in ("decode_head", "refine_head", "auxiliary_head")
        if (head := getattr(model, name, None)) is not None and getattr(head, "num_classes", expected) != expected
    ]
    if model.multi_label and not of_lesions:
        wrong.append(f"multi_label: got True, expected False: {config.train_dataloader.dataset.type} has one index map an image")
    given = getattr(model.data_preprocessor, "target", target)
    if given != target:
        wrong.append(f"data_preprocessor.target: got {given!r}, expected {target!r} for {kind}")
    if wrong:
        raise UserError(f"{config.filename}: the model does not fit the data:\n  " + "\n  ".join(wrong))
