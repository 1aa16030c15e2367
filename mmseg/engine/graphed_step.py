"""A training step that a GPU is told to repeat, instead of being told each of its thousand kernels again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.model import BaseModel, is_model_wrapper
from mmengine.optim import OptimWrapper
from mmengine.structures import PixelData
from torch import Tensor, nn
from torch.utils.data import DataLoader

from mmseg.engine.autocast import AutocastOptimWrapper
from mmseg.utils.device import recorded
from mmseg.utils.errors import UserError, first_line

__all__ = ["GraphedStep", "hindrance"]

_WARM_UP = 5
"""Steps that run as they are before one is captured: cuDNN tries its ways, and constants are made, in the first ones."""

_REMEDY = "train with --cfg-options cuda_graph=False"


def hindrance(model: Any, optim_wrapper: OptimWrapper, loader: DataLoader) -> str | None:
    """Why a training's steps are not those that :class:`GraphedStep` makes; None where they are.

    Args:
        model: as it is trained.
        optim_wrapper: of the training.
        loader: of its batches.
    """
    if is_model_wrapper(model):
        return "processes exchange gradients during the backward pass"
    if type(model).train_step is not BaseModel.train_step:
        return f"{type(model).__name__} has a train_step of its own"
    if type(optim_wrapper) is not AutocastOptimWrapper:
        return f"optim_wrapper.type is {type(optim_wrapper).__name__}, not AutocastOptimWrapper"
    if optim_wrapper.computes_in("cuda") != "bfloat16":
        return "steps are computed in float32, in which it has passed no test so far"
    if optim_wrapper._accumulative_counts != 1:
        return "gradients are accumulated (optim_wrapper.accumulative_counts)"
    return "batches are pinned by a thread of their own (train_dataloader.pin_memory)" if loader.pin_memory else None


@dataclass
class _Captured:
    """What one replay reads and writes, always in the same place."""

    replay: Callable[[], None]
    inputs: Tensor
    targets: list[Tensor]
    losses: Tensor
    names: list[str]
    gradients: list[tuple[nn.Parameter, Tensor]]


class GraphedStep:
    """``model.train_step``, with forward and backward pass as a CUDA graph.

    With a batch of 4 crops a GPU computes faster than one thread of Python can tell it what to: SDC-Net+ has some 1,500 kernels
    a step. They are recorded once and started all together from then on. Augmentation and the optimiser's step stay as they
    are. The numbers are meant to: the same kernels run in the same order, and dropout draws what it would have drawn.

    What is captured is what the step does with tensors; what a model decides in Python, in its forward pass or in its losses,
    is decided once. Batches of another size than the first are not replayed, but computed as ever.

    Args:
        model: a segmentor on one GPU for which there is no :func:`hindrance`; its own hooks are not called in a replay.
        note: called after each replay, before the update, with the losses by name and the samples of the batch.
    """

    def __init__(self, model: Any, note: Callable[[dict[str, Tensor], Sequence[Any]], None]) -> None:
        self._model, self._note = model, note
        self._captured: _Captured | None = None
        self._steps = 0

    def __call__(self, batch: Any, optim_wrapper: OptimWrapper) -> dict[str, Tensor]:
        """One step; arguments and result of ``train_step``.

        Raises:
            UserError: the step cannot be captured: it waits for the GPU or copies to it, needs more memory than there is, or
                learns from more than ``gt_sem_seg``. Nothing can be drawn or allocated on the GPU after a capture that failed
                (torch 2.11), so that training cannot go on in this process.
        """
        self._steps += 1
        if self._steps <= _WARM_UP:
            return self._model.train_step(batch, optim_wrapper=optim_wrapper)
        data = self._model.data_preprocessor(batch, True)
        if self._captured is None:
            self._captured = self._capture(data, optim_wrapper)
        captured = self._captured
        targets = [sample.gt_sem_seg.data for sample in data["data_samples"]]
        if [x.shape for x in (data["inputs"], *targets)] != [x.shape for x in (captured.inputs, *captured.targets)]:
            return self._as_it_is(data, optim_wrapper)
        captured.inputs.copy_(data["inputs"])
        torch._foreach_copy_(captured.targets, targets)
        captured.replay()
        for parameter, gradient in captured.gradients:
            parameter.grad = gradient
        losses = dict(zip(captured.names, captured.losses.clone().unbind(), strict=True))
        self._note({name: value for name, value in losses.items() if name != "loss"}, data["data_samples"])
        optim_wrapper._inner_count += 1
        optim_wrapper.step()
        optim_wrapper.zero_grad()
        return losses

    def _as_it_is(self, data: dict[str, Any], optim_wrapper: OptimWrapper) -> dict[str, Tensor]:
        """The rest of mmengine's ``train_step``."""
        with optim_wrapper.optim_context(self._model):
            loss, losses = self._model.parse_losses(self._model(**data, mode="loss"))
        optim_wrapper.update_params(loss)
        return losses

    def _capture(self, data: dict[str, Any], optim_wrapper: OptimWrapper) -> _Captured:
        name = type(self._model).__name__
        if more := sorted({key for sample in data["data_samples"] for key in sample.keys()} - {"gt_sem_seg"}):  # noqa: SIM118
            raise UserError(f"cuda_graph: got samples with {', '.join(more)}, expected gt_sem_seg alone, which is what a replay "
                            f"gives to {name}; {_REMEDY}")
        inputs = data["inputs"].clone()
        samples = []
        for sample in data["data_samples"]:
            own = sample.new()
            own.gt_sem_seg = PixelData(data=sample.gt_sem_seg.data.clone())
            samples.append(own)
        self._model.zero_grad(set_to_none=True)  # so that a replay writes the gradients instead of adding to them

        def step() -> tuple[list[str], Tensor]:
            with optim_wrapper.optim_context(self._model):
                loss, losses = self._model.parse_losses(self._model.forward(inputs, samples, mode="loss"))
            loss.backward()
            return list(losses), torch.stack([value.detach().float() for value in losses.values()])

        try:
            replay, (names, losses) = recorded(step)
        except RuntimeError as error:
            cause = error.__context__ or error  # the end of a failed capture fails, too
            if isinstance(cause, torch.OutOfMemoryError):
                raise UserError(
                    f"cuda_graph: got a batch of {len(samples)}, for which the GPU has not enough memory beside what replays "
                    f"keep, expected a smaller one (train_dataloader.batch_size); or {_REMEDY}"
                ) from error
            raise UserError(
                f"cuda_graph: got a {name} whose training step cannot be captured ({first_line(cause)}), expected one that "
                f"only computes on the GPU; {_REMEDY}"
            ) from error
        gradients = [(p, p.grad) for p in self._model.parameters() if p.grad is not None]
        return _Captured(replay, inputs, [sample.gt_sem_seg.data for sample in samples], losses, names, gradients)
