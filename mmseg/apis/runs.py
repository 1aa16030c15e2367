"""From a configuration to a runner."""

from __future__ import annotations

from mmengine.config import Config

from mmseg.apis.init import register_all_modules
from mmseg.engine.config import check_config
from mmseg.engine.preflight import class_findings
from mmseg.engine.preflight.finding import ERROR
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
    wrong = [str(finding) for finding in class_findings(runner.bare_model, config) if finding.severity == ERROR]
    if wrong:
        raise UserError(f"{config.filename}: the model does not fit the data:\n  " + "\n  ".join(wrong))
    return runner
