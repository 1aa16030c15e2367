"""The learning rates of mmcv 1.x."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmengine.optim.scheduler.lr_scheduler import LRSchedulerMixin
from mmengine.optim.scheduler.param_scheduler import _ParamScheduler

from mmseg.registry import PARAM_SCHEDULERS

__all__ = ["LegacyLR"]


@PARAM_SCHEDULERS.register_module()
class LegacyLR(LRSchedulerMixin, _ParamScheduler):
    """``lr_config`` of mmcv 1.x, iteration by iteration; ``end`` is ``train_cfg.max_iters`` where it is not given::

        fixed      lr = base
        poly       lr = (base - min_lr) (1 - it / end)^power + min_lr
        step       lr = max(base gamma^k, min_lr), k = it // step, or how many of the steps are passed

        warm-up, for it < warmup_iters: lr is multiplied by
        linear     1 - (1 - it / warmup_iters) (1 - warmup_ratio)
        exp        warmup_ratio^(1 - it / warmup_iters)
        constant   warmup_ratio

    mmengine's schedules cannot be chained to these: each goes on from the value the one before it left, so that a warm-up of
    a polynomial that ends above zero comes out differently.

    Args:
        optimizer: whose learning rates are set.
        policy: 'fixed', 'poly' or 'step'.
        power: of 'poly'.
        min_lr: least learning rate.
        step: of 'step': iterations a step, or a list of the iterations at which it falls.
        gamma: of 'step'.
        warmup: 'linear', 'exp', 'constant' or None.
        warmup_iters: how long.
        warmup_ratio: at the start.
        **kwargs: ``begin``, ``end``, ``by_epoch=False`` of mmengine's schedules.

    Raises:
        ValueError: for another policy or warm-up, or ``by_epoch``.
    """

    def __init__(
        self, optimizer: Any, policy: str, power: float = 1.0, min_lr: float = 0.0, step: int | Sequence[int] = (),
        gamma: float = 0.1, warmup: str | None = None, warmup_iters: int = 0, warmup_ratio: float = 0.1, by_epoch: bool = False,
        **kwargs: Any,
    ) -> None:
        if policy not in ("fixed", "poly", "step"):
            raise ValueError(f"LegacyLR: got policy={policy!r}, expected 'fixed', 'poly' or 'step'")
        if warmup not in (None, "linear", "exp", "constant"):
            raise ValueError(f"LegacyLR: got warmup={warmup!r}, expected None, 'linear', 'exp' or 'constant'")
        if by_epoch:
            raise ValueError("LegacyLR: got by_epoch=True, expected False: training is counted in iterations here")
        self.policy, self.power, self.min_lr, self.steps, self.gamma = policy, power, min_lr, step, gamma
        self.warmup, self.warmup_iters, self.warmup_ratio = warmup, warmup_iters, warmup_ratio
        super().__init__(optimizer, by_epoch=False, **kwargs)

    def _get_value(self) -> list[float]:
        factor = self._warmup_factor()
        return [factor * self._regular(base) for base in self.base_values]

    def _regular(self, base: float) -> float:
        if self.policy == "poly":
            return (base - self.min_lr) * (1 - self.last_step / self.end) ** self.power + self.min_lr
        if self.policy == "step":
            passed = (self.last_step // self.steps if isinstance(self.steps, int)
                      else sum(self.last_step >= step for step in self.steps))
            return max(base * self.gamma**passed, self.min_lr)
        return base

    def _warmup_factor(self) -> float:
        if self.warmup is None or self.last_step >= self.warmup_iters:
            return 1.0
        left = 1 - self.last_step / self.warmup_iters
        if self.warmup == "linear":
            return 1 - left * (1 - self.warmup_ratio)
        return self.warmup_ratio**left if self.warmup == "exp" else self.warmup_ratio
