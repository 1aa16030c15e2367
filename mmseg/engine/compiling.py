"""torch.compile for the network's training step, where a compiler is at hand."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from mmseg.utils.errors import first_line

__all__ = ["compile_network", "uncompiled"]


def compile_network(model: nn.Module, options: dict[str, Any]) -> str | None:
    """Compile the convolutional parts of a segmentor in place: backbone, neck, and every layer of the heads.

    Names of weights, checkpoints and copies of the model stay as they are. The data preprocessor and the losses, which have
    gradients of their own, stay uncompiled. A part that cannot be compiled after all runs as it is; torch then warns.

    Args:
        model: a segmentor, not wrapped for distributed training.
        options: of :func:`torch.compile`.

    Returns:
        None, or why nothing was compiled: no compiler for the model's device, or options that do not work.
    """
    try:
        _probe(next(model.parameters()).device, options)
    except Exception as error:  # the compiler's, its subprocesses', or an option's
        return first_line(error)
    torch._dynamo.config.suppress_errors = True
    for part in _parts(model):
        part.compile(**options)
    return None


def _probe(device: torch.device, options: dict[str, Any]) -> None:
    """Compile something tiny, forward and backward."""
    x = torch.ones(8, device=device, requires_grad=True)
    torch.compile(lambda x: (x.sin() + 1).relu(), **options)(x).sum().backward()


def _parts(model: nn.Module) -> Iterator[nn.Module]:
    for name, child in model.named_children():
        if name in ("backbone", "neck"):
            yield child
        elif name != "data_preprocessor":
            yield from _layers(child)


def _layers(head: nn.Module) -> Iterator[nn.Module]:
    """The outermost modules below a head that are called as such and have convolutions."""
    for name, child in head.named_children():
        if name == "loss_decode" or not any(isinstance(module, nn.Conv2d) for module in child.modules()):
            continue
        if isinstance(child, (nn.ModuleList, nn.ModuleDict)) or hasattr(child, "loss_decode"):
            yield from _layers(child)
        else:
            yield child


@contextlib.contextmanager
def uncompiled(compiled: bool) -> Iterator[None]:
    """Inside, what was compiled runs as it is: a validation's whole images would be compiled for once more, for minutes."""
    if not compiled:
        yield
        return
    with torch.compiler.set_stance("force_eager"):
        yield
