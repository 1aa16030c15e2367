"""Decode once: a data set that stays at hand at the training resolution."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import get_world_size
from mmengine.logging import print_log
from mmengine.utils import ProgressBar
from torch.utils.data import Dataset, get_worker_info

from mmseg.datasets.lesion_dataset import LesionDataset
from mmseg.datasets.sample_store import DiskStore, Sample, keep_in_memory
from mmseg.datasets.sampling import LesionPoints, lesion_points
from mmseg.registry import DATASETS
from mmseg.structures import pack_masks
from mmseg.utils.device import default_device, free_memory, local_processes
from mmseg.utils.errors import UserError
from mmseg.utils.memory import available_memory
from mmseg.utils.paths import home_path, make_folder

__all__ = ["ResidentDataset", "free_places"]

CACHES = ("auto", "device", "host", "disk")
SHARE = 0.5
"""Of the free memory that 'auto' takes at most: the network needs the rest."""


@DATASETS.register_module()
class ResidentDataset(Dataset):
    """Every sample of a :class:`LesionDataset`, decoded once, reduced by area, kept as uint8 (masks one bit a lesion).

    Decoding a 12-megapixel photograph with its masks takes a large part of a second; a training step asks for several. Kept
    at 1440x956, IDRiD's 54 training images need 0.3 GB.

    Args:
        dataset: configuration of the data set to keep, or the data set itself.
        size: box ``(width, height)`` in pixels into which images are scaled, their shape kept.
        cache: where samples are kept: 'device' (beside the model; without a GPU that is 'host'), 'host' (main memory, pinned
            for a GPU), 'disk' (a memory-mapped file, made once for each state of the source files), or 'auto': the first of
            these where half of the free memory holds all; which and why is logged.
        cache_dir: folder of 'disk'; default ``$SDCNET_HOME/work_dirs/cache``.
        num_threads: threads that decode.

    Raises:
        UserError: an unknown ``cache``, a file that cannot be read, or a ``cache_dir`` that cannot be written.
    """

    def __init__(
        self,
        dataset: dict | LesionDataset,
        size: tuple[int, int] | None = None,
        cache: str = "auto",
        cache_dir: str | None = None,
        num_threads: int = 4,
    ) -> None:
        if cache not in CACHES:
            raise UserError(f"ResidentDataset: got cache={cache!r}, expected one of {', '.join(map(repr, CACHES))}")
        if size is not None and not isinstance(dataset, dict):
            raise UserError(f"ResidentDataset: got size={size} with a data set that is built, expected the size there")
        source = dataset if not isinstance(dataset, dict) else DATASETS.build(
            {**dataset, **({} if size is None else {"size": size})})
        if not isinstance(source, LesionDataset):
            raise UserError(f"ResidentDataset: got dataset={type(source).__name__}, expected a LesionDataset: index maps would "
                            "lose their classes when they are packed; name the data set itself in train_dataloader.dataset")
        self.metainfo = source.metainfo
        self.cache, reason = (cache, "as configured") if cache != "auto" else _choose(_decode(source, 0), len(source))
        print_log(f"{len(source)} samples are kept on: {self.cache} ({reason})", logger="current")
        samples = _decode_all(source, num_threads)
        if self.cache == "disk":
            folder = make_folder(cache_dir or home_path("work_dirs", "cache"), "train_dataloader.dataset.cache_dir")
            self._store: DiskStore | list[Sample] = DiskStore.of(source, Path(folder), samples)
        else:
            self._store = keep_in_memory(samples, default_device() if self.cache == "device" else torch.device("cpu"))

    def __len__(self) -> int:
        return len(self._store)

    def __getitem__(self, idx: int) -> dict[str, Any]:
        """One sample.

        Returns:
            ``inputs`` uint8 ``(3, h, w)`` and ``masks`` uint8 ``(h, w)``, packed: what is kept, or in a worker copies of it;
            ``data_samples`` with the meta information of :meth:`LesionDataset.prepare_data` and ``lesion_points``;
            its ``gt_sem_seg`` comes from the data preprocessor, for the crop alone.
        """
        in_worker = get_worker_info() is not None
        if self.cache == "device" and in_worker:
            raise UserError("ResidentDataset: got num_workers > 0 with cache='device', expected 0: samples are already there")
        kept = self._store[idx]
        sample = kept.data_sample.new()  # a copy.copy would share its sets of field names
        image, masks = kept.image, kept.masks
        if in_worker:  # torch moves what is sent into shared memory, in place, and would hold that as long as the sample
            image, masks = image.clone(), masks.clone()
            sample.set_metainfo(dict(lesion_points=LesionPoints(points.clone() for points in sample.lesion_points)))
        return dict(inputs=image, masks=masks, data_samples=sample)


def _decode(dataset: LesionDataset, idx: int) -> Sample:
    item = dataset[idx]
    masks: torch.Tensor = item["data_samples"].pop("gt_sem_seg").data
    item["data_samples"].set_metainfo(dict(lesion_points=lesion_points(masks)))
    return Sample(item["inputs"], pack_masks(masks), item["data_samples"])


def _decode_all(dataset: LesionDataset, num_threads: int) -> Iterator[Sample]:
    """Decode in threads (OpenCV lets go of the interpreter), with a progress bar; a few ahead of who takes them."""
    bar = ProgressBar(len(dataset), bar_width=30)
    with ThreadPoolExecutor(num_threads) as pool:
        ahead = [pool.submit(_decode, dataset, i) for i in range(min(2 * num_threads, len(dataset)))]
        for idx in range(len(dataset)):
            sample = ahead.pop(0).result()
            if idx + 2 * num_threads < len(dataset):
                ahead.append(pool.submit(_decode, dataset, idx + 2 * num_threads))
            bar.update()
            yield sample
    print(flush=True)


def free_places(processes: int | None = None) -> list[tuple[str, float]]:
    """Where ``cache='auto'`` looks for room, in its order, and the bytes that are free there.

    Args:
        processes: that share this machine; by default as many as the launcher says, or else all of the job.
    """
    device = default_device()
    host = available_memory() / (processes or local_processes(get_world_size()))  # each chooses for itself
    if device.type == "cpu":
        return [("host", host)]
    return [("device", free_memory(device)), ("host", host / 2)]  # pinned blocks are rounded up to a power of two


def _choose(first: Sample, count: int) -> tuple[str, str]:
    """Where so many samples like the first one fit, and why."""
    need = count * (first.image.numel() + first.masks.numel())
    told = []
    for name, free in free_places():
        told.append(f"{need / 2**30:.2f} GiB of {free / 2**30:.1f} GiB free on the {name}")
        if need <= SHARE * free:
            return name, told[-1]
    return "disk", ", ".join(told) + f": more than {SHARE:.0%}"
