"""From a configuration to a runner."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mmengine.config import Config

from mmseg.apis.init import register_all_modules
from mmseg.apis.predictions import lesion_evaluator
from mmseg.engine.config import check_config, config_json, require
from mmseg.engine.preflight import class_findings
from mmseg.engine.preflight.finding import refuse
from mmseg.engine.preflight.keys import LOADERS
from mmseg.engine.runner import LesionRunner
from mmseg.registry import RUNNERS, find_subclass
from mmseg.utils.errors import UserError
from mmseg.utils.paths import make_folder

__all__ = ["build_runner", "build_tester"]


def build_runner(config: Config, loaders: Sequence[str] = LOADERS) -> LesionRunner:
    """Check a configuration, make its ``work_dir`` and build what runs it.

    Args:
        config: of the run.
        loaders: those that will be used: what only others need is not judged.

    Raises:
        UserError: a mistake in the configuration, no ``work_dir``, or one that cannot be written.
    """
    register_all_modules()
    check_config(config, loaders)
    config_json(config)  # mmengine's log fails for what this refuses, without a word of what it is
    if not config.get("work_dir"):
        raise UserError("work_dir: got none, expected a folder: config.work_dir = 'work_dirs/my_run'")
    make_folder(config.work_dir, "work_dir (--work-dir)")
    config.default_scope = config.get("default_scope") or "mmseg"
    kind = find_subclass(RUNNERS, config.get("runner_type") or "LesionRunner", LesionRunner)
    if kind is None:
        raise UserError(f"runner_type: got {config.runner_type!r}, expected LesionRunner or a registered subclass of it")
    try:
        runner = kind.from_cfg(config)
    except (ValueError, TypeError, KeyError, AssertionError, ImportError) as error:  # what constructors say of wrong values
        raise UserError(f"{config.filename or 'config'}: {error}") from error
    refuse(class_findings(runner.bare_model, config, loaders), f"{config.filename or 'config'}: the model does not fit the data:")
    return runner


def build_tester(
    config: Config, checkpoint: str | Path, out_dir: str | Path, tta: bool = False, show_dir: str | Path | None = None,
    command: str = "",
) -> LesionRunner:
    """What ``tools/test.py`` runs: its ``test()`` scores a checkpoint on the test images and writes the files of that.

    Args:
        config: that it was trained with; it is changed.
        checkpoint: with the weights.
        out_dir: where ``metrics.json``, ``details.json``, ``per_image.csv`` and ``report.html`` go, where ``test_evaluator`` is
            or holds a :class:`~mmseg.evaluation.LesionMetric`.
        tta: average the probabilities over the image and its mirror images.
        show_dir: where an overlay of every image goes; None draws none.
        command: that was typed, for the report.

    Raises:
        UserError: a mistake in the configuration, or a folder that cannot be written.
    """
    require(config, "test_dataloader", "test_cfg", "test_evaluator")
    if config.get("launcher", "none") == "none":  # of several processes the first has made it
        make_folder(out_dir, "out_dir (--out)")
    config.load_from, config.resume = str(checkpoint), False
    evaluator = lesion_evaluator(config)
    if evaluator is not None:
        evaluator.out_dir = str(out_dir)
    if isinstance((config.get("default_hooks") or {}).get("logger"), dict):
        config.default_hooks.logger.interval = 5
    if tta:
        config.model.test_cfg = {**(config.model.get("test_cfg") or {}), "flips": ["horizontal", "vertical", "diagonal"]}
    hooks = [*(config.get("custom_hooks") or []), dict(type="ReportHook", out_dir=str(out_dir), command=command)]
    if show_dir is not None:
        hooks.append(dict(type="OverlayHook", out_dir=str(make_folder(show_dir, "show_dir (--show-dir)"))))
    config.custom_hooks = hooks
    return build_runner(config, ("test_dataloader",))
