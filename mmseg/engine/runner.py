"""The runner: mmengine's, with what it lacks for runs that are safe to resume and work on a CPU."""

from __future__ import annotations

import contextlib
import copy
import json
import logging
import os
import signal
import time
import zlib
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import cached_property, partial
from pathlib import Path
from typing import Any, cast

import mmengine
import numpy as np
import torch
from mmengine.config import Config
from mmengine.dist import all_gather_object, broadcast_object_list, is_main_process, master_only
from mmengine.logging import MMLogger
from mmengine.model import is_model_wrapper, revert_sync_batchnorm
from mmengine.runner import BaseLoop, Runner
from mmengine.runner.checkpoint import weights_to_cpu
from torch import Tensor, nn
from torch.utils.data import DataLoader

from mmseg.compat.legacy_lr import LegacyLR
from mmseg.compat.weights import LoadReport, match_weights
from mmseg.engine.agreement import COLLECTIVE_TIMEOUT, agree, check_same, wait_at_most
from mmseg.engine.autocast import AutocastOptimWrapper
from mmseg.engine.checkpoint import FORMAT_VERSION, OF_THE_CALL, embedded_config, read_checkpoint, write_checkpoint
from mmseg.engine.compiling import compile_network
from mmseg.engine.config import config_json
from mmseg.engine.dataset_info import reordered_classes
from mmseg.engine.graphed_step import GraphedStep, hindrance
from mmseg.engine.hooks import (
    BatchSeedHook,
    CheckNormalisationHook,
    NonFiniteGuardHook,
    ReplaceRunHook,
    ResumeRandomStateHook,
    RuntimeInfoHook,
)
from mmseg.engine.log_window import capture_log_window, restore_log_window
from mmseg.engine.random_state import capture_random_state
from mmseg.engine.resuming import (
    check_rate_lasts,
    check_resumable,
    config_differences,
    leaves,
    newest_readable,
    resume_candidates,
    state_differences,
)
from mmseg.engine.signals import begin_worker
from mmseg.engine.trained_images import trained_images
from mmseg.engine.work_dir import CHECKPOINTS, sole_writer
from mmseg.models import BaseSegmentor
from mmseg.models.layers import use_fast_weight_gradients
from mmseg.registry import MODEL_WRAPPERS, PARAM_SCHEDULERS, RUNNERS, find_subclass
from mmseg.utils.device import check_local_rank, default_device, distributed_backend, exact_convolutions
from mmseg.utils.digests import named_source
from mmseg.utils.errors import UserError
from mmseg.utils.memory import keep_freed_memory
from mmseg.version import __version__

__all__ = ["LesionRunner", "load_weights"]


@RUNNERS.register_module()
class LesionRunner(Runner):
    """:class:`mmengine.runner.Runner` with the checkpoint format of this project, safe loading, and a CPU in every role.

    What differs: checkpoints are written atomically and read with ``weights_only=True``; every process's random state is in
    them; resuming never looks for pretrained weights; SyncBN becomes BN on a CPU; distributed runs use gloo without a GPU;
    the console shows only one-line messages (the whole goes to the log file); ``compile`` compiles the network alone.
    """

    compiled: bool = False

    def setup_env(self, env_cfg: dict) -> None:
        """As mmengine's, but a distributed run without a GPU meets over gloo instead of failing, and a CPU keeps memory."""
        if default_device().type == "cpu":
            keep_freed_memory()
        options = dict(env_cfg.get("dist_cfg") or {})
        options["timeout"] = self._timeout = options.get("timeout") or COLLECTIVE_TIMEOUT
        env_cfg["dist_cfg"] = options
        wait_at_most(options["timeout"])
        if self.distributed:
            check_local_rank()
        if self.distributed and distributed_backend() == "gloo" and not torch.distributed.is_initialized():
            try:
                torch.distributed.init_process_group("gloo", timeout=timedelta(seconds=options["timeout"]))
            except ValueError as error:  # no RANK, WORLD_SIZE, MASTER_ADDR
                raise UserError(
                    f"--launcher {self._launcher}: without a GPU processes are started by torchrun, got none of its variables "
                    f"({error}); use tools/dist_train.sh, or --launcher pytorch under torchrun"
                ) from error
        super().setup_env(env_cfg)

    def register_default_hooks(self, hooks: dict | None = None) -> None:
        """As mmengine's, but losses are fetched when the logger wants them; augmentation is seeded; and the guard."""
        by_iteration = {"type": "LoggerHook", "log_metric_by_epoch": False}  # validations would all be logged at epoch 0
        own = {"runtime_info": RuntimeInfoHook(), "batch_seed": BatchSeedHook(), "checkpoint": CHECKPOINTS,
               "normalisation": CheckNormalisationHook()}
        hooks = {**own, "logger": by_iteration, **(hooks or {})}
        if isinstance(hooks["logger"], dict) and hooks["logger"].get("type") == "LoggerHook":
            hooks["logger"] = {**by_iteration, **hooks["logger"]}
        super().register_default_hooks(hooks)
        self.register_hook(NonFiniteGuardHook())

    def build_logger(self, *args: Any, **kwargs: Any) -> MMLogger:
        """As mmengine's; messages of many lines (environment, configuration, hooks) go to the file only."""
        logger = super().build_logger(*args, **kwargs)
        for handler in logger.handlers:
            if isinstance(handler, logging.StreamHandler) and not isinstance(handler, logging.FileHandler):
                handler.addFilter(lambda record: record.levelno > logging.INFO or record.getMessage().count("\n") < 3)
        return logger

    def test(self) -> dict[str, float]:
        """As mmengine's, in exact float32 on a GPU, too."""
        with exact_convolutions():
            return super().test()

    @staticmethod
    def build_dataloader(*args: Any, **kwargs: Any) -> DataLoader:
        """As mmengine's; its workers are out of reach of the signals that stop a run."""
        loader = Runner.build_dataloader(*args, **kwargs)
        if loader.num_workers > 0:
            loader.worker_init_fn = partial(begin_worker, loader.worker_init_fn)
        return loader

    def wrap_model(self, model_wrapper_cfg: dict | None, model: nn.Module) -> nn.Module:
        """As mmengine's, in channels-last memory order; on a CPU SyncBN becomes BN and DistributedDataParallel gets no device."""
        _lay_out(model, torch.channels_last)
        if default_device().type != "cpu":
            return super().wrap_model(model_wrapper_cfg, model)
        model = revert_sync_batchnorm(model)
        use_fast_weight_gradients(model)
        if not self.distributed:
            return model  # mmengine would move it to a GPU of Apple's
        unused = self.cfg.get("find_unused_parameters", False)
        wrapper = model_wrapper_cfg or dict(broadcast_buffers=False, find_unused_parameters=unused)
        return MODEL_WRAPPERS.build({"type": "MMDistributedDataParallel", **wrapper}, default_args=dict(module=model))

    def _build_param_scheduler(self, scheduler: Any, optim_wrapper: Any) -> list[Any]:
        """As mmengine's, which takes a schedule that does not say ``by_epoch`` for one of epochs; LegacyLR counts iterations."""

        def in_iterations(cfg: Any) -> Any:
            legacy = isinstance(cfg, dict) and find_subclass(PARAM_SCHEDULERS, cfg.get("type"), LegacyLR)
            return {"by_epoch": False, **cfg} if legacy else cfg

        given = scheduler if isinstance(scheduler, Sequence) else [scheduler]
        return super()._build_param_scheduler([in_iterations(cfg) for cfg in given], optim_wrapper)

    def _maybe_compile(self, target: str) -> None:
        """Compile the network, not the whole ``target``, where the config has ``compile=True`` or torch.compile's options."""
        options = self.cfg.get("compile") or False
        if options is False:
            return
        self.logger.info("compile: the network is being compiled, which makes the first steps slow")
        reason = compile_network(self.bare_model, {} if options is True else dict(options))
        self.compiled = reason is None
        if reason:
            self.logger.warning(f"compile: training goes on uncompiled, since compiling fails here: {reason}")

    def training_step(self) -> Callable[..., dict[str, Tensor]]:
        """The model's ``train_step``, or on one GPU, where the config has ``cuda_graph=True``, the same captured and replayed."""
        if not self.cfg.get("cuda_graph") or default_device().type != "cuda":
            return self.model.train_step
        if reason := hindrance(self.model, self.optim_wrapper, self.train_dataloader):
            self.logger.info(f"cuda_graph: not used, since {reason}")
            return self.model.train_step
        return GraphedStep(
            self.bare_model, lambda losses, samples: self.call_hook("after_losses", losses=losses, data_samples=samples))

    def _init_model_weights(self) -> None:
        """Initialise, and look for pretrained weights, unless all weights come from a checkpoint anyway."""
        if self._resume_path is not None:
            return
        _lay_out(self.model, torch.contiguous_format)  # random numbers are drawn in memory order
        super()._init_model_weights()
        _lay_out(self.model, torch.channels_last)
        if self._load_from is None:
            _check_frozen(self.bare_model)

    @cached_property
    def _resume_path(self) -> Path | None:
        """The checkpoint to resume from: the one named, else the work_dir's newest whole one, else None.

        The main process chooses for all.

        Raises:
            UserError: there is none that is whole, though there are some.
        """
        chosen: list[Any] = [None, None]
        if self._resume and is_main_process():
            chosen = self._choose()
        broadcast_object_list(chosen)
        path, error = chosen
        if error:
            raise UserError(error)
        return path

    def _choose(self) -> list[Any]:
        """The path or None, and what is wrong or None."""
        candidates = [Path(self._load_from)] if self._load_from else resume_candidates(self.work_dir)
        try:
            path, troubles = newest_readable(candidates) if candidates else (None, [])
        except UserError as error:
            return [None, str(error)]
        for trouble in troubles:
            self.logger.warning(f"resume: {trouble}")
        if troubles:
            self.logger.warning(f"resume: {path} is taken instead, the newest that is whole")
        return [path, None]

    def train(self) -> nn.Module:
        """As mmengine's; a run that was stopped by a signal ends with ``SystemExit(128 + signal)`` after its checkpoint.

        Raises:
            UserError: another run writes to the work_dir.
        """
        if self.distributed:
            self.logger.info(
                f"{self.world_size} processes over {torch.distributed.get_backend()}; one that waits for the others longer than "
                f"{self._timeout} s ends the job (env_cfg.dist_cfg.timeout); each takes a batch of its own, the learning rate is "
                "not scaled, and the losses in the log are those of the first"
            )
        with sole_writer(self.work_dir) if is_main_process() else contextlib.nullcontext():
            model = super().train()
        stopped_by = getattr(self.train_loop, "stopped_by", 0)
        if stopped_by:
            agree(0)  # one that left earlier would be taken for dead, and the one that still writes be killed
            self.logger.warning(f"stopped by {signal.Signals(stopped_by).name} after iteration {self.iter}; go on by --resume")
            raise SystemExit(128 + stopped_by)
        return model

    def dump_config(self) -> None:
        """Nothing: mmengine's would put the config of each test, and of a run that is refused, in the place of the training's."""

    @master_only
    def keep_config(self) -> None:
        """Write the config of this training into the work_dir, such that it is a config for another one: it resumes nothing, and
        begins with the weights that this one began with. Called by itself, or where it replaces an earlier run when that goes."""
        config = copy.deepcopy(self.cfg)
        path = Path(self.work_dir, Path(self.cfg.filename).name if self.cfg.filename else f"{self.timestamp}.py")
        config.resume = False
        if self._resume:
            config.load_from = None
        if self._resume_path is not None:
            with contextlib.suppress(Exception):  # none is there, or a user's own
                config.load_from = Config.fromfile(path).get("load_from")
        config.dump(path)

    def load_or_resume(self) -> None:
        """Load or resume, once; ``resume`` without a checkpoint in the work_dir starts afresh and says so."""
        if self._has_loaded:  # type: ignore[has-type]
            return
        path = self._resume_path
        if path is not None:
            self.resume(str(path))
        elif self._resume:
            self.logger.warning(f"resume: no latest.pth in {self.work_dir}; training starts afresh")
        elif self._load_from is not None:
            in_training = isinstance(self._train_loop, BaseLoop)  # where a head for other classes may be left out
            checkpoint = self.load_checkpoint(self._load_from, strict=not in_training)
            if in_training:
                self._warn_of_trained_images(checkpoint)
            self.init_source = named_source(self._load_from)
        self._has_loaded = True
        if self.distributed and isinstance(self._train_loop, BaseLoop):
            check_same(self._facts())
        replaces = any(isinstance(hook, ReplaceRunHook) for hook in self._hooks)
        if isinstance(self._train_loop, BaseLoop) and not replaces:  # what could refuse this training has had its say
            self.keep_config()

    def _warn_of_trained_images(self, checkpoint: dict[str, Any]) -> None:
        """Tell of images to be scored on that the weights to begin with were trained on: nothing could be chosen by them."""
        with contextlib.suppress(UserError):  # a checkpoint of somebody else's
            written = embedded_config(checkpoint, "the checkpoint") or {}
            for loader in ("val_dataloader", "test_dataloader"):
                for line in trained_images(written, self.cfg, loader).warnings(loader):
                    self.logger.warning(line)

    def _facts(self) -> dict[str, Any]:
        """What must be the same in every process; paths may differ from machine to machine."""
        config = leaves(json.loads(config_json(self.cfg)))
        facts = {k: v for k, v in config if not k.startswith(OF_THE_CALL) and not (isinstance(v, str) and os.sep in v)}
        weights = 0
        for tensor in self.bare_model.state_dict().values():
            weights = zlib.crc32(tensor.cpu().contiguous().flatten().view(torch.uint8).numpy(), weights)
        wrapper, device = self.optim_wrapper, default_device().type
        number_format = wrapper.computes_in(device) if isinstance(wrapper, AutocastOptimWrapper) else None
        return {**facts, "torch": torch.__version__, "mmseg": __version__, "CRC-32 of the weights": weights,
                "training images": len(self.train_dataloader.dataset), "number format of this device": number_format}

    def load_checkpoint(self, filename: str, map_location: Any = "cpu", strict: bool = True, **_: Any) -> dict[str, Any]:
        """Load weights; see :func:`load_weights`."""
        checkpoint = read_checkpoint(filename, map_location)
        if found := reordered_classes(self.cfg, checkpoint.get("meta") or {}):
            self._tell_of_other_order(filename, *found)
        self.call_hook("after_load_checkpoint", checkpoint=checkpoint)
        load_weights(self.bare_model, checkpoint["state_dict"], filename, strict)
        self.logger.info(f"weights loaded from {filename}")
        return checkpoint

    def _tell_of_other_order(self, filename: str, theirs: list[str], ours: list[str]) -> None:
        """Raise a UserError where channels would be scored as other lesions; a training may go on and learn."""
        what = f"{filename}: got channels in the order {', '.join(theirs)}, expected {', '.join(ours)} as in the data set"
        if not isinstance(self._train_loop, BaseLoop):
            raise UserError(f"{what}; score its probabilities in that order by tools/test.py --predictions (docs/migration.md)")
        self.logger.warning(f"{what}: each classifier begins with the weights of another lesion")

    def resume(self, filename: str, *_: Any, **__: Any) -> None:
        """Continue a run: weights, optimiser, schedules, iteration, sampler position, random state and logged means.

        What the checkpoint and the configuration have otherwise is listed, with the one of both that is used.

        Raises:
            UserError: the checkpoint is damaged, no state of a run, or of a run with another model, optimiser or schedules.
        """
        checkpoint = self.load_checkpoint(filename)
        check_resumable(checkpoint, filename)
        if "raw_state_dict" in checkpoint:  # no EMAHook took it
            self.logger.warning("resume: the averaged weights of the checkpoint are dropped, since the config has no EMAHook")
            load_weights(self.bare_model, checkpoint["raw_state_dict"], filename)
        meta = checkpoint["meta"]
        differences = config_differences(checkpoint, self.cfg) + self._restore_training(checkpoint, filename)
        if meta["seed"] != self.seed:
            differences.append(f"randomness.seed: {meta['seed']} of the checkpoint is used, not {self.seed} of the config")
            self.set_randomness(**{**self._randomness_cfg, "seed": meta["seed"]})
            self._reseed_sampler(meta["seed"])
        if len(checkpoint["rng"]) != self.world_size:
            differences.append(f"processes: {self.world_size} now, {len(checkpoint['rng'])} of the checkpoint; the run goes on, "
                               "but not bit for bit")
        if "cuda" in checkpoint["rng"][0]["torch"] and default_device().type == "cpu":
            differences.append("device: the checkpoint was written on a GPU, and this run is on the CPU, many times slower")
        self.train_loop._iter = meta["iter"]
        restore_log_window(self.message_hub, checkpoint.get("log_window", {}))
        if self.rank < len(checkpoint["rng"]):
            self.register_hook(ResumeRandomStateHook(checkpoint["rng"][self.rank]))
            self.train_loop.state_to_save = checkpoint["rng"][self.rank]
        self.init_source = meta["init"]
        if differences:
            self.logger.warning("resume: the checkpoint and the config differ:\n  " + "\n  ".join(differences))
        self.logger.info(f"resumed at iteration {meta['iter']} from {filename}")

    def _restore_training(self, checkpoint: dict[str, Any], filename: str) -> list[str]:
        """Load the states of optimiser and schedules; tells which of their settings the configuration has otherwise."""
        schedules, kept = self.param_schedulers or [], checkpoint["param_schedulers"]
        if len(schedules) != len(kept):
            raise UserError(
                f"{filename}: was written with {len(kept)} schedules, but param_scheduler has {len(schedules)}; resume with the "
                "config of that run, or start from the weights by --load-from"
            )
        differences: dict[str, None] = {}
        for built, group in zip(self.optim_wrapper.param_groups, checkpoint["optimizer"]["param_groups"], strict=False):
            differences |= dict.fromkeys(state_differences("optim_wrapper.optimizer", group, built))
        try:
            self.optim_wrapper.load_state_dict(checkpoint["optimizer"])
        except ValueError as error:
            raise UserError(f"{filename}: its optimiser does not fit this one ({error}); start by --load-from") from error
        for i, (schedule, state) in enumerate(zip(schedules, kept, strict=True)):
            differences |= dict.fromkeys(state_differences(f"param_scheduler.{i}", state, schedule.state_dict()))
            schedule.load_state_dict(state)
        check_rate_lasts(schedules, self.max_iters, filename)
        return list(differences)

    def _reseed_sampler(self, seed: int) -> None:
        sampler = self.train_dataloader.sampler
        if hasattr(sampler, "seed"):
            sampler.seed = seed
            sampler.skip(0)

    def save_checkpoint(
        self, out_dir: str, filename: str, *_: Any, iteration: int | None = None, metrics: dict | None = None,
        latest: bool = False, meta: dict | None = None, **__: Any,
    ) -> Path:
        """Write a checkpoint; every process must call this, the main one writes. What mmengine's takes beside is accepted.

        Args:
            out_dir: folder.
            filename: in that folder.
            iteration: how many iterations are done; by default what ``meta`` says, or the one that is at hand.
            metrics: of the validation that this checkpoint is kept for.
            latest: make ``latest.pth`` in that folder the same file.
            meta: as mmengine's hooks give it; of its entries ``iter`` is read.

        Returns:
            the path written.

        Raises:
            UserError: the file cannot be written, or a step before was not finite.
        """
        path = Path(out_dir, filename)
        done = int((meta or {}).get("iter", self.iter + 1)) if iteration is None else iteration
        self.call_hook("fetch")
        rng = all_gather_object(getattr(self.train_loop, "state_to_save", None) or capture_random_state())
        if not is_main_process():
            return path
        checkpoint = dict(
            state_dict=weights_to_cpu(self.bare_model.state_dict()),
            optimizer=self.optim_wrapper.state_dict(),
            param_schedulers=[s.state_dict() for s in self.param_schedulers or []],
            rng=rng,
            log_window=capture_log_window(self.message_hub, self.log_processor),
            meta=self.describe(done, metrics),
        )
        self.call_hook("before_save_checkpoint", checkpoint=checkpoint)
        write_checkpoint(checkpoint, path, latest)
        self.logger.info(f"checkpoint written: {path}")
        return path

    def describe(self, iteration: int, metrics: dict | None = None) -> dict[str, Any]:
        """What describes a checkpoint, of JSON's types only.

        Raises:
            UserError: the configuration, or the data set, cannot be described.
        """
        dataset = self.train_dataloader.dataset
        info = getattr(dataset, "metainfo", None) or {}
        if lacking := [key for key in ("classes", "palette") if not info.get(key)]:
            raise UserError(
                f"train_dataloader.dataset: got a {type(dataset).__name__} whose metainfo has no {', '.join(lacking)}, which "
                "checkpoints carry; give it metainfo=dict(classes=(...), palette=[(red, green, blue), ...])")
        meta = dict(
            format_version=FORMAT_VERSION,
            iter=iteration,
            seed=self.seed,
            config_name=Path(self.cfg.filename).stem if self.cfg.filename else None,
            config_json=config_json(self.cfg),
            classes=list(info["classes"]),
            palette=[list(colour) for colour in info["palette"]],
            thresholds=self.bare_model.lesion_thresholds(self.bare_model.shown_classes(info)[0]),
            metrics={name: float(value) for name, value in (metrics or {}).items()},
            init=getattr(self, "init_source", None) or _first_weights(self.bare_model),
            versions=dict(
                mmseg=__version__, torch=torch.__version__, mmengine=mmengine.__version__, numpy=np.__version__
            ),
            time=time.strftime("%Y-%m-%d %H:%M:%S"),
        )
        return json.loads(json.dumps(meta))  # a round trip turns torch's version object into text

    @property
    def bare_model(self) -> BaseSegmentor:
        """The model without what wraps it for distributed training."""
        return cast(BaseSegmentor, self.model.module if is_model_wrapper(self.model) else self.model)


def _first_weights(model: nn.Module) -> str:
    """The files that initialisers have read, or 'scratch'."""
    files = dict.fromkeys(getattr(module, "init_source", "scratch") for module in model.modules())
    return ", ".join(file for file in files if file != "scratch") or "scratch"


def _check_frozen(model: nn.Module) -> None:
    """See that nothing stays as it was drawn at random.

    Raises:
        UserError: the file of a module's first weights is not there, and its weights or statistics are not trained.
    """
    for name, module in model.named_modules():
        asked = getattr(module, "init_cfg", None) or ()
        from_file = any(cfg.get("type") == "Pretrained" for cfg in (asked if isinstance(asked, (list, tuple)) else (asked,)))
        kept = getattr(module, "norm_eval", False) or not all(parameter.requires_grad for parameter in module.parameters())
        if from_file and kept and getattr(module, "init_source", None) == "scratch":
            raise UserError(
                f"model.{name}.init_cfg: its file is not there, and frozen_stages, norm_eval or norm_cfg.requires_grad keep "
                "random weights or statistics as they are; put the file there, or train them, too"
            )


def _lay_out(model: nn.Module, order: torch.memory_format) -> None:
    """Put the weights into a memory order, in place; torch's annotations do not know this form of ``to``."""
    model.to(memory_format=order)  # type: ignore[call-overload]


def load_weights(
    model: nn.Module, state_dict: dict[str, torch.Tensor], source: str | Path, strict: bool = True
) -> LoadReport:
    """Load weights into a model, whoever named them, and tell every difference at once.

    Args:
        model: to be filled.
        state_dict: tensors by name, see :func:`mmseg.compat.match_weights`.
        source: file name for the message.
        strict: differences are an error; else tensors that do not fit are left out, which is logged.

    Returns:
        what was loaded, renamed, left out and missing; logged where the names are another project's.

    Raises:
        UserError: names or shapes differ (strict), nothing fits at all, or a weight is not finite.
    """
    fitting, report = match_weights(state_dict, model.state_dict(), str(source))
    if broken := [name for name, tensor in fitting.items() if not torch.isfinite(tensor).all()]:
        more = f" and {len(broken) - 1} more" if len(broken) > 1 else ""
        raise UserError(f"{source}: holds numbers that are not finite, in {broken[0]}{more}: the training that wrote it had "
                        "diverged; take an earlier checkpoint")
    wrong = f"{source} does not fit the model: {report.differences}"
    if report.differences and (strict or not fitting):
        raise UserError(f"{wrong}. Was it trained with another config, or other classes?")
    logger = MMLogger.get_current_instance()
    if report.differences:
        logger.warning(f"{wrong}\n{report}")
    elif report.renamed or report.left_out:
        logger.info(str(report))
    model.load_state_dict(fitting, strict=False)
    return report
