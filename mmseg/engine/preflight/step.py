"""A training step, on black images or on real ones: whether it runs, and what it needs of a GPU's memory."""

from __future__ import annotations

import copy
import gc
import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from mmengine.config import Config
from mmengine.runner import Runner
from mmengine.structures import PixelData

from mmseg.datasets.leaves import leaf_datasets
from mmseg.engine.preflight.finding import ERROR, NOTE, Finding, from_user_error
from mmseg.engine.preflight.keys import arguments
from mmseg.engine.preflight.memory import bytes_on_device
from mmseg.engine.preflight.model import Parts
from mmseg.engine.preflight.splits import find_splits
from mmseg.models import BaseSegmentor, LesionDataPreprocessor
from mmseg.structures import SegDataSample
from mmseg.utils.device import default_device, free_memory, peak_memory, reset_peak_memory, wait_for
from mmseg.utils.errors import UserError

__all__ = ["largest_batch", "step_findings", "trial_findings"]

_SMALL = (128, 128)


def trial_findings(model: Any) -> Iterator[Finding]:
    """Compute the losses of two black images on the CPU: whether heads, features, classes and losses fit each other.

    Small images tell it in a fraction of a second; only what fails for these is tried at the size of the crops, too. Of a data
    preprocessor of another kind neither sizes nor targets are known, and nothing is tried. The state of the model is changed;
    the random state is not.
    """
    if not isinstance(model, BaseSegmentor) or not isinstance(model.data_preprocessor, LesionDataPreprocessor):
        return
    sizes = [getattr(transform, "crop_size", None) for transform in model.data_preprocessor.train_transforms]
    crop = next((size for size in sizes if isinstance(size, (list, tuple)) and len(size) == 2), None)
    problem = _trial(model, _SMALL)
    if problem is not None and crop is not None:
        problem = _trial(model, (int(crop[0]), int(crop[1])))
    if problem is not None:
        yield Finding(ERROR, "model", f"its losses cannot be computed ({problem})", fix="hold the channels, classes and weights "
                      "of its heads and losses against each other")


def _trial(model: BaseSegmentor, size: tuple[int, int]) -> str | None:
    """What goes wrong; None where nothing does."""
    truth = torch.zeros((model.num_classes, *size) if model.multi_label else (1, *size), dtype=torch.uint8)
    sample = SegDataSample(metainfo=dict(img_shape=size, ori_shape=size))
    sample.gt_sem_seg = PixelData(data=truth if model.multi_label else truth.long())
    with torch.random.fork_rng(devices=[]):
        try:
            model.parse_losses(model.train().loss(torch.zeros(2, 3, *size), [sample, copy.deepcopy(sample)]))
        except Exception as error:  # anything in a model of the user's
            return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
    return None


def step_findings(config: Config, parts: Parts) -> Iterator[Finding]:
    """Train one step on the first images, on the GPU where there is one, with the batch size of the configuration.

    Where that does not fit into a GPU's memory, the largest batch that does is looked for, one step each. The state of the
    model in ``parts`` is changed; the random state is not.
    """
    device = default_device()
    try:
        with torch.random.fork_rng(devices=[] if device.type == "cpu" else [device]):
            batch = _first_batch(config)
            kept = _as_kept(config, device)  # held while the step is tried
            yield from _try_step(batch, parts, device)
            del kept
    except UserError as error:
        yield from_user_error(error, "train_dataloader")
    except Exception as error:  # anything in a model or a data set of the user's
        yield Finding(ERROR, "one training step", f"failed ({type(error).__name__}: {' '.join(str(error).split())[:300]})")


def _as_kept(config: Config, device: torch.device) -> torch.Tensor | None:
    """As much of a GPU's memory as the images will take that training keeps there; None on a CPU."""
    if device.type == "cpu":
        return None
    splits, _ = find_splits(config, ("train_dataloader",))
    return torch.empty(bytes_on_device(splits, free_memory(device)), dtype=torch.uint8, device=device)


def _first_batch(config: Config) -> dict[str, list[Any]]:
    """A batch through the loader itself, from data sets that are cut to so many images."""
    loader = copy.deepcopy(config.train_dataloader)
    for leaf in leaf_datasets(loader.dataset):
        if "indices" in (arguments(leaf.kind) or {"indices"}):
            leaf.settings["indices"] = loader.batch_size
        resident = leaf.resident
        if resident is not None and resident.get("cache", "auto") in ("auto", "device", "disk"):
            resident["cache"] = "host"  # a check leaves nothing behind
    loader.num_workers = 0
    for key in ("persistent_workers", "prefetch_factor", "timeout"):
        loader.pop(key, None)
    return next(iter(Runner.build_dataloader(loader, seed=0)))


def _try_step(batch: dict[str, list[Any]], parts: Parts, device: torch.device) -> Iterator[Finding]:
    wanted, losses, seconds = len(batch["inputs"]), dict[str, Any](), 0.0
    parts.model.to(device).train()
    # An optimiser takes its own memory when it first steps, with accumulated gradients after several: the second time tells.
    repeats = 1 if device.type == "cpu" else 2 * getattr(parts.optim_wrapper, "_accumulative_counts", 1)

    def step(size: int) -> bool:
        nonlocal losses, seconds
        reset_peak_memory(device)
        try:
            for _ in range(repeats):
                began = time.monotonic()
                losses = parts.model.train_step(_of_size(batch, size), parts.optim_wrapper)
                wait_for(device)
                seconds = time.monotonic() - began
        except torch.OutOfMemoryError:
            gc.collect()
            return False
        return True

    fits = largest_batch(step, wanted)
    memory = peak_memory(device)
    if fits < wanted:
        yield Finding(
            ERROR, "train_dataloader.batch_size", f"{wanted}", f"at most {fits}, which fits into the GPU's memory" if fits else
            "a model whose step fits into the GPU's memory with one image",
            "set it, and keep the batch by optim_wrapper.accumulative_counts; or smaller crops",
        )
        return
    values = {name: float(torch.as_tensor(value).detach()) for name, value in losses.items()}
    wrong = [name for name, value in values.items() if not math.isfinite(value)]
    if wrong:
        yield Finding(ERROR, "one training step", f"{', '.join(wrong)} not finite", "finite losses", "look at the data")
    room = f", {memory[0] / 2**30:.1f} of {memory[1] / 2**30:.1f} GiB of GPU memory" if memory else " on the CPU"
    yield Finding(NOTE, "one training step", f"batch {wanted}, loss {values['loss']:.4g}, {seconds:.1f} s{room}")


def largest_batch(step: Callable[[int], bool], wanted: int) -> int:
    """The largest batch, ``wanted`` at most, whose step fits; 0 where none does. By bisection, each size tried once."""
    if step(wanted):
        return wanted
    low, high = 0, wanted
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if step(middle) else (low, middle)
    return low


def _of_size(batch: dict[str, list[Any]], size: int) -> dict[str, list[Any]]:
    """The first samples, copied: a step writes the crop's target into them."""
    return {key: [copy.deepcopy(value) for value in values[:size]] for key, values in batch.items()}
