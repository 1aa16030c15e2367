"""From a configuration to a runner."""

from __future__ import annotations

from pathlib import Path

from mmengine.config import Config

from mmseg.apis.init import register_all_modules
from mmseg.engine.config import check_config
from mmseg.engine.runner import LesionRunner
from mmseg.utils.errors import UserError

__all__ = ["build_runner"]


def build_runner(config: Config) -> LesionRunner:
    """Check a configuration whole, make its ``work_dir`` and build what runs it.

    Raises:
        UserError: a mistake in the configuration, or a ``work_dir`` that cannot be written.
    """
    register_all_modules()
    check_config(config)
    work_dir = Path(config.work_dir)
    try:
        work_dir.mkdir(parents=True, exist_ok=True)
        probe = work_dir / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UserError(f"{work_dir}: cannot be written ({error.strerror}); choose another folder by --work-dir") from error
    return LesionRunner.from_cfg(config)
