"""The base of every segmentor: the three modes of ``forward``, and what becomes of logits."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

import torch
import torch.nn.functional as F
from mmengine.model import BaseModel
from mmengine.structures import PixelData
from torch import Tensor, nn

from mmseg.models.backbones.pretrained import in_scope
from mmseg.models.defaults import ConfigType, OptConfigType
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample, class_masks

__all__ = ["BaseSegmentor"]

_FLIPS = {"horizontal": (-1,), "vertical": (-2,), "diagonal": (-2, -1)}


class BaseSegmentor(BaseModel):
    """Base of the segmentors: a subclass says how images become losses and how they become logits.

    Args:
        test_cfg: how to predict:

            - ``mode``: ``"whole"`` or ``"slide"``, the latter with ``crop_size`` ``(H, W)`` and ``stride`` ``(H, W)``;
            - ``thresholds``: probability above which a lesion is seen, one for all or one a lesion, default 0.5; None, for a
              softmax over an index map of any classes: every channel is a class, each pixel is of the likeliest;
            - ``flips``: a list of ``"horizontal"``, ``"vertical"``, ``"diagonal"`` (both): the probabilities of the image and
              of its flips are averaged.
        data_preprocessor: turns what the loader gives into a batch; a module or its config.
        init_cfg: mmengine's initialisation.

    Raises:
        ValueError: if ``test_cfg`` does not fit together.
    """

    multi_label: bool
    """One sigmoid channel a lesion; otherwise softmax with background in channel 0."""
    num_classes: int
    """Channels of the logits."""
    cfg: Any
    """The whole configuration; set by :func:`mmseg.apis.init_model`, as are the next two."""
    dataset_meta: dict[str, Any]
    """``classes`` and ``palette``."""
    checkpoint_meta: dict[str, Any]
    """``meta`` of the checkpoint that the weights came from; empty without one."""
    working_size: tuple[int, int] | None
    """Box ``(width, height)`` into which photographs are scaled; None leaves them as they are. Set there, too."""
    load_report: Any
    """What :func:`mmseg.apis.init_model` loaded under which name; None without a checkpoint."""

    def __init__(
        self, test_cfg: OptConfigType = None, data_preprocessor: ConfigType | nn.Module | None = None,
        init_cfg: OptConfigType = None,
    ) -> None:
        # Built here, since mmengine would look for its name in its own registry only where no default scope is set.
        if isinstance(data_preprocessor, Mapping):
            data_preprocessor = MODELS.build(data_preprocessor)
        super().__init__(data_preprocessor, in_scope(init_cfg))  # type: ignore[arg-type]
        self.test_cfg: ConfigType = dict(test_cfg or {})
        _check_test_cfg(self.test_cfg)

    @property
    def with_neck(self) -> bool:
        """Whether there is a neck; with its two neighbours for segmentors written for mmsegmentation."""
        return getattr(self, "neck", None) is not None

    @property
    def with_decode_head(self) -> bool:
        """Whether there is a decode head."""
        return getattr(self, "decode_head", None) is not None

    @property
    def with_auxiliary_head(self) -> bool:
        """Whether there is an auxiliary head."""
        return getattr(self, "auxiliary_head", None) is not None

    @abstractmethod
    def loss(self, inputs: Tensor, data_samples: Sequence[SegDataSample]) -> dict[str, Tensor]:
        """Losses by name.

        Args:
            inputs: ``(B, 3, H, W)``, normalised.
            data_samples: each with ``gt_sem_seg`` of the inputs' size.

        Returns:
            scalars; those whose name contains ``loss`` are added up and minimised.
        """

    @abstractmethod
    def encode_decode(self, inputs: Tensor, batch_img_metas: Sequence[Mapping[str, Any]] | None = None) -> Tensor:
        """Images ``(B, 3, H, W)`` to logits ``(B, num_classes, H, W)`` in float32."""

    def forward(self, inputs: Tensor, data_samples: Any = None, mode: str = "tensor") -> Any:
        """mmengine's entrance.

        Args:
            inputs: ``(B, 3, H, W)``, normalised.
            data_samples: one :class:`SegDataSample` an image; needed for ``"loss"``.
            mode: ``"loss"`` gives a dictionary of losses, ``"predict"`` data samples, ``"tensor"`` logits
                ``(B, num_classes, H, W)``.

        Raises:
            ValueError: for another mode.
        """
        if mode == "loss":
            return self.loss(inputs, data_samples)
        if mode == "predict":
            return self.predict(inputs, data_samples)
        if mode == "tensor":
            return self.encode_decode(inputs)
        raise ValueError(f"{type(self).__name__}.forward: got mode={mode!r}, expected 'loss', 'predict' or 'tensor'")

    def predict(self, inputs: Tensor, data_samples: Sequence[SegDataSample] | None = None) -> list[SegDataSample]:
        """Predict lesions at the size of the original images.

        An image that was padded to the size of its batch is predicted alone and without the padding, which would otherwise
        enter the network's global means: a batch gives what its images give one by one. Padding that was asked for
        (:class:`SegDataPreProcessor` with ``test_cfg``) is what the network sees; it is cut off the probabilities.

        Args:
            inputs: ``(B, 3, H, W)``, normalised, padded at the bottom and on the right.
            data_samples: with ``img_shape``, the part of the input that is image, and ``ori_shape``; both default to the
                input's size. ``img_padding_size`` says that the padding was asked for.

        Returns:
            the samples with ``probabilities`` and ``pred_sem_seg``, see :class:`SegDataSample`.
        """
        size = tuple(inputs.shape[2:])
        samples = list(data_samples) if data_samples is not None else [SegDataSample() for _ in inputs]
        shapes = [size if "img_padding_size" in sample.metainfo else tuple(sample.metainfo.get("img_shape", size)[:2])
                  for sample in samples]
        if all(shape == size for shape in shapes):
            return self.postprocess(self._probabilities(inputs), samples)
        for image, (height, width), sample in zip(inputs, shapes, samples, strict=True):
            self.postprocess(self._probabilities(image[None, :, :height, :width]), [sample])
        return samples

    def postprocess(self, probabilities: Tensor, data_samples: Sequence[SegDataSample]) -> list[SegDataSample]:
        """Bring lesion probabilities to the original size and into the samples.

        Args:
            probabilities: ``(B, L, H, W)`` in [0, 1], lesions only.
            data_samples: with ``img_padding_size`` (left, right, top, bottom) or ``img_shape`` (what exceeds it at the bottom and
                on the right is padding), and ``ori_shape``, as in :meth:`predict`.

        Returns:
            the samples, each with ``probabilities`` float32 ``(L, H, W)`` and ``pred_sem_seg`` uint8 ``(1, H, W)``: 0, or 1 +
            the likeliest of the lesions above their thresholds.
        """
        for probability, sample in zip(probabilities.float(), data_samples, strict=True):
            height, width = probability.shape[1:]
            left, right, top, bottom = sample.metainfo.get("img_padding_size", (0, 0, 0, 0))
            probability = probability[:, top : height - bottom, left : width - right]
            height, width = sample.metainfo.get("img_shape", probability.shape[1:])[:2]
            probability = probability[:, :height, :width]
            original = tuple(sample.metainfo.get("ori_shape", probability.shape[1:])[:2])
            if original != tuple(probability.shape[1:]):
                probability = F.interpolate(probability[None], size=original, mode="bilinear", align_corners=False)[0]
            sample.probabilities = PixelData(data=probability)
            sample.pred_sem_seg = PixelData(data=self._index_map(probability, self.test_cfg.get("thresholds", 0.5)))
        return list(data_samples)

    def shown_classes(self, info: Mapping[str, Any]) -> tuple[tuple[str, ...], list[tuple[int, int, int]]]:
        """Names and colours of the channels of ``probabilities``: those of the data set, with the background where it is a
        channel, and without where it is none though the data set counts it as a class."""
        classes, palette = tuple(info["classes"]), [(red, green, blue) for red, green, blue in info["palette"]]
        if self.is_argmax and self.num_classes == len(classes) + 1:
            return ("background", *classes), [(0, 0, 0), *palette]
        if not self.is_argmax and len(classes) == self.num_classes + self.multi_label:
            return classes[1:], palette[1:]
        return classes, palette

    def shown_masks(self, sample: SegDataSample) -> Tensor:
        """What is drawn of a predicted sample, bool ``(C, H, W)``: lesions at ``p > 0.5``, or each pixel's likeliest class."""
        probabilities = sample.probabilities.data
        if not self.is_argmax:
            return probabilities > 0.5
        return class_masks(sample.pred_sem_seg.data, len(probabilities))

    def shown_thresholds(self, channels: int) -> list[float] | None:
        """At which :meth:`shown_masks` cuts each of so many channels; None where a pixel is of its likeliest class."""
        return None if self.is_argmax else [0.5] * channels

    def lesion_thresholds(self, classes: Sequence[str], stored: Mapping[str, float] | None = None) -> dict[str, float]:
        """By lesion: ``test_cfg.thresholds``, or where it names none those stored in a checkpoint, or else 0.5.

        Args:
            classes: names of the lesions.
            stored: ``meta["thresholds"]`` of a checkpoint, by lesion.

        Returns:
            probabilities; nothing where pixels are of their likeliest class.

        Raises:
            ValueError: neither one number for all nor a list of one a lesion, or a number is no probability.
        """
        if self.is_argmax:
            return {}
        limits = self.test_cfg.get("thresholds", [(stored or {}).get(name, 0.5) for name in classes])
        return dict(zip(classes, _limits(limits, len(classes)).tolist(), strict=True))

    def lesion_probabilities(self, logits: Tensor) -> Tensor:
        """Logits ``(B, num_classes, H, W)`` to probabilities of the lesions (of all classes without thresholds), float32."""
        logits = logits.float()
        if self.multi_label:
            return logits.sigmoid()
        return logits.softmax(dim=1)[:, 0 if self.is_argmax else 1 :]

    def _probabilities(self, inputs: Tensor) -> Tensor:
        """Probabilities of the lesions, averaged over the image and the flips asked for."""
        total = self.lesion_probabilities(self.inference(inputs))
        flips = self.test_cfg.get("flips") or ()
        for flip in flips:
            dims = _FLIPS[flip]
            total = total + self.lesion_probabilities(self.inference(inputs.flip(dims))).flip(dims)
        return total / (1 + len(flips))

    @property
    def is_argmax(self) -> bool:
        """Whether every pixel is of its likeliest class, ``thresholds=None``."""
        return self.test_cfg.get("thresholds", 0.5) is None

    def _index_map(self, probability: Tensor, limits: float | Sequence[float] | None) -> Tensor:
        if limits is None:
            return probability.argmax(dim=0, keepdim=True).to(torch.uint8)
        thresholds = _limits(limits, len(probability)).to(probability)
        seen = torch.where(probability > thresholds.view(-1, 1, 1), probability, -1.0)
        best, index = seen.max(dim=0, keepdim=True)
        return ((index + 1) * (best >= 0)).to(torch.uint8)

    def inference(self, inputs: Tensor, batch_img_metas: Sequence[Mapping[str, Any]] | None = None) -> Tensor:
        """Logits ``(B, num_classes, H, W)`` of the whole image or of sliding crops, as ``test_cfg.mode`` says."""
        if self.test_cfg.get("mode", "whole") == "slide":
            return self.slide_inference(inputs, batch_img_metas)
        return self.whole_inference(inputs, batch_img_metas)

    def whole_inference(self, inputs: Tensor, batch_img_metas: Sequence[Mapping[str, Any]] | None = None) -> Tensor:
        """Logits of the image at once; shapes as in :meth:`encode_decode`."""
        return self.encode_decode(inputs, batch_img_metas)

    def slide_inference(self, inputs: Tensor, batch_img_metas: Sequence[Mapping[str, Any]] | None = None) -> Tensor:
        """Logits of overlapping crops, averaged where they overlap; the last row and column of crops end at the border.

        Shapes as in :meth:`encode_decode`; an image smaller than ``test_cfg.crop_size`` is one crop.
        """
        height, width = inputs.shape[2:]
        (crop_height, crop_width), (stride_height, stride_width) = self.test_cfg["crop_size"], self.test_cfg["stride"]
        total = inputs.new_zeros((inputs.shape[0], self.num_classes, height, width), dtype=torch.float32)
        count = inputs.new_zeros((1, 1, height, width), dtype=torch.float32)
        for top in _starts(height, crop_height, stride_height):
            for left in _starts(width, crop_width, stride_width):
                window = (..., slice(top, top + crop_height), slice(left, left + crop_width))
                total[window] += self.encode_decode(inputs[window], batch_img_metas)
                count[window] += 1
        return total / count


def _starts(size: int, crop: int, stride: int) -> list[int]:
    """First pixels of the crops along one side, such that they cover it and none exceeds it."""
    last = max(size - crop, 0)
    return [*range(0, last, stride), last]


def _limits(limits: float | Sequence[float], lesions: int) -> Tensor:
    """Thresholds ``(lesions,)``, float64."""
    try:
        numbers = torch.as_tensor(limits, dtype=torch.float64).flatten()
    except (TypeError, ValueError) as error:
        raise ValueError(f"test_cfg.thresholds: got {limits!r}, expected one number for all or a list of one for each of the "
                         f"{lesions} lesions") from error
    if len(numbers) not in (1, lesions):
        raise ValueError(f"test_cfg.thresholds: got {len(numbers)} numbers, expected one for all or one for each of the "
                         f"{lesions} lesions")
    if not ((numbers >= 0) & (numbers <= 1)).all():
        raise ValueError(f"test_cfg.thresholds: got {numbers.tolist()}, expected probabilities from 0 to 1")
    return numbers.expand(lesions)


def _check_test_cfg(test_cfg: ConfigType) -> None:
    mode = test_cfg.get("mode", "whole")
    if mode not in ("whole", "slide"):
        raise ValueError(f"test_cfg.mode: got {mode!r}, expected 'whole' or 'slide'")
    if mode == "slide":
        crop, stride = test_cfg.get("crop_size"), test_cfg.get("stride")
        if not _is_pair(crop) or not _is_pair(stride) or any(not 0 < s <= c for s, c in zip(stride, crop, strict=True)):
            raise ValueError(f"test_cfg: got crop_size={crop}, stride={stride}, expected for mode='slide' two (height, width) "
                             "pairs with 0 < stride <= crop_size, so that the crops cover the image")
    flips = test_cfg.get("flips") or ()
    unknown = [flip for flip in flips if flip not in [*_FLIPS]] if isinstance(flips, (list, tuple)) else flips
    if unknown:
        raise ValueError(f"test_cfg.flips: got {unknown!r}, expected a list of any of {sorted(_FLIPS)}")
    if len(set(flips)) < len(flips):
        raise ValueError(f"test_cfg.flips: got {len(flips)}, of which some are the same, expected each once")


def _is_pair(size: Any) -> TypeGuard[Sequence[int]]:
    return isinstance(size, (list, tuple)) and len(size) == 2 and all(isinstance(side, int) for side in size)
