"""Average precision of one photograph of 4288x2848: this project's against scikit-learn's, in time and in value.

Smooth random probabilities stand for a network's: skewed as theirs, with about one lesion pixel in a hundred. One kind more, a
network that has learnt nothing yet (all probabilities within a thousandth), shows the slow case.

    python benchmarks/average_precision.py [--json FILE]
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from sklearn.metrics import average_precision_score
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run from a checkout without installing it

from _record import write_record

from mmseg.evaluation.average_precision import AUPR11_THRESHOLDS
from mmseg.evaluation.score_histogram import ScoreHistogram

__all__ = ["compare", "main", "make_image"]

KINDS = {"trained": (-7.0, 2.0), "confident": (-12.0, 3.0), "unsure": (-5.0, 4.0), "untrained": (-4.6, 0.001)}
"""Mean and spread of the logits."""


def make_image(mean: float, spread: float, size: tuple[int, int] = (2848, 4288)) -> tuple[Tensor, Tensor]:
    """Probabilities float32 and truth uint8 of ``size`` ``(H, W)``, enlarged threefold as a network's are."""
    generator = torch.Generator().manual_seed(0)
    small = (size[0] // 3, size[1] // 3)
    coarse = (small[0] // 3, small[1] // 3)
    logit = F.interpolate(mean + spread * torch.randn(1, 1, *coarse, generator=generator), size=small, mode="bilinear")
    noisy = F.interpolate(logit + 0.35 * spread * torch.randn(1, 1, *small, generator=generator), size=size, mode="bilinear")
    truth = noisy > noisy.flatten()[::97].quantile(0.99)
    return F.interpolate(logit.sigmoid(), size=size, mode="bilinear")[0, 0], truth[0, 0].to(torch.uint8)


def compare(probabilities: Tensor, truth: Tensor, repeats: int = 3) -> dict[str, float]:
    """Seconds (the best of ``repeats``), their ratio, the difference in value, and the bound that was computed for it."""

    def ours() -> tuple[float, float]:
        return ScoreHistogram.of_image(probabilities, truth, AUPR11_THRESHOLDS).average_precision() or (0.0, 0.0)

    def theirs() -> float:
        return average_precision_score(truth.flatten().numpy(), probabilities.flatten().numpy())

    (value, bound), seconds = _timed(ours, repeats)
    expected, theirs_seconds = _timed(theirs, 1)
    return dict(
        seconds=seconds, scikit_learn_seconds=theirs_seconds, ratio=theirs_seconds / seconds, average_precision=expected,
        error=abs(value - expected), computed_bound=bound,
    )


def _timed(function: Callable[[], Any], repeats: int) -> tuple[Any, float]:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        result = function()
        times.append(time.perf_counter() - start)
    return result, min(times)


def main(arguments: list[str] | None = None) -> None:
    """Print the table, and write it as JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers to this file too")
    options = parser.parse_args(arguments)
    results = {}
    print(f"{'kind':<11}{'seconds':>9}{'scikit-learn':>14}{'ratio':>7}{'error':>10}{'bound':>10}")
    for kind, (mean, spread) in KINDS.items():
        found = results[kind] = compare(*make_image(mean, spread))
        print(f"{kind:<11}{found['seconds']:>9.3f}{found['scikit_learn_seconds']:>14.2f}{found['ratio']:>7.1f}"
              f"{found['error']:>10.1e}{found['computed_bound']:>10.1e}")
    packages = ("torch", "scikit-learn", "numpy")
    write_record(options.json, Path(__file__).name, packages, threads=torch.get_num_threads(), **results)


if __name__ == "__main__":
    main()
