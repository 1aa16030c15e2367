"""What DSWM's weights do in a trained SDC-Net: where they lie, and what a network loses that may not vary them.

Scores a checkpoint three times on the test images of a config: with the weights that it gives, with their mean over all pixels
of the set in every stage, and with 1/2. Nothing is trained again: this tells what this network leans on, not what another one
could do without. For each stage it then tells where w_s, the weight of the shallow branch, lies in each lesion and elsewhere.

    python benchmarks/branch_weights.py CONFIG CHECKPOINT --out DIR [--json FILE] [--cfg-options KEY=VALUE ...]
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tools")]

import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402
from _cli import options as parse_options  # noqa: E402
from _record import write_record  # noqa: E402
from mmengine.hooks import Hook  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from mmseg.apis import build_tester  # noqa: E402
from mmseg.engine.config import load_config  # noqa: E402
from mmseg.utils.errors import UserError, exit_on_user_error  # noqa: E402

BINS = 1000
"""Of w_s, from 0 to 1."""
ELSEWHERE = "no lesion"
SHARES = (0.05, 0.5, 0.95)


class WeightHistogram(Hook):
    """Counts w_s of every stage by lesion, at the resolution of the truth.

    Args:
        stages: the network's DSWM modules, coarse to fine.
        names: of the lesions, in the order of the truth's channels.
    """

    def __init__(self, stages: nn.ModuleList, names: tuple[str, ...]) -> None:
        self.counts = torch.zeros(len(stages), len(names) + 1, BINS, dtype=torch.int64)
        self.sums, self.pixels = torch.zeros(len(stages), dtype=torch.float64), torch.zeros(len(stages), dtype=torch.int64)
        self._latest: list[Tensor] = [torch.empty(0)] * len(stages)
        for index, stage in enumerate(stages):
            stage.spatial.register_forward_hook(self._keep(index))  # type: ignore[operator]

    def _keep(self, index: int) -> Callable[..., None]:
        def keep(_: nn.Module, __: Any, logits: Tensor) -> None:
            self._latest[index] = shallow_weight(logits)

        return keep

    def after_test_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Count one image."""
        (sample,) = outputs
        truth = sample.gt_sem_seg.data
        regions = [*(truth == 1), (truth == 0).all(0)]
        for index, weight in enumerate(self._latest):
            self.sums[index] += weight.double().sum().cpu()
            self.pixels[index] += weight.numel()
            bins = (F.interpolate(weight, size=truth.shape[-2:])[0, 0] * BINS).long().clamp_(max=BINS - 1)
            for region, where in enumerate(regions):
                self.counts[index, region] += torch.bincount(bins[where.to(bins.device)], minlength=BINS).cpu()

    def quantiles(self) -> Tensor:
        """Of w_s, at :data:`SHARES`: ``(stages, lesions + 1, shares)``, to half a bin; nan where there is no pixel."""
        share = self.counts.cumsum(-1) / self.counts.sum(-1, keepdim=True)
        wanted = torch.tensor(SHARES, dtype=share.dtype).expand(*share.shape[:2], -1).contiguous()
        found = (torch.searchsorted(share, wanted) + 0.5) / BINS
        return found.masked_fill(self.counts.sum(-1, keepdim=True) == 0, float("nan"))


def shallow_weight(logits: Tensor) -> Tensor:
    """w_s of the logits ``(B, 2, H, W)`` of a stage: ``(B, 1, H, W)``."""
    return logits.float().softmax(1)[:, :1]


def fix_weights(stages: nn.ModuleList, weights: list[float]) -> None:
    """Make w_s of each stage the same at every pixel."""
    for stage, weight in zip(stages, weights, strict=True):
        constant = torch.tensor([weight, 1 - weight]).log().view(1, 2, 1, 1)

        def replace(_: nn.Module, __: Any, logits: Tensor, constant: Tensor = constant) -> Tensor:
            return constant.to(logits).expand_as(logits)

        stage.spatial.register_forward_hook(replace)  # type: ignore[operator]


def score(args: argparse.Namespace, way: str, weights: list[float] | None) -> tuple[dict[str, Any], WeightHistogram]:
    """``metrics.json`` of one way, and where w_s lay before it was replaced."""
    config = load_config(args.config, parse_options(args.cfg_options))
    config.work_dir = str(args.out / way)
    runner = build_tester(config, args.checkpoint, args.out / way)
    head = getattr(runner.bare_model, "refine_head", None)
    if not hasattr(head, "branch_weights"):
        raise UserError(f"{args.config}: got a {type(runner.bare_model).__name__}, expected an SDCNet, which has DSWM stages")
    tested = runner.bare_model.test_cfg or {}
    if tested.get("flips") or tested.get("mode", "whole") != "whole":
        raise UserError(f"{args.config}: got model.test_cfg with flips or windows, expected whole images: w_s are of one pass")
    names = tuple(runner.test_loop.dataloader.dataset.metainfo["classes"])
    histogram = WeightHistogram(head.stages, names)
    if weights is not None:
        fix_weights(head.stages, weights)
    runner.register_hook(histogram, priority="LOWEST")
    runner.test()
    return json.loads((args.out / way / "metrics.json").read_text()), histogram


def percent(value: float | None) -> str:
    return "n/a" if value is None else f"{100 * value:.1f}"


def print_table(head: list[str], rows: list[list[str]]) -> None:
    """As Markdown."""
    lines = ["| " + " | ".join(row) + " |" for row in (head, *rows)]
    print(lines[0], "|---" * len(head) + "|", *lines[1:], "", sep="\n")


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", help="that the network was trained with")
    parser.add_argument("checkpoint")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the scores and reports go")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there")
    parser.add_argument("--cfg-options", nargs="+", action="extend", metavar="KEY=VALUE")
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    with exit_on_user_error():
        learnt, histogram = score(args, "learnt", None)
        means = (histogram.sums / histogram.pixels).tolist()
        scores = dict(learnt=learnt, mean=score(args, "mean", means)[0], half=score(args, "half", [0.5] * len(means))[0])
    lesions = list(learnt)[:-1]
    regions, quantiles = [*lesions, ELSEWHERE], histogram.quantiles().tolist()
    print_table(["weights", "mean AP", *lesions], [
        [way, *(percent(found[name]["AP"]) for name in ("mean", *lesions))] for way, found in scores.items()])
    print("w_s, median (5 % to 95 % of the pixels)")
    print_table(["stage", "mean", *regions], [
        [f"stride {16 >> number}", f"{mean:.2f}", *(f"{middle:.2f} ({low:.2f} to {high:.2f})" for low, middle, high in stage)]
        for number, (mean, stage) in enumerate(zip(means, quantiles, strict=True))])
    strides = {f"stride {16 >> number}": dict(mean=mean, quantiles=dict(zip(regions, stage, strict=True)))
               for number, (mean, stage) in enumerate(zip(means, quantiles, strict=True))}
    write_record(args.json, "branch_weights.py", ("torch",), scores=scores, shares=SHARES, w_s=strides)


if __name__ == "__main__":
    main()
