"""From a segmentor to one graph, image in and probabilities out, whose batch and image size are open."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.overrides import TorchFunctionMode

from mmseg.models.data_preprocessors import LesionDataPreprocessor
from mmseg.models.segmentors.base import BaseSegmentor
from mmseg.utils.errors import UserError

__all__ = ["ExportNetwork", "reduce_by_area", "trace"]

_EXAMPLE = (2, 3, 131, 197)
"""Shape of the traced image. Two images, since torch.export takes a batch of one as meant for ever; odd sides, which differ."""


class ExportNetwork(nn.Module):
    """A segmentor as a plain function of a tensor.

    Args:
        model: from :func:`mmseg.apis.init_model`; it is shared, not copied.
        preprocessing: take uint8 RGB and normalise inside; otherwise the normalised image is expected.

    Raises:
        UserError: the model predicts in sliding windows, over flips or without thresholds, or has a data preprocessor of
            another kind.
    """

    def __init__(self, model: BaseSegmentor, preprocessing: bool = True) -> None:
        super().__init__()
        if model.test_cfg.get("mode", "whole") != "whole" or model.test_cfg.get("flips"):
            raise UserError(
                f"export: got model.test_cfg={dict(model.test_cfg)}, expected the prediction of the whole image at once, without "
                "flips: one graph has one pass. Fix: model.test_cfg.mode=whole model.test_cfg.flips=None (--cfg-options)")
        if model.is_argmax:
            raise UserError(
                "export: got model.test_cfg.thresholds=None (each pixel of its likeliest class), expected thresholds: the file "
                "gives lesions and what each must exceed. Fix, where channel 0 is the background: "
                "model.test_cfg.thresholds=0.5 (--cfg-options)")
        if preprocessing and not isinstance(model.data_preprocessor, LesionDataPreprocessor):
            raise UserError(
                f"export: got the data preprocessor {type(model.data_preprocessor).__name__}, expected LesionDataPreprocessor, "
                "whose mean and std are taken into the graph. Fix: preprocessing=False (--no-preprocessing)")
        self.model, self.preprocessing = model, preprocessing

    def forward(self, image: Tensor) -> Tensor:
        """Images to probabilities.

        Args:
            image: ``(B, 3, H, W)``: uint8 RGB, 0 to 255, or float32 as the data preprocessor gives it.

        Returns:
            float32 ``(B, L, H, W)``, 0 to 1, lesions only.
        """
        x = self.normalise(image) if self.preprocessing else image
        return self.model.lesion_probabilities(self.model.encode_decode(x))

    def normalise(self, image: Tensor) -> Tensor:
        """uint8 ``(B, 3, H, W)`` to what the network takes."""
        preprocessor: Any = self.model.data_preprocessor
        return (image.float() - preprocessor.mean) / preprocessor.std

    def example(self) -> Tensor:
        """An image to trace with."""
        return torch.zeros(_EXAMPLE, dtype=torch.uint8 if self.preprocessing else torch.float32)


def trace(network: ExportNetwork) -> ExportedProgram:
    """Export a network on the CPU, in evaluation mode, with batch, height and width left open.

    Raises:
        UserError: the network does not allow that, as a user's own head may not.
    """
    sizes = ({0: Dim.DYNAMIC, 2: Dim.DYNAMIC, 3: Dim.DYNAMIC},)
    try:
        plain: Any = copy.deepcopy(network).eval()
        plain.to(memory_format=torch.contiguous_format)
        with torch.no_grad(), _ExportForms():
            return torch.export.export(plain, (network.example(),), dynamic_shapes=sizes)
    except Exception as error:  # whatever a module does may be what torch.export cannot follow
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise UserError(
            f"export: {type(network.model).__name__} cannot be exported with open sizes: {reason}\nA module of it branches on a "
            "size or leaves PyTorch; torch.export's documentation says what it can follow") from error


def reduce_by_area(image: Tensor, size: Sequence[int]) -> Tensor:
    """Adaptive average pooling as two matrix products, ``A_h x A_w^T``; the same mean, for any size known only at run time.

    ONNX has no adaptive pooling, and the exporter would write down the windows of the traced size. Cell i of n over N pixels
    averages the pixels floor(i N / n) to ceil((i + 1) N / n) - 1.

    Args:
        image: float ``(B, C, H, W)``.
        size: ``(h, w)``.

    Returns:
        ``(B, C, h, w)``.
    """
    height, width = size
    if isinstance(height, int) and isinstance(width, int) and height == width == 1:
        return image.mean((2, 3), keepdim=True)
    rows, columns = _shares(image, 2, height), _shares(image, 3, width)
    return rows @ image @ columns.transpose(0, 1)


def repeat_border(image: Tensor, right: int, below: int) -> Tensor:
    """An image ``(B, C, H, W)`` whose last column and row are repeated so many times, also none."""
    for dim, more in ((2, below), (3, right)):
        length = image.shape[dim]
        image = image.index_select(dim, torch.arange(length + more, device=image.device).clamp(max=length - 1))
    return image


def _shares(image: Tensor, dim: int, cells: int) -> Tensor:
    """Share of each pixel in each cell along one side, ``(cells, pixels)``; rows add up to 1."""
    pixels = image.shape[dim]
    cell = torch.arange(cells, device=image.device)[:, None]
    pixel = torch.arange(pixels, device=image.device)[None]
    first, last = cell * pixels // cells, ((cell + 1) * pixels + cells - 1) // cells
    return ((pixel >= first) & (pixel < last)).to(image.dtype) / (last - first).to(image.dtype)


class _ExportForms(TorchFunctionMode):
    """While it is entered, operations whose graph would hold for the traced size alone take an equal form.

    Area interpolation and adaptive average pooling are :func:`reduce_by_area`, and padding by repetition is
    :func:`repeat_border`, since PyTorch's own asks whether there is anything to pad. Nothing asks for channels-last memory, which
    is about speed in PyTorch: whether a tensor has it depends on its size.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is F.interpolate and kwargs.get("mode") == "area" and kwargs.get("size") is not None:
            return reduce_by_area(args[0], kwargs["size"])
        if func is F.adaptive_avg_pool2d:
            size = args[1] if len(args) > 1 else kwargs["output_size"]
            return reduce_by_area(args[0], (size, size) if isinstance(size, int) else size)
        if func is F.pad and kwargs.get("mode") == "replicate":
            return repeat_border(args[0], *args[1][1::2])
        if func is torch.Tensor.narrow:  # a view, of which PyTorch asks whether it lies in one piece
            image, dim, start, length = args
            return image.index_select(dim, torch.arange(start, start + length, device=image.device))
        if func is torch.Tensor.contiguous:
            return args[0].contiguous()
        return func(*args, **kwargs)
