"""The training loop: mmengine's, with what a run needs to be stopped and resumed at any iteration."""

from __future__ import annotations

from typing import Any

from mmengine.dist import broadcast
from mmengine.runner import IterBasedTrainLoop as _IterBasedTrainLoop
from torch import nn

from mmseg.engine.agreement import agree
from mmseg.engine.compiling import uncompiled
from mmseg.engine.random_state import capture_random_state, restore_random_state
from mmseg.engine.signals import StopRequest
from mmseg.registry import LOOPS
from mmseg.utils.device import exact_convolutions

__all__ = ["IterBasedTrainLoop"]


@LOOPS.register_module()
class IterBasedTrainLoop(_IterBasedTrainLoop):
    """:class:`mmengine.runner.IterBasedTrainLoop`, which can be stopped by a signal and draws no random number in validation.

    After SIGTERM, SIGINT or SIGHUP the step at hand is finished on every process (where gradients are accumulated, the update,
    unless the workers of the data loader were stopped by the same signal), then training ends as if that had been the last one:
    the checkpoint is written by :class:`~mmseg.engine.hooks.CheckpointHook`, and ``stopped_by`` is the number of the signal.

    A checkpoint is written before the validation of its iteration; resuming from it runs that validation first.
    """

    stopped_by: int = 0
    state_to_save: dict[str, Any] | None = None
    """The random state of a checkpoint that is written while validation goes on; after a resume that of the checkpoint."""

    def run(self) -> nn.Module:
        """Train until ``max_iters``, or until asked to stop."""
        with StopRequest() as stop:
            self.runner.call_hook("before_train")
            self.runner.call_hook("before_train_epoch")
            if self._iter > 0:
                self._resume()
            self.runner.model.train()  # a new module says that it trains already, and what its train() freezes would not be
            self._step = self.runner.training_step()
            while self._iter < self._max_iters and not self.stop_training:
                if not self.runner.model.training:
                    self.runner.model.train()
                try:
                    data_batch = next(self.dataloader_iterator)
                except RuntimeError:
                    if stop.signal and self.runner.world_size == 1:  # the workers were told to stop, too
                        self.stopped_by = stop.signal
                        break
                    raise
                self.run_iter(data_batch)
                self.stopped_by = agree(stop.signal)
                counts = getattr(self.runner.optim_wrapper, "_accumulative_counts", 1)
                self.stop_training |= self.stopped_by > 0 and self._iter % counts == 0
                if not self.stop_training and not self.stopped_by:
                    self._validate_if_due()
            self.dataloader_iterator._iterator = None  # ends its workers at once; the garbage collector takes 5 s for each
            self.runner.call_hook("after_train_epoch")
            self.runner.call_hook("after_train")
        return self.runner.model

    def run_iter(self, data_batch: Any) -> None:
        """As mmengine's, with the runner's way of making a step."""
        self.runner.call_hook("before_train_iter", batch_idx=self._iter, data_batch=data_batch)
        outputs = self._step(data_batch, optim_wrapper=self.runner.optim_wrapper)
        self.runner.call_hook("after_train_iter", batch_idx=self._iter, data_batch=data_batch, outputs=outputs)
        self._iter += 1

    def _resume(self) -> None:
        if not self.fast_forward_on_resume:
            self.dataloader_iterator.skip_iter(self._iter)  # of the sampler's numbers; no data is read
        self._validate_if_due()
        self.state_to_save = None

    def _validate_if_due(self) -> None:
        """Validation leaves no trace in the generators: a run resumed after it draws what this one draws."""
        self._decide_current_val_interval()
        last = self._iter == self._max_iters
        if self.runner.val_loop is None or self._iter < self.val_begin or (self._iter % self.val_interval and not last):
            return
        if self.runner.distributed:  # the first process's are in the checkpoint, and only its are
            for buffer in self.runner.bare_model.buffers():
                broadcast(buffer)
        state = capture_random_state()
        self.state_to_save = self.state_to_save or state
        with uncompiled(getattr(self.runner, "compiled", False)), exact_convolutions():
            self.runner.val_loop.run()
        self.state_to_save = None
        restore_random_state(state)
