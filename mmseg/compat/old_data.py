"""The data of a 0.x configuration: loaders, data sets, and the data preprocessor that its pipelines become."""

from __future__ import annotations

from typing import Any

from mmseg.compat.notes import Notes
from mmseg.compat.old_pipeline import Pipeline, read_pipeline
from mmseg.datasets.leaves import leaf_datasets
from mmseg.registry import DATASETS
from mmseg.utils.errors import UserError

__all__ = ["has_lesions", "upgrade_data"]

_ROLES = ("train", "val", "test")


def upgrade_data(old: dict[str, Any], notes: Notes) -> dict[str, Any]:
    """The new loaders and ``data_preprocessor``; empty where the configuration has no ``data``.

    Raises:
        UserError: what is not possible here.
    """
    data = dict(old.get("data") or {})
    of_tests = (old.get("model") or {}).get("test_cfg") or {}
    new: dict[str, Any] = {}
    given = dict(batch_size=data.pop("samples_per_gpu", None), num_workers=data.pop("workers_per_gpu", None))
    given = {key: value for key, value in given.items() if value is not None}
    if given:
        notes.became("data.samples_per_gpu, workers_per_gpu", "train_dataloader.batch_size, num_workers")
    for role in _ROLES:
        if role in data:
            loader, pipeline = _loader(data.pop(role), role, given, notes)
            new[f"{role}_dataloader"] = loader
            if role == "train":
                new["data_preprocessor"] = dict(
                    type="LesionDataPreprocessor", mean=pipeline.mean, std=pipeline.std, target=_target(old),
                    train_transforms=pipeline.transforms())
            elif role == "test" and pipeline.flips and "flips" not in of_tests:
                new["model"] = dict(test_cfg=dict(flips=pipeline.flips))
            notes.became(f"data.{role}", f"{role}_dataloader.dataset")
        elif role == "train" and given:
            new["train_dataloader"] = given
    for key in data:
        notes.dropped(f"data.{key}", "no counterpart: set the loader's own arguments, such as train_dataloader.num_workers")
    return new


def has_lesions(dataset: dict[str, Any]) -> bool:
    """Whether a data set is one of lesions, which have a mask each; otherwise one of index maps."""
    return next(leaf_datasets(dataset)).has_lesions


def _target(old: dict[str, Any]) -> str:
    """A 0.x configuration means a softmax over an index map, unless one of this project's arguments says otherwise."""
    heads = (old.get("model") or {}).get("decode_head") or {}
    first = heads[-1] if isinstance(heads, list | tuple) else heads
    return "multilabel" if first.get("multi_label") else "index"


def _loader(old: Any, role: str, given: dict[str, Any], notes: Notes) -> tuple[dict[str, Any], Pipeline]:
    training = role == "train"
    dataset, pipeline = _dataset(old, role, "data.train" if training else "data.val, test", notes)
    if not training and pipeline.others:
        named = ", ".join(str(step.get("type")) for step in pipeline.others)
        raise UserError(f"data.{role}.pipeline: got {named}, which has no counterpart when a model is tested; take it out, or "
                        "write a data set that does it")
    sampler = dict(type="InfiniteSampler", shuffle=True) if training else dict(type="DefaultSampler", shuffle=False)
    size = given if training else {**given, "batch_size": 1}
    if training and has_lesions(dataset) and given.get("num_workers"):
        size = {**size, "num_workers": 0}
        notes.dropped("data.workers_per_gpu of the training", "its images are kept in memory, which needs none")
    return dict(**size, sampler=sampler, dataset=dataset), pipeline


def _dataset(old: Any, role: str, where: str, notes: Notes) -> tuple[dict[str, Any], Pipeline]:
    """A data set with what is around it, and what its pipeline says."""
    if isinstance(old, dict) and old.get("type") == "ConcatDataset":
        old = old.get("datasets")
    if not old or not isinstance(old, dict | list | tuple):
        raise UserError(f"{where}: got {old!r}, expected a data set")
    if not isinstance(old, dict):
        parts = [_dataset(part, role, f"{where}.{i}", notes) for i, part in enumerate(old)]
        for i, (_, pipeline) in enumerate(parts):
            if pipeline.of_the_batch() != parts[0][1].of_the_batch():
                raise UserError(f"{where}.{i}.pipeline: differs from {where}.0.pipeline in more than its size: crops, flips, "
                                "colours and normalisation are the same for all images of a batch here; make them the same")
        return dict(type="ConcatDataset", datasets=[dataset for dataset, _ in parts]), parts[0][1]
    if old.get("type") == "RepeatDataset":
        notes.dropped(f"{where}:RepeatDataset", "training goes over the data without end")
        return _dataset(old.get("dataset"), role, where, notes)
    if "type" not in old:
        raise UserError(f"{where}.type: missing")
    old = dict(old)
    pipeline = read_pipeline(old.pop("pipeline", ()), f"{where}.pipeline", notes)
    if old["type"] == "CustomDataset":
        old["type"] = "BaseSegDataset"
        notes.became(f"{where}.type='CustomDataset'", "BaseSegDataset")
    new = (_lesions if has_lesions(old) else _index_maps)(old, pipeline, role, where, notes)
    return new, pipeline


def _lesions(old: dict[str, Any], pipeline: Pipeline, role: str, where: str, notes: Notes) -> dict[str, Any]:
    """A data set of this project: it knows its folders, and is kept in memory for training."""
    kind = old.pop("type")
    needless = ("img_dir", "ann_dir", "img_suffix", "seg_map_suffix", "split", "classes", "palette")
    for key in [key for key in needless if key in old]:
        del old[key]
        notes.dropped(f"{where}.{key}", f"{kind} finds its files below data_root and knows its classes (docs/datasets.md)")
    known = getattr(DATASETS.get(kind), "SPLITS", ())
    split = "train" if role == "train" else "valid" if role == "val" and "valid" in known else "test"
    if role == "val":
        notes.became(f"{where}'s images", f"those of split={split!r}")
    inner = dict(type=kind, split=split, **old)
    if role != "train":
        return {"size": pipeline.size, **inner, "test_mode": True}
    return dict(type="ResidentDataset", size=pipeline.size, dataset=inner)


def _index_maps(old: dict[str, Any], pipeline: Pipeline, role: str, where: str, notes: Notes) -> dict[str, Any]:
    """A data set of mmsegmentation's kind."""
    new = dict(type=old.pop("type"))
    for key in ("img_dir", "ann_dir", "split"):
        if isinstance(old.get(key), list | tuple):
            raise UserError(f"{where}.{key}: got {len(old[key])} of them, expected one: write a data set for each, in a list")
    names = (("img_dir", "img_path"), ("ann_dir", "seg_map_path"))
    folders = {new_name: old.pop(name) for name, new_name in names if name in old}
    meta = {key: old.pop(key) for key in ("classes", "palette") if old.get(key) is not None}
    if isinstance(meta.get("classes"), str):
        raise UserError(f"{where}.classes: got the file {meta['classes']!r}, expected the names themselves")
    given = dict(data_prefix=folders, metainfo=meta, ann_file=old.pop("split", None), size=pipeline.size)
    new.update({key: value for key, value in given.items() if value})
    notes.became(f"{where}.img_dir, ann_dir, split, classes, palette", "data_prefix, ann_file, metainfo")
    if pipeline.reduce_zero_label:
        old["reduce_zero_label"] = True
    for key in [key for key in ("file_client_args", "gt_seg_map_loader_cfg", "test_mode") if key in old]:
        del old[key]
        notes.dropped(f"{where}.{key}", "files are read from the disk")
    return {**new, **old, **({} if role == "train" else {"test_mode": True})}
