"""Stack, augment and normalise a batch, on its device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.model import BaseDataPreprocessor, stack_batch
from mmengine.structures import PixelData
from torch import Tensor

from mmseg.datasets.sampling import lesion_points
from mmseg.datasets.transforms import BatchRandom
from mmseg.registry import MODELS, TRANSFORMS
from mmseg.structures import IGNORE, SegDataSample, class_masks, flatten_masks, pack_masks, unpack_masks

__all__ = ["LesionDataPreprocessor"]


@MODELS.register_module()
class LesionDataPreprocessor(BaseDataPreprocessor):
    """From whole photographs (uint8) to the normalised crops that the network trains on, or to whole images for testing.

    Photographs of different sizes are padded at the right and bottom to the largest (black; target 255), then the
    ``train_transforms`` run in order on a dictionary of batched tensors, all on the batch's device but ``sizes``:

    - ``images``: ``(B, 3, H, W)``, RGB, 0 to 255: uint8 for the first transform, float32 after it;
    - ``masks``: uint8 ``(B, 1, H, W)``, one bit a lesion, 255 ignored (:func:`~mmseg.structures.unpack_masks` gives channels),
      or, where the data set gives index maps, these; ``packed`` is False then;
    - ``sizes``: ``(B, 2)``, height and width of each photograph, on the CPU;
    - ``points``: lesion pixels of each photograph, see :func:`~mmseg.datasets.sampling.lesion_points`; those of a photograph
      whose data set gave none are searched for when they are read;
    - ``random``: a :class:`~mmseg.datasets.transforms.BatchRandom`.

    In testing they do not run. Nothing waits for the device but that search, and that of mmsegmentation's ``cat_max_ratio``.

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
        super().__init__(non_blocking=True)
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
                :class:`SegDataSample` or None; for training ``masks``, list of packed uint8 ``(h, w)``, or without them the
                samples' ``gt_sem_seg``.
            training: run the transforms, and replace each ``gt_sem_seg`` by what belongs to its crop.

        Returns:
            ``inputs`` float32 ``(B, 3, H, W)``, normalised, in channels-last memory order, which the network keeps and which
            is faster on both kinds of device; ``data_samples``. Everything is computed in float32, under autocast, too.
        """
        with torch.autocast(self.mean.device.type, enabled=False):  # the training step calls this inside its own
            return self._prepare(data, training)

    def _prepare(self, data: dict[str, Any], training: bool) -> dict[str, Any]:
        data = self.cast_data(data)
        inputs: list[Tensor] = list(data["inputs"])
        samples: list[SegDataSample] | None = data.get("data_samples")
        sizes = torch.tensor([image.shape[-2:] for image in inputs])
        images = stack_batch(inputs)
        if training and samples is not None:
            images = self._train_batch(images, sizes, samples, data.get("masks"))
        elif samples is not None:
            for sample, size in zip(samples, sizes.tolist(), strict=True):
                sample.set_metainfo(dict(img_shape=tuple(size)))
        normalised = torch.empty_like(images, dtype=torch.float32, memory_format=torch.channels_last)
        torch.addcmul(-self.mean / self.std, images, 1 / self.std, out=normalised)
        return dict(inputs=normalised, data_samples=samples)

    def _train_batch(
        self, images: Tensor, sizes: Tensor, samples: list[SegDataSample], packed: list[Tensor] | None
    ) -> Tensor:
        """Run the transforms; write each crop's target and size into its sample. Index maps travel as they are."""
        indexed = packed is None and len(samples[0].gt_sem_seg.data) == 1
        masks = packed or [sample.gt_sem_seg.data[0] if indexed else pack_masks(sample.gt_sem_seg.data) for sample in samples]
        slots = [j * self.world_size + self.rank for j in range(len(samples))]
        batch: dict[str, Any] = dict(
            images=images, masks=stack_batch([mask[None] for mask in masks], pad_value=IGNORE), packed=not indexed, sizes=sizes,
            points=_LesionPoints(samples), random=BatchRandom(self.seed, self.iteration, slots),
        )
        if batch["masks"].shape[-2:] != images.shape[-2:]:
            raise ValueError(f"got images of {tuple(images.shape[-2:])} with masks of {tuple(batch['masks'].shape[-2:])}, "
                             "expected one size: a data set with test_mode=True gives masks of the photograph's own")
        for transform in self.train_transforms:
            batch = transform(batch)
        targets = batch["masks"].long() if indexed else unpack_masks(batch["masks"][:, 0])
        for sample, target in zip(samples, targets, strict=True):
            if self.target == "index" and not indexed:
                target = flatten_masks(target)[None]
            sample.gt_sem_seg = PixelData(data=target)
            sample.set_metainfo(dict(img_shape=tuple(target.shape[-2:])))
        return batch["images"]


class _LesionPoints(Sequence[list[Tensor]]):
    """Lesion pixels of each sample: the data set's, or searched for on the CPU whenever they are read."""

    def __init__(self, samples: list[SegDataSample]) -> None:
        self._samples = samples

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(len(self))[index]]
        sample = self._samples[index]
        return sample.get("lesion_points") or lesion_points(_channels(sample.gt_sem_seg.data.cpu()))


def _channels(truth: Tensor) -> Tensor:
    """Masks as they are; an index map as one mask for each class from 1 to the largest that occurs."""
    return class_masks(truth, int(truth.masked_fill(truth == IGNORE, 0).max()), 1)
