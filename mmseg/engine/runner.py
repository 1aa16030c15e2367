"""The runner: mmengine's, with what it lacks for runs that are safe to resume and work on a CPU."""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path
from typing import Any

import mmengine
import numpy as np
import torch
from mmengine.dist import all_gather_object, is_main_process
from mmengine.logging import MMLogger
from mmengine.model import is_model_wrapper, revert_sync_batchnorm
from mmengine.runner import BaseLoop, Runner
from mmengine.runner.checkpoint import weights_to_cpu
from torch import nn

from mmseg.engine.checkpoint import FORMAT_VERSION, read_checkpoint, write_checkpoint
from mmseg.engine.hooks import ResumeRandomStateHook
from mmseg.engine.random_state import capture_random_state
from mmseg.registry import RUNNERS
from mmseg.utils.device import default_device, distributed_backend
from mmseg.utils.errors import UserError
from mmseg.utils.memory import keep_freed_memory
from mmseg.version import __version__

__all__ = ["LesionRunner", "load_weights"]


@RUNNERS.register_module()
class LesionRunner(Runner):
    """:class:`mmengine.runner.Runner` with the checkpoint format of this project, safe loading, and a CPU in every role.

    What differs: checkpoints are written atomically and read with ``weights_only=True``; every process's random state is in
    them; resuming never looks for pretrained weights; SyncBN becomes BN on a CPU; distributed runs use gloo without a GPU;
    the console shows only one-line messages (the whole goes to the log file).
    """

    def setup_env(self, env_cfg: dict) -> None:
        """As mmengine's, but a distributed run without a GPU meets over gloo instead of failing, and a CPU keeps memory."""
        if default_device().type == "cpu":
            keep_freed_memory()
        if self.distributed and distributed_backend() == "gloo" and not torch.distributed.is_initialized():
            torch.distributed.init_process_group("gloo")
        super().setup_env(env_cfg)

    def build_logger(self, *args: Any, **kwargs: Any) -> MMLogger:
        """As mmengine's; messages of many lines (environment, configuration, hooks) go to the file only."""
        logger = super().build_logger(*args, **kwargs)
        for handler in logger.handlers:
            if isinstance(handler, logging.StreamHandler) and not isinstance(handler, logging.FileHandler):
                handler.addFilter(lambda record: record.levelno > logging.INFO or record.getMessage().count("\n") < 3)
        return logger

    def wrap_model(self, model_wrapper_cfg: dict | None, model: nn.Module) -> nn.Module:
        """As mmengine's; on a CPU SyncBN is turned into BN and DistributedDataParallel gets no device."""
        if default_device().type != "cpu":
            return super().wrap_model(model_wrapper_cfg, model)
        model = revert_sync_batchnorm(model)
        if not self.distributed:
            return model
        from mmengine.model import MMDistributedDataParallel

        return MMDistributedDataParallel(module=model, broadcast_buffers=False)

    def _init_model_weights(self) -> None:
        """Initialise, and look for pretrained weights, unless all weights come from a checkpoint anyway."""
        if self._resume_path() is None:
            super()._init_model_weights()

    def _resume_path(self) -> Path | None:
        """The checkpoint to resume from: the one named, else the work_dir's latest, else None."""
        if not self._resume:
            return None
        if self._load_from is not None:
            return Path(self._load_from)
        latest = Path(self.work_dir, "latest.pth")
        return latest if latest.is_file() else None

    def load_or_resume(self) -> None:
        """Load or resume, once; ``resume`` without a checkpoint in the work_dir starts afresh and says so."""
        if self._has_loaded:  # type: ignore[has-type]
            return
        path = self._resume_path()
        if path is not None:
            self.resume(str(path))
        elif self._resume:
            self.logger.warning(f"resume: no latest.pth in {self.work_dir}; training starts afresh")
        elif self._load_from is not None:
            in_training = isinstance(self._train_loop, BaseLoop)  # where a head for other classes may be left out
            self.load_checkpoint(self._load_from, strict=not in_training)
        self._has_loaded = True

    def load_checkpoint(self, filename: str, map_location: Any = "cpu", strict: bool = True, **_: Any) -> dict[str, Any]:
        """Load weights; see :func:`load_weights`."""
        checkpoint = read_checkpoint(filename, map_location)
        self.call_hook("after_load_checkpoint", checkpoint=checkpoint)
        load_weights(self.bare_model, checkpoint["state_dict"], filename, strict)
        self.logger.info(f"weights loaded from {filename}")
        return checkpoint

    def resume(self, filename: str, *_: Any, **__: Any) -> None:
        """Continue a run: weights, optimiser, schedules, iteration, sampler position and random state."""
        checkpoint = self.load_checkpoint(filename)
        if "optimizer" not in checkpoint:
            raise UserError(f"{filename}: holds no optimiser state, so it cannot be resumed; start from it by --load-from")
        meta, schedules = checkpoint["meta"], self.param_schedulers or []
        if len(schedules) != len(checkpoint["param_schedulers"]):
            raise UserError(
                f"{filename}: was written with {len(checkpoint['param_schedulers'])} schedules, but param_scheduler has "
                f"{len(schedules)}; resume with the config of that run, or start from the weights by --load-from"
            )
        if meta["seed"] != self.seed:
            self.logger.warning(f"resume: seed {meta['seed']} is taken from the checkpoint, not {self.seed} of this run")
            self.set_randomness(**{**self._randomness_cfg, "seed": meta["seed"]})
            self._reseed_sampler(meta["seed"])
        self.train_loop._iter = meta["iter"]
        self.optim_wrapper.load_state_dict(checkpoint["optimizer"])
        for scheduler, state in zip(schedules, checkpoint["param_schedulers"], strict=True):
            scheduler.load_state_dict(state)
        if self.rank < len(checkpoint["rng"]):
            self.register_hook(ResumeRandomStateHook(checkpoint["rng"][self.rank]))
        self.init_source = meta["init"]
        self.logger.info(f"resumed at iteration {meta['iter']} from {filename}")

    def _reseed_sampler(self, seed: int) -> None:
        sampler = self.train_dataloader.sampler
        if hasattr(sampler, "seed"):
            sampler.seed = seed
            sampler.skip(0)

    def save_checkpoint(
        self, out_dir: str, filename: str, iteration: int, metrics: dict | None = None, **_: Any
    ) -> Path:
        """Write a checkpoint; every process must call this, the main one writes.

        Args:
            out_dir: folder.
            filename: in that folder.
            iteration: how many iterations are done.
            metrics: of the validation that this checkpoint is kept for.

        Returns:
            the path written.
        """
        path = Path(out_dir, filename)
        rng = all_gather_object(capture_random_state())
        if not is_main_process():
            return path
        checkpoint = dict(
            state_dict=weights_to_cpu(self.bare_model.state_dict()),
            optimizer=self.optim_wrapper.state_dict(),
            param_schedulers=[s.state_dict() for s in self.param_schedulers or []],
            rng=rng,
            sampler=dict(iter=iteration, seed=self.seed, world_size=self.world_size),
            meta=self._meta(iteration, metrics),
        )
        self.call_hook("before_save_checkpoint", checkpoint=checkpoint)
        write_checkpoint(checkpoint, path)
        self.logger.info(f"checkpoint written: {path}")
        return path

    def _meta(self, iteration: int, metrics: dict | None) -> dict[str, Any]:
        """What describes the checkpoint, of JSON's types only (a round trip turns torch's version object into text)."""
        info = self.train_dataloader.dataset.metainfo
        meta = dict(
            format_version=FORMAT_VERSION,
            iter=iteration,
            seed=self.seed,
            config_json=json.dumps(self.cfg.to_dict()),
            classes=list(info["classes"]),
            palette=[list(colour) for colour in info["palette"]],
            thresholds=dict.fromkeys(info["classes"], 0.5),
            metrics={name: float(value) for name, value in (metrics or {}).items()},
            init=getattr(self, "init_source", None) or getattr(self.bare_model.backbone, "init_source", "scratch"),
            versions=dict(
                mmseg=__version__, torch=torch.__version__, mmengine=mmengine.__version__, numpy=np.__version__
            ),
            time=time.strftime("%Y-%m-%d %H:%M:%S"),
        )
        return json.loads(json.dumps(meta))

    @property
    def bare_model(self) -> nn.Module:
        """The model without what wraps it for distributed training."""
        return self.model.module if is_model_wrapper(self.model) else self.model


def load_weights(model: nn.Module, state_dict: dict[str, torch.Tensor], source: str | Path, strict: bool = True) -> None:
    """Load weights into a model and tell every difference at once.

    Args:
        model: to be filled.
        state_dict: tensors by name; a prefix ``module.`` is dropped.
        source: file name for the message.
        strict: differences are an error; else tensors that do not fit are left out, which is logged.

    Raises:
        UserError: names or shapes differ (strict), or nothing fits at all.
    """
    weights = {str(name).removeprefix("module."): tensor for name, tensor in state_dict.items()}
    own = model.state_dict()
    missing = [name for name in own if name not in weights]
    unexpected = [name for name in weights if name not in own]
    shapes = [
        f"{name}: got {tuple(weights[name].shape)}, expected {tuple(own[name].shape)}"
        for name in own if name in weights and weights[name].shape != own[name].shape
    ]
    if missing or unexpected or shapes:
        text = f"{source} does not fit the model: " + "; ".join(
            f"{len(names)} tensors {what} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
            for what, names in (("missing", missing), ("unexpected", unexpected), ("of another shape", shapes)) if names
        )
        if strict or len(missing) + len(shapes) == len(own):
            raise UserError(f"{text}. Was it trained with another config, or other classes?")
        MMLogger.get_current_instance().warning(text)
    fitting = {k: v for k, v in weights.items() if k in own and v.shape == own[k].shape}
    model.load_state_dict(fitting, strict=False)
