"""When checkpoints are written, and which are kept."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.hooks import Hook

from mmseg.engine.checkpoint import read_checkpoint
from mmseg.engine.work_dir import (
    LATEST,
    NEWEST,
    best_checkpoints,
    best_name,
    numbered_checkpoints,
    numbered_name,
)
from mmseg.registry import HOOKS
from mmseg.utils.errors import UserError
from mmseg.utils.whole_files import UNFINISHED

__all__ = ["CheckpointHook"]


@HOOKS.register_module()
class CheckpointHook(Hook):
    """Write ``iter_N.pth`` and ``latest.pth`` every so many iterations and where training ends or is stopped, and
    ``best_<metric>_iter_N.pth``.

    Unlike mmengine's hook of this name, a file is removed only after its successor is on the disk, and ``latest.pth`` (a
    hard link) always names the newest. Iteration-based training only.

    Args:
        interval: iterations between checkpoints.
        max_keep_ckpts: how many ``iter_N.pth`` to keep; -1 keeps all.
        save_best: a validation metric such as 'lesion/mDice', of which larger is better; None writes no best file.
        by_epoch: accepted for mmsegmentation's configurations; only False is possible.
    """

    priority = "VERY_LOW"

    def __init__(
        self, interval: int = 1000, max_keep_ckpts: int = -1, save_best: str | None = None, by_epoch: bool = False
    ) -> None:
        if by_epoch:
            raise ValueError("CheckpointHook: got by_epoch=True, expected False: training is counted in iterations here")
        if not isinstance(max_keep_ckpts, int) or max_keep_ckpts == 0:
            raise ValueError(f"CheckpointHook: got max_keep_ckpts={max_keep_ckpts!r}, expected at least 1, or -1 to keep all")
        if not isinstance(interval, int):
            raise ValueError(f"CheckpointHook: got interval={interval!r}, expected a number of iterations")
        self.interval = interval
        self.max_keep_ckpts = max_keep_ckpts
        self.save_best = save_best
        self._best: float | None = None
        self._newest = 0

    def before_train(self, runner: Any) -> None:
        """A resumed run goes on from the best score that its work_dir holds; what a killed run left half written is removed."""
        self._newest = runner.iter
        runner.describe(runner.iter)  # what checkpoints could not carry is told now, not after the first thousand iterations
        own = runner.iter > 0 and Path(runner._resume_path).resolve().parent == Path(runner.work_dir).resolve()
        if self.save_best and own:  # another run's best, where this one came from elsewhere, is no rival
            best = [self._best_score(runner) if is_main_process() else None]
            broadcast_object_list(best)  # what others see of the folder may be of a moment before, and all must decide alike
            self._best = best[0]
        if is_main_process():
            for name in ("iter_*.pth", "best_*.pth", LATEST):
                for left in Path(runner.work_dir).glob(f".{name}{UNFINISHED}"):
                    left.unlink()

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Write at the interval and after the last iteration."""
        if self.every_n_train_iters(runner, self.interval) or self.is_last_train_iter(runner):
            self._write(runner, runner.iter + 1)

    def after_train(self, runner: Any) -> None:
        """Write where training was stopped early."""
        if runner.iter > self._newest:
            self._write(runner, runner.iter)

    def _write(self, runner: Any, done: int) -> None:
        path = runner.save_checkpoint(runner.work_dir, numbered_name(done), iteration=done, latest=True)
        self._newest = done
        if is_main_process():
            Path(runner.work_dir, NEWEST).write_text(str(path))
            self._prune(Path(runner.work_dir), keep=done)

    def _best_score(self, runner: Any) -> float | None:
        scores = []
        for path in best_checkpoints(runner.work_dir, self.save_best):
            try:
                scores.append(read_checkpoint(path)["meta"]["metrics"].get(self.save_best))
            except UserError as error:
                runner.logger.warning(f"resume: {error}; the next validation counts as the best")
        return max((score for score in scores if score is not None and not math.isnan(score)), default=None)

    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        """Write the best checkpoint so far, judged by ``save_best``."""
        score = (metrics or {}).get(self.save_best) if self.save_best else None
        if score is None or not score > (-math.inf if self._best is None else self._best):  # no score is better than nan
            return
        self._best = score
        name = best_name(str(self.save_best), runner.iter)
        path = runner.save_checkpoint(runner.work_dir, name, iteration=runner.iter, metrics=metrics)
        if is_main_process():
            for old in best_checkpoints(runner.work_dir, self.save_best):
                if old != path:
                    old.unlink()

    def _prune(self, folder: Path, keep: int) -> None:
        if self.max_keep_ckpts < 0:
            return
        numbered = numbered_checkpoints(folder)
        older = sorted(n for n in numbered if n <= keep)
        for number in older[: max(0, len(older) - self.max_keep_ckpts)]:
            numbered[number].unlink()
