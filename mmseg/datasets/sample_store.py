"""Where decoded samples are kept: in memory, or in one memory-mapped file."""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import json
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import torch
from mmengine.logging import print_log
from torch import Tensor
from torch.utils.data import get_worker_info

from mmseg.datasets import reading
from mmseg.datasets.lesion_dataset import LesionDataset
from mmseg.datasets.sampling import LesionPoints
from mmseg.structures import SegDataSample
from mmseg.utils.device import default_device
from mmseg.utils.errors import UserError
from mmseg.utils.locks import hold
from mmseg.utils.whole_files import flush_folder

__all__ = ["DiskStore", "Sample", "keep_in_memory"]

_VERSION = 1
"""Part of a disk store's key: raise it when what is written changes."""

_CHOOSING = frozenset({
    "_indices", "_split_by_folders", "ann_file", "data_root", "fold", "fold_seed", "held_out", "num_folds", "split", "split_dir",
    "split_seed",
})
"""Attributes of data sets that only choose records, whose files are a part of the key."""

_ABANDONED = 3600
"""Seconds without a change after which a half-written store is a killed process's, even where there are no locks."""


@dataclass
class Sample:
    """A decoded photograph.

    Attributes:
        image: uint8 ``(3, h, w)``, RGB.
        masks: uint8 ``(h, w)``, packed.
        data_sample: meta information, with ``lesion_points``.
    """

    image: Tensor
    masks: Tensor
    data_sample: SegDataSample


def keep_in_memory(samples: Iterable[Sample], device: torch.device) -> list[Sample]:
    """Samples in the memory of a device; on a machine with a GPU those in main memory are pinned.

    Args:
        samples: to be kept.
        device: where; lists of lesion pixels stay on the CPU, where places are drawn.
    """

    def keep(tensor: Tensor) -> Tensor:
        kept = tensor.to(device)
        return kept.pin_memory() if device.type == "cpu" and default_device().type == "cuda" else kept

    return [Sample(keep(sample.image), keep(sample.masks), sample.data_sample) for sample in samples]


class DiskStore:
    """Samples in one file that is mapped into memory, so that the system keeps what fits and reads the rest.

    Its folder is named by a digest of the source files (path, size, time of change) and the settings, which are the data set's
    attributes that are None, numbers, strings or lists of these: when any of them changes, another one is made. It is written
    under another name and renamed when it is whole and on the disk, so that a half-written one is never used.

    Args:
        folder: that holds ``samples.bin`` (for each sample image, masks and lesion pixels) and ``index.json``.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._index: list[dict[str, Any]] = json.loads((folder / "index.json").read_text())
        self._bytes = np.memmap(folder / "samples.bin", np.uint8, mode="c")  # torch knows no read-only memory

    def __reduce__(self) -> tuple[type[DiskStore], tuple[Path]]:
        """A worker that is not forked opens the file; pickled, the map would be copied whole."""
        return type(self), (self.folder,)

    @classmethod
    def of(cls, source: LesionDataset, cache_dir: Path, samples: Iterator[Sample]) -> DiskStore:
        """The store of a data set: the one that is there, or one made from ``samples``, which are decoded only then.

        Raises:
            UserError: it cannot be written, or a source file is missing.
        """
        folder = cls.folder_of(source, cache_dir)
        lock = folder.with_name(f".{folder.name}.lock")
        with contextlib.ExitStack() as stack:  # others of the run wait, and find it
            try:
                held = stack.enter_context(hold(lock, wait=False))
            except BlockingIOError:
                print_log(f"waiting for another process, which decodes into {folder}", logger="current")
                held = stack.enter_context(hold(lock))
            _remove_abandoned(folder, 0 if held else _ABANDONED)
            return cls._of(folder, samples)

    @staticmethod
    def folder_of(source: LesionDataset, cache_dir: Path) -> Path:
        """Where the store of a data set lies, or will lie.

        Raises:
            UserError: a source file is missing.
        """
        return cache_dir / f"{type(source).__name__}_{source_digest(source)}"

    @classmethod
    def _of(cls, folder: Path, samples: Iterator[Sample]) -> DiskStore:
        cache_dir = folder.parent
        if folder.is_dir():
            print_log(f"decoded before: {folder}", logger="current")
            return cls(folder)
        unfinished = folder.with_name(f".{folder.name}.{uuid4().hex}.new")  # containers share numbers of processes
        try:
            unfinished.mkdir()
            _write(unfinished, samples)
            with contextlib.suppress(OSError):  # another process was first: its store is as good
                unfinished.rename(folder)
            flush_folder(cache_dir)
        except OSError as error:
            raise UserError(
                f"{error.filename or unfinished}: the decoded samples cannot be written ({error.strerror}); "
                f"{shutil.disk_usage(cache_dir).free / 2**30:.1f} GiB are free there; make room, or name another cache_dir"
            ) from error
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
        print_log(f"decoded samples: {folder}", logger="current")
        return cls(folder)

    def __len__(self) -> int:
        return len(self._index)

    def __getitem__(self, idx: int) -> Sample:
        entry = self._index[idx]
        height, width = entry["size"]
        start, pixels = entry["start"], height * width
        data = torch.from_numpy(self._bytes[start : start + 4 * pixels + 4 * sum(entry["points"])])
        points = data[4 * pixels :].view(torch.int16).view(-1, 2).split(entry["points"])
        meta = {key: tuple(value) if isinstance(value, list) else value for key, value in entry["meta"].items()}
        sample = SegDataSample(metainfo=meta | dict(lesion_points=LesionPoints(points)))
        if get_worker_info() is None and default_device().type == "cuda":  # else the copy to the GPU would wait for it
            data = data[: 4 * pixels].pin_memory()
        return Sample(data[: 3 * pixels].view(3, height, width), data[3 * pixels : 4 * pixels].view(height, width), sample)


def source_digest(source: LesionDataset) -> str:
    """A digest of what a data set's decoded samples depend on: files, what each is taken for, settings, and the code.

    Raises:
        UserError: a file is missing.
    """
    modules = {reading.__file__, *(_source_file(kind) for kind in type(source).__mro__ if issubclass(kind, LesionDataset))}
    code = [hashlib.sha256(Path(file).read_bytes()).hexdigest() for file in sorted(filter(None, modules))]
    own = {name: value for name, value in sorted(vars(source).items()) if name not in _CHOOSING and _is_plain(value)}
    settings = dict(version=_VERSION, own=own, label_map=source.LABEL_MAP_CLASSES, code=code)
    files = []
    for i in range(len(source)):
        info = source.get_data_info(i)
        roles = {"image": info["img_path"], "labels": info.get("label_path"), **info.get("mask_paths", {})}
        for role, path in roles.items():
            if path:
                try:
                    state = Path(path).stat()
                except OSError as error:
                    raise UserError(f"{path}: cannot be read ({error.strerror})") from error
                files.append([role, str(Path(path).resolve()), state.st_size, state.st_mtime_ns])
    return hashlib.sha256(json.dumps([settings, files]).encode()).hexdigest()[:16]


def _is_plain(value: Any) -> bool:
    if isinstance(value, (tuple, list)):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, (str, int, float))


def _remove_abandoned(folder: Path, least: float) -> None:
    """Remove what killed processes have left of the store ``folder`` and was not changed for so many seconds."""
    for left in folder.parent.glob(f".{folder.name}.*.new"):
        with contextlib.suppress(OSError):
            changed = max(path.stat().st_mtime for path in (left, *left.iterdir()))
            if time.time() - changed >= least:
                shutil.rmtree(left)


def _source_file(kind: type) -> str | None:
    """Where a class is written down; None of one that was typed in."""
    try:
        return inspect.getsourcefile(kind)
    except (OSError, TypeError):
        return None


def _write(folder: Path, samples: Iterator[Sample]) -> None:
    index, position = [], 0
    with (folder / "samples.bin").open("wb") as file:
        for sample in samples:
            meta = dict(sample.data_sample.metainfo)
            points: list[Tensor] = meta.pop("lesion_points")
            for part in (sample.image, sample.masks, *points):
                file.write(part.numpy().tobytes())
            padding = -file.tell() % 2  # the next sample's lesion pixels are of two bytes
            file.write(bytes(padding))
            index.append(dict(start=position, size=list(sample.masks.shape), points=[len(p) for p in points], meta=meta))
            position = file.tell()
        file.flush()
        os.fsync(file.fileno())
    with (folder / "index.json").open("w") as text:
        json.dump(index, text)
        text.flush()
        os.fsync(text.fileno())
    flush_folder(folder)
