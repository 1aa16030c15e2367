"""Decode once: a data set that stays in memory at the training resolution."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from mmengine.structures import PixelData
from mmengine.utils import ProgressBar
from torch.utils.data import Dataset

from mmseg.datasets.lesion_dataset import LesionDataset
from mmseg.datasets.sampling import lesion_points
from mmseg.registry import DATASETS
from mmseg.structures import pack_masks, unpack_masks
from mmseg.utils.errors import UserError

__all__ = ["ResidentDataset"]


@DATASETS.register_module()
class ResidentDataset(Dataset):
    """Every sample of a :class:`LesionDataset`, decoded once, reduced by area, kept as uint8 (masks one bit a lesion).

    Decoding a 12-megapixel photograph with its masks takes a large part of a second; a training step asks for several. Kept
    at 1440x956, IDRiD's 54 training images need 0.3 GB.

    Args:
        dataset: configuration of the data set to keep, or the data set itself.
        size: box ``(width, height)`` in pixels into which images are scaled, their shape kept.
        cache: where samples are kept: 'host' (main memory) or 'auto' (the same).
        num_threads: threads that decode.

    Raises:
        UserError: an unknown ``cache``, or a file that cannot be read.
    """

    def __init__(
        self,
        dataset: dict | LesionDataset,
        size: tuple[int, int] | None = None,
        cache: str = "auto",
        num_threads: int = 4,
    ) -> None:
        if cache not in ("auto", "host"):
            raise UserError(f"ResidentDataset: got cache={cache!r}, expected 'auto' or 'host'")
        if isinstance(dataset, LesionDataset):
            source = dataset
        else:
            source = DATASETS.build({**dataset, **({} if size is None else {"size": size})})
        self.metainfo = source.metainfo
        self._samples = _decode_all(source, num_threads)

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, idx: int) -> dict[str, Any]:
        """As :meth:`LesionDataset.prepare_data`; the image is the kept tensor itself, not a copy."""
        kept = self._samples[idx]
        sample = kept["data_samples"].new()  # a copy.copy would share its sets of field names
        sample.gt_sem_seg = PixelData(data=unpack_masks(kept["masks"]))
        return dict(inputs=kept["inputs"], data_samples=sample)


def _decode_all(dataset: LesionDataset, num_threads: int) -> list[dict[str, Any]]:
    """Decode in threads (OpenCV lets go of the interpreter), with a progress bar."""

    def decode(idx: int) -> dict[str, Any]:
        item = dataset[idx]
        masks: torch.Tensor = item["data_samples"].pop("gt_sem_seg").data
        item["data_samples"].set_metainfo(dict(lesion_points=lesion_points(masks)))
        return dict(inputs=item["inputs"], masks=pack_masks(masks), data_samples=item["data_samples"])

    bar = ProgressBar(len(dataset), bar_width=30)
    samples = []
    with ThreadPoolExecutor(num_threads) as pool:
        for sample in pool.map(decode, range(len(dataset))):
            samples.append(sample)
            bar.update()
    print(flush=True)
    return samples
