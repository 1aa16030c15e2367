"""The loss curve as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmengine.dist import master_only
from mmengine.hooks import Hook

from mmseg.engine.work_dir import CURVES, log_entries, scalar_logs
from mmseg.registry import HOOKS
from mmseg.visualization import draw_curves

__all__ = ["CurvesHook"]


@HOOKS.register_module()
class CurvesHook(Hook):
    """Draw ``curves.png`` (losses, learning rate, validation metrics) into the work_dir when training ends.

    The numbers are those that the logger wrote to ``<timestamp>/vis_data/scalars.json``, of this run and of those it resumed.
    """

    priority = "LOWEST"

    @master_only
    def after_train(self, runner: Any) -> None:
        """Read what was logged and draw it."""
        records: dict[int, dict[str, float]] = {}
        own = Path(runner.log_dir)
        resumed = runner._resume_path is not None
        for file in (path for path in scalar_logs(runner.work_dir) if resumed or path.is_relative_to(own)):
            logged = [values for values in log_entries(file) if "step" in values]
            if logged:  # what an earlier start went on to from here was given up
                records = {step: values for step, values in records.items() if step < logged[0]["step"]}
            for values in logged:
                records.setdefault(values["step"], {}).update(values)
        if records:
            draw_curves(list(records.values()), Path(runner.work_dir, CURVES))
