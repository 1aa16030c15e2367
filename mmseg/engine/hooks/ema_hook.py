"""Averaged weights, in the checkpoint format of this project."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import EMAHook as _EMAHook
from mmengine.runner.checkpoint import weights_to_cpu

from mmseg.registry import HOOKS

__all__ = ["EMAHook"]


@HOOKS.register_module()
class EMAHook(_EMAHook):
    """:class:`mmengine.hooks.EMAHook`, resumed bit for bit: ``custom_hooks=[dict(type='EMAHook', momentum=2e-3)]``.

    In a checkpoint ``state_dict`` holds the averaged weights, which are those to use, ``raw_state_dict`` the weights that are
    trained, and ``averaged_steps`` how often they were averaged. Validation and testing use the averaged ones.

    Args:
        **kwargs: of :class:`mmengine.hooks.EMAHook`; ``momentum`` is the share of the newest weights, at least 5 / ``max_iters``
            (there is no warm-up: with mmengine's 2e-4, for 40,000 iterations, a short run would keep its first weights).
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._kept: tuple[dict[str, Any], int] | None = None
        self._started = False

    def before_save_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        """Put the averaged weights where everybody looks."""
        checkpoint["raw_state_dict"] = checkpoint["state_dict"]
        checkpoint["state_dict"] = weights_to_cpu(self.ema_model.module.state_dict())
        checkpoint["averaged_steps"] = int(self.ema_model.steps)

    def after_load_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        """In a resumed run the model goes on from the raw weights; the averaged ones wait for :meth:`before_train`."""
        if not runner._resume:
            return
        if "raw_state_dict" in checkpoint:
            self._kept = checkpoint["state_dict"], checkpoint["averaged_steps"]
            checkpoint["state_dict"] = checkpoint.pop("raw_state_dict")
        else:
            runner.logger.warning("resume: the checkpoint holds no averaged weights; EMAHook begins to average at its weights")

    def before_train(self, runner: Any) -> None:
        """Start from the averages of the checkpoint, or from the model's weights."""
        super().before_train(runner)
        self._start()

    def before_val_epoch(self, runner: Any) -> None:
        """Validate the averaged weights."""
        self._start()
        super().before_val_epoch(runner)

    def before_test_epoch(self, runner: Any) -> None:
        """Test the averaged weights; what was loaded for a test alone is averaged already."""
        self._start()
        super().before_test_epoch(runner)

    def _start(self) -> None:
        if self._started:
            return
        self._started = True
        averaged, steps = self._kept or (self.src_model.state_dict(), 0)
        self.ema_model.module.load_state_dict(averaged)
        self.ema_model.steps.fill_(steps)
        self._kept = None
