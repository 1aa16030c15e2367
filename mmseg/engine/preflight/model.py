"""The parts of a configuration, built one by one: what their constructors say of wrong values, all at once."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmengine.optim import build_optim_wrapper
from mmengine.runner.priority import Priority, get_priority
from mmengine.structures import PixelData
from torch import nn

from mmseg.engine.dataset_info import dataset_is_known, dataset_metainfo, model_settings, trained_leaf, trains_on_lesions
from mmseg.engine.preflight.config import dig
from mmseg.engine.preflight.finding import ERROR, WARNING, Finding, build_or_finding
from mmseg.engine.preflight.keys import LOADERS
from mmseg.engine.preflight.splits import heard
from mmseg.evaluation import LesionMetric
from mmseg.models import SegDataPreProcessor
from mmseg.registry import DATA_SAMPLERS, HOOKS, METRICS, MODELS, PARAM_SCHEDULERS, find_class, find_subclass
from mmseg.structures import IGNORE, LESIONS, SegDataSample
from mmseg.utils.errors import nearest

__all__ = ["Parts", "build_parts", "class_findings"]

_HEADS = ("decode_head", "refine_head", "auxiliary_head")


class Parts:
    """What could be built of a configuration, and what was said of the rest.

    Args:
        config: the configuration; its keys are checked already.
        skip: keys of findings, whose parts need no second one.
    """

    def __init__(self, config: Config, skip: Sequence[str] = ()) -> None:
        self.config, self.findings = config, list[Finding]()
        self._skip = tuple(skip)
        self.model: Any = self._build(
            "model",  # of one process, which has nobody to be in step with
            lambda _: revert_sync_batchnorm(MODELS.build(model_settings(config))), "data_preprocessor")
        self.optim_wrapper: Any = None
        if self.model is not None:
            self.findings += class_findings(self.model, config)
            self.optim_wrapper = self._build("optim_wrapper", lambda cfg: build_optim_wrapper(self.model, cfg))
        if self.optim_wrapper is not None:
            for i, cfg in enumerate(_listed(config.get("param_scheduler"))):
                self._attempt(f"param_scheduler.{i}", lambda cfg=cfg: self._scheduler(cfg))
        self._build_hooks_and_samplers()

    def _build_hooks_and_samplers(self) -> None:
        hooks = self.config.get("default_hooks")
        for key, cfg in hooks.items() if isinstance(hooks, dict) else ():
            self._attempt(f"default_hooks.{key}", lambda cfg=cfg: _build_hook(cfg))
        for i, cfg in enumerate(_listed(self.config.get("custom_hooks"))):
            self._attempt(f"custom_hooks.{i}", lambda cfg=cfg: _build_hook(cfg))
        for loader in LOADERS:
            sampler = dig(self.config, f"{loader}.sampler")
            kind = find_class(DATA_SAMPLERS, sampler.get("type")) if isinstance(sampler, dict) else None
            if getattr(kind, "__module__", "").startswith(("mmengine.", "torch.", "mmseg.")):  # others may ask for the data
                self._attempt(f"{loader}.sampler", lambda cfg=sampler: DATA_SAMPLERS.build(cfg, default_args=dict(dataset=[0])))
        best = dig(self.config, "default_hooks.checkpoint.save_best")
        for key in ("val_evaluator", "test_evaluator"):
            metrics = [
                self._attempt(f"{key}.{i}", lambda cfg=cfg: METRICS.build(cfg))
                for i, cfg in enumerate(_listed(self.config.get(key)))
            ]
            if key == "val_evaluator" and isinstance(best, str) and None not in metrics:
                names = dataset_metainfo(self.config)["classes"] if trains_on_lesions(self.config) else LESIONS
                self.findings += _best_findings(best, metrics, names)

    def _scheduler(self, cfg: dict[str, Any]) -> Any:
        """With the end that mmengine's runner gives it."""
        end = {} if cfg.get("end") is not None else {"end": dig(self.config, "train_cfg.max_iters") or 1}
        return PARAM_SCHEDULERS.build({**cfg, **end, "optimizer": self.optim_wrapper, "by_epoch": False})

    def _build(self, key: str, build: Any, *also: str) -> Any:
        cfg = self.config.get(key)
        if not isinstance(cfg, dict) or any(s.startswith((key, *also)) for s in self._skip):
            return None
        return self._attempt(key, lambda: build(cfg))

    def _attempt(self, where: str, build: Any) -> Any:
        if any(s.startswith(where) for s in self._skip):
            return None
        built = build_or_finding(build, where)
        if not isinstance(built, Finding):
            return built
        self.findings.append(built)
        return None


def build_parts(config: Config, skip: Sequence[str] = ()) -> Parts:
    """Build every part; the random state is left as it was."""
    with torch.random.fork_rng(devices=[]), contextlib.redirect_stdout(io.StringIO()):
        return Parts(config, skip)


def class_findings(model: Any, config: Config, loaders: Sequence[str] = LOADERS) -> Iterator[Finding]:
    """Heads and targets must agree with the data on the number of classes and on their kind, before any data is read.

    Args:
        model: of the configuration.
        config: whose data and evaluators are looked at.
        loaders: those that will be used.
    """
    evaluators = [loader.replace("dataloader", "evaluator") for loader in loaders if loader != "train_dataloader"]
    multi_label = getattr(model, "multi_label", None)
    if multi_label is None or not dataset_is_known(config):
        return
    names, of_lesions = dataset_metainfo(config)["classes"], trains_on_lesions(config)
    dataset = trained_leaf(config).settings
    expected, target = (len(names), "multilabel") if multi_label else (len(names) + of_lesions, "index")
    kind = "multi_label=True (one channel a lesion)" if multi_label else "softmax (background and the lesions)"
    if not of_lesions:
        kind = f"softmax over the classes of {dataset.get('type')}"
    for name, head in _heads(model):
        if getattr(head, "num_classes", expected) != expected:
            severity = WARNING if name.startswith("auxiliary_head.") else ERROR  # one of several may learn something else
            yield Finding(severity, f"{name}.num_classes", f"{head.num_classes}", f"{expected} for {kind}")
    if of_lesions and getattr(model, "is_argmax", False):
        for where in _lesion_metrics(config, evaluators):
            yield Finding(ERROR, where, "LesionMetric with model.test_cfg.thresholds=None", "IoUMetric, or thresholds",
                          "it scores the probabilities of the lesions alone, and there the background has one, too")
    if multi_label and not of_lesions:
        yield Finding(ERROR, "multi_label", "True", f"False: {dataset.get('type')} has one index map an image")
    if not multi_label and not of_lesions and not getattr(model, "is_argmax", True):
        yield Finding(WARNING, "model.test_cfg.thresholds", f"{model.test_cfg.get('thresholds', 0.5)}",
                      "None: with thresholds a pixel is of class 0 wherever no other class exceeds its own")
    given = getattr(model.data_preprocessor, "target", target)
    if given != target:
        yield Finding(ERROR, "data_preprocessor.target", f"{given!r}", f"{target!r} for {kind}")
    if isinstance(model.data_preprocessor, SegDataPreProcessor):
        if of_lesions:
            yield Finding(ERROR, "data_preprocessor.type", "'SegDataPreProcessor'", "'LesionDataPreprocessor' for data sets of "
                          "lesions, whose masks come packed and without augmentation")
        elif model.data_preprocessor.takes_bgr and not dataset.get("pipeline"):
            yield Finding(ERROR, "data_preprocessor.bgr_to_rgb", "True",
                          "False: without a pipeline of their own data sets give RGB")
    else:
        yield from _ignore_findings(model, config, evaluators)
        yield from _crop_findings(model)


def _crop_findings(model: Any) -> Iterator[Finding]:
    """Images are padded to whole cells when they are predicted; crops must be of whole cells, too."""
    divisor = getattr(model, "size_divisor", 1)
    for i, transform in enumerate(getattr(model.data_preprocessor, "train_transforms", ())):
        size = getattr(transform, "crop_size", None) or ()
        if any(side % divisor for side in size):
            where = f"data_preprocessor.train_transforms.{i}.crop_size"
            yield Finding(WARNING, where, f"{tuple(size)}", f"multiples of {divisor}, of model.size_divisor",
                          "on others the network learns a place for its maps that they do not have in a test")


def _lesion_metrics(config: Config, evaluators: Sequence[str]) -> Iterator[str]:
    for key in evaluators:
        for i, cfg in enumerate(_listed(config.get(key))):
            if isinstance(cfg, dict) and find_subclass(METRICS, cfg.get("type"), LesionMetric):
                yield f"{key}.{i}"


def _heads(model: Any) -> Iterator[tuple[str, Any]]:
    """Every head with its key; of a list each."""
    for name in _HEADS:
        head = getattr(model, name, None)
        if isinstance(head, nn.ModuleList):
            yield from ((f"{name}.{i}", one) for i, one in enumerate(head))
        elif head is not None:
            yield name, head


def _ignore_findings(model: Any, config: Config, evaluators: Sequence[str]) -> Iterator[Finding]:
    """Masks and maps come with 255 where nothing counts, whatever a data set's files have there."""
    given = {f"{name}.ignore_index": getattr(head, "ignore_index", IGNORE) for name, head in _heads(model)}
    for key in evaluators:
        for i, cfg in enumerate(_listed(config.get(key))):
            given[f"{key}.{i}.ignore_index"] = cfg.get("ignore_index", IGNORE) if isinstance(cfg, dict) else IGNORE
    for key, value in given.items():
        if value != IGNORE:
            yield Finding(ERROR, key, f"{value!r}", f"{IGNORE}: the data set's own ignore_index makes its value {IGNORE}, and "
                          "what lies outside of an image is, too")


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [] if value is None else [value]


def _build_hook(cfg: Any) -> Any:
    if isinstance(cfg, dict) and "priority" in cfg:
        try:
            get_priority(cfg["priority"])
        except (KeyError, ValueError, TypeError):
            names = ", ".join(priority.name for priority in Priority)
            raise ValueError(f"priority: got {cfg['priority']!r}, expected a number from 0 to 100 or one of {names}") from None
    return HOOKS.build({k: v for k, v in cfg.items() if k != "priority"}) if isinstance(cfg, dict) else cfg


def _best_findings(best: str, metrics: list[Any], lesions: Sequence[str]) -> Iterator[Finding]:
    """Whether a metric gives the score by which the best checkpoint is chosen."""
    told = [_score_names(metric, lesions) for metric in metrics]
    names = set[str]().union(*told)
    if told and all(told) and best not in names:
        some = ", ".join(sorted(names)[:6])
        yield Finding(
            ERROR, "default_hooks.checkpoint.save_best", f"{best!r}", f"a score of val_evaluator ({some}, ...)",
            nearest(best, names, likeness=0.3).removeprefix("; "),
        )


def _score_names(metric: Any, lesions: Sequence[str]) -> set[str]:
    """Which scores a metric gives, told by itself: of one small image in which every lesion is found; empty if it will not."""
    truth = torch.zeros(len(lesions), 8, 8, dtype=torch.uint8)
    truth[:, 2:5, 2:5] = 1
    sample = SegDataSample(
        gt_sem_seg=PixelData(data=truth), probabilities=PixelData(data=truth.float() * 0.9),
        pred_sem_seg=PixelData(data=truth[:1]), metainfo=dict(img_path="image.png", image_id="image", ori_shape=(8, 8)),
    )
    try:
        metric.dataset_meta, metric.out_dir = dict(classes=tuple(lesions), palette=[(0, 0, 0)] * len(lesions)), None
        with heard():
            metric.process({}, [sample.to_dict()])
            return set(metric.evaluate(1))
    except Exception:  # a metric of the user's that wants more than this
        return set()
