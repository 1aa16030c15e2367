"""Stack, augment and normalise a batch, on its device."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from mmengine.model import BaseDataPreprocessor
from mmengine.structures import PixelData
from torch import Tensor

from mmseg.datasets.sampling import lesion_points
from mmseg.datasets.transforms import BatchRandom
from mmseg.registry import MODELS, TRANSFORMS
from mmseg.structures import IGNORE, SegDataSample, flatten_masks

__all__ = ["LesionDataPreprocessor"]


@MODELS.register_module()
class LesionDataPreprocessor(BaseDataPreprocessor):
    """From whole photographs (uint8) to the normalised crops that the network trains on, or to whole images for testing.

    Photographs of different sizes are padded at the right and bottom to the largest (black; target 255), then the
    ``train_transforms`` run in order on a dictionary of batched tensors (see
    :class:`~mmseg.datasets.transforms.BatchRandomAffine`). In testing they do not run.

    The training loop sets ``seed``, ``iteration``, ``rank`` and ``world_size`` (see
    :class:`~mmseg.engine.hooks.BatchSeedHook`); sample j of this process is slot ``j * world_size + rank`` of the global batch.

    Args:
        mean: of R, G, B, 0 to 255.
        std: of R, G, B, 0 to 255.
        train_transforms: configurations of registered batch transforms.
        target: 'multilabel' (uint8 ``(4, H, W)``) or 'index' (long ``(1, H, W)``, for softmax heads). Data sets of index maps
            (:class:`~mmseg.datasets.BaseSegDataset`) have 'index' only.
    """

    def __init__(
        self,
        mean: tuple[float, float, float],
        std: tuple[float, float, float],
        train_transforms: list[dict] | None = None,
        target: str = "multilabel",
    ) -> None:
        super().__init__()
        if target not in ("multilabel", "index"):
            raise ValueError(f"LesionDataPreprocessor: got target={target!r}, expected 'multilabel' or 'index'")
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)
        self.train_transforms = [TRANSFORMS.build(t) for t in train_transforms or []]
        self.target = target
        self.seed, self.iteration, self.rank, self.world_size = 0, 0, 0, 1

    def forward(self, data: dict[str, Any], training: bool = False) -> dict[str, Any]:
        """Prepare a batch.

        Args:
            data: ``inputs``, list of uint8 or float ``(3, h, w)``, RGB, 0 to 255; ``data_samples``, list of
                :class:`SegDataSample` or None.
            training: run the transforms, and replace each ``gt_sem_seg`` by what belongs to its crop.

        Returns:
            ``inputs`` float32 ``(B, 3, H, W)``, normalised, in channels-last memory order, which the network keeps and which
            is faster on both kinds of device; ``data_samples``.
        """
        data = self.cast_data(data)
        inputs: list[Tensor] = list(data["inputs"])
        samples: list[SegDataSample] | None = data.get("data_samples")
        sizes = torch.tensor([image.shape[-2:] for image in inputs])
        images = _pad_stack(inputs, sizes, 0).float()
        if training and samples is not None:
            images = self._train_batch(images, sizes, samples)
        elif samples is not None:
            for sample, size in zip(samples, sizes.tolist(), strict=True):
                sample.set_metainfo(dict(img_shape=tuple(size)))
        normalised = ((images - self.mean) / self.std).contiguous(memory_format=torch.channels_last)
        return dict(inputs=normalised, data_samples=samples)

    def _train_batch(self, images: Tensor, sizes: Tensor, samples: list[SegDataSample]) -> Tensor:
        """Run the transforms; write each crop's target and size into its sample."""
        masks = [s.gt_sem_seg.data for s in samples]
        points = [s.get("lesion_points") or lesion_points(m.cpu()) for s, m in zip(samples, masks, strict=True)]
        slots = [j * self.world_size + self.rank for j in range(len(samples))]
        batch: dict[str, Any] = dict(
            images=images, masks=_pad_stack(masks, sizes, IGNORE), sizes=sizes, points=points,
            random=BatchRandom(self.seed, self.iteration, slots),
        )
        for transform in self.train_transforms:
            batch = transform(batch)
        for i, sample in enumerate(samples):
            target = batch["masks"][i]
            if self.target == "index":  # of an index map there is one channel already
                target = flatten_masks(target)[None] if len(target) > 1 else target.long()
            sample.gt_sem_seg = PixelData(data=target)
            sample.set_metainfo(dict(img_shape=tuple(target.shape[-2:])))
        return batch["images"]


def _pad_stack(tensors: list[Tensor], sizes: Tensor, value: int) -> Tensor:
    """Pad ``(C, h, w)`` tensors at the right and bottom to the largest height and width, and stack them."""
    height, width = sizes.max(0).values.tolist()
    return torch.stack([F.pad(t, (0, width - t.shape[-1], 0, height - t.shape[-2]), value=value) for t in tensors])
