"""Does an exported file say what the network says? Run both on photographs of sizes it was not traced at."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmseg.compat.export_network import ExportNetwork
from mmseg.datasets.synthetic import generate_image
from mmseg.utils.errors import UserError

__all__ = ["TOLERANCE", "Expected", "check_sizes", "compare", "expected_results", "open_onnx", "open_torch"]

TOLERANCE = 1e-3
"""Largest difference of a probability; rounding alone gives about 1e-5."""

Run = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Expected:
    """What PyTorch says of one batch.

    Attributes:
        image: what the network takes, ``(B, 3, H, W)``.
        probabilities: float32 ``(B, L, H, W)``.
        seconds: that the second of two runs took.
    """

    image: Tensor
    probabilities: Tensor
    seconds: float


def check_sizes(box: tuple[int, int] | None) -> list[tuple[int, int, int]]:
    """Batch, height and width to check at: the working size, an odd one, and two images of half of it.

    Args:
        box: working size (width, height) of the configuration; None takes 1440x960.
    """
    width, height = box or (1440, 960)
    return [(1, height, width), (1, height * 3 // 4 - 1 | 1, width * 3 // 4 - 1 | 1), (2, height // 2, width // 2)]


def expected_results(network: ExportNetwork, sizes: Sequence[tuple[int, int, int]]) -> list[Expected]:
    """Synthetic photographs of these sizes, and what the network says of them."""
    results = []
    for batch, height, width in sizes:
        pictures = np.stack([generate_image(0, "test", i, (width, height))[0] for i in range(batch)])
        image = torch.from_numpy(np.ascontiguousarray(pictures.transpose(0, 3, 1, 2)))
        if not network.preprocessing:
            preprocessor: Any = network.model.data_preprocessor
            image = preprocessor(dict(inputs=list(image)))["inputs"]
        probabilities, seconds = _timed(network, image)
        results.append(Expected(image, probabilities, seconds))
    return results


def compare(run: Run, expected: Sequence[Expected]) -> list[dict[str, Any]]:
    """Differences and times of an exported file, one dictionary a batch.

    Args:
        run: image to probabilities, see :func:`open_onnx`.
        expected: see :func:`expected_results`.

    Returns:
        each with ``size`` (batch, height, width), ``max_difference`` and ``mean_difference`` of the probabilities, and
        ``seconds`` and ``torch_seconds`` (the second of two runs, ``threads`` threads).

    Raises:
        UserError: it fails at a size, or differs by more than :data:`TOLERANCE`.
    """
    found = []
    for one in expected:
        batch, _, height, width = one.image.shape
        try:
            got, seconds = _timed(run, one.image)
        except Exception as error:  # a runtime fails in its own ways
            raise UserError(f"the exported graph fails at {batch}x3x{height}x{width}: {error}") from error
        difference = (got - one.probabilities).abs()
        found.append(dict(
            size=[batch, height, width], max_difference=difference.max().item(), mean_difference=difference.mean().item(),
            seconds=round(seconds, 4), torch_seconds=round(one.seconds, 4), threads=torch.get_num_threads(),
        ))
        if not difference.max() <= TOLERANCE:
            raise UserError(f"the exported graph differs from PyTorch by {difference.max().item():.2g} at "
                            f"{batch}x3x{height}x{width}, expected at most {TOLERANCE}")
    return found


def open_onnx(path: Path) -> Run:
    """Run an ONNX file by onnxruntime on the CPU, with as many threads as PyTorch has."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda image: torch.from_numpy(session.run(["probabilities"], {"image": image.numpy()})[0])


def open_torch(path: Path) -> Run:
    """Run a ``torch.export`` archive."""
    return torch.export.load(path).module()


def _timed(run: Run, image: Tensor) -> tuple[Tensor, float]:
    with torch.no_grad():
        run(image)
        start = time.perf_counter()
        result = run(image)
        return result, time.perf_counter() - start
