"""The field's metrics: each lesion its own binary problem, pooled over the set, at the original resolution."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log

from mmseg.registry import METRICS
from mmseg.structures import IGNORE
from mmseg.version import __version__

__all__ = ["LesionMetric", "lesion_scores"]

SCORES = ("IoU", "Dice", "sensitivity", "precision")
NOT_MEASURED = ("AP", "AUPR11")
"""Keys of ``metrics.json`` that this version does not compute; they are null."""

THRESHOLD = 0.5


@METRICS.register_module()
class LesionMetric(BaseMetric):
    """IoU, Dice, sensitivity and precision a lesion and their mean, from counts pooled over all images at ``p > 0.5``.

    Pixels whose target is 255 count nowhere. A lesion that occurs in no image of the set has no score: it is shown as n/a and
    left out of the means, and the table says so. Protocol: docs/metrics.md.

    Args:
        out_dir: folder for ``metrics.json``, ``details.json`` and ``per_image.csv``; None writes nothing.
        collect_device: 'cpu' or 'gpu', where the counts of several processes meet.
        prefix: of the metrics' names in the log.
    """

    default_prefix = "lesion"

    def __init__(self, out_dir: str | None = None, collect_device: str = "cpu", prefix: str | None = None) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.out_dir = out_dir

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Count true positives, false positives and false negatives of every image, on its device.

        Args:
            data_batch: unused.
            data_samples: with ``probabilities`` ``(C, H, W)`` in [0, 1] and ``gt_sem_seg`` ``(C, H, W)`` in {0, 1, 255}.

        Raises:
            ValueError: the two differ in shape.
        """
        for sample in data_samples:
            probabilities, truth = sample["probabilities"]["data"], sample["gt_sem_seg"]["data"]
            if probabilities.shape != truth.shape:
                raise ValueError(
                    f"{sample['img_path']}: got probabilities {tuple(probabilities.shape)}, expected {tuple(truth.shape)} as "
                    "the truth; LesionMetric needs multi-label truth at the original resolution (test_mode=True)"
                )
            truth = truth.to(probabilities.device)
            predicted = (probabilities > THRESHOLD) & (truth != IGNORE)
            positive = truth == 1
            hits = (predicted & positive).flatten(1).sum(1)
            counts = [hits, predicted.flatten(1).sum(1) - hits, positive.flatten(1).sum(1) - hits]
            self.results.append(dict(image=Path(sample["img_path"]).name, counts=[c.tolist() for c in counts]))

    def compute_metrics(self, results: list[dict]) -> dict[str, float]:
        """Pool, score, print the table, write the files; the scores in percent are for reading only.

        Returns:
            ``mIoU, mDice, msensitivity, mprecision`` and ``<score>.<lesion>``, 0 to 1; n/a is left out.
        """
        classes = tuple(self.dataset_meta["classes"])
        scores = lesion_scores(results, classes)
        print_log(f"results over {len(results)} images, percent\n{format_table(scores)}", logger="current")
        print(f"\n{format_table(scores)}\n", flush=True)
        if self.out_dir is not None:
            self._write(Path(self.out_dir), scores, results, classes)
        means = {f"m{name}": scores["mean"][name] for name in SCORES}
        single = {f"{name}.{lesion}": scores[lesion][name] for lesion in classes for name in SCORES}
        return {name: value for name, value in {**means, **single}.items() if value is not None}

    def _write(self, folder: Path, scores: dict, results: list[dict], classes: tuple[str, ...]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "metrics.json").write_text(json.dumps(scores, indent=2) + "\n")
        details = dict(
            images=len(results),
            threshold=f"p > {THRESHOLD}",
            pooling="true and false positives and negatives summed over all images, original resolution",
            not_measured=list(NOT_MEASURED),
            absent=[lesion for lesion in classes if scores[lesion]["Dice"] is None],
            version=__version__,
        )
        (folder / "details.json").write_text(json.dumps(details, indent=2) + "\n")
        with (folder / "per_image.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["image", "lesion", "true_positive", "false_positive", "false_negative", *SCORES])
            for result in results:
                single = lesion_scores([result], classes)
                for c, lesion in enumerate(classes):
                    writer.writerow([result["image"], lesion, *(k[c] for k in result["counts"]), *_row(single[lesion])])


def lesion_scores(results: Sequence[dict], classes: Sequence[str]) -> dict[str, dict[str, float | None]]:
    """Scores from pooled counts.

    Args:
        results: each with ``counts``, three lists (true positive, false positive, false negative) of one number a lesion.
        classes: the lesions.

    Returns:
        the dictionary of ``metrics.json``: a lesion's scores by name, 0 to 1, null where the lesion occurs in no image;
        ``mean`` over the lesions that have them. With true pixels but no predicted one, precision is 0 (the field's rule).
    """
    scores: dict[str, dict[str, float | None]] = {}
    for c, lesion in enumerate(classes):
        tp, fp, fn = (sum(r["counts"][k][c] for r in results) for k in range(3))
        values: dict[str, float | None] = dict.fromkeys((*SCORES, *NOT_MEASURED))
        if tp + fn:
            values.update(
                IoU=tp / (tp + fp + fn), Dice=2 * tp / (2 * tp + fp + fn), sensitivity=tp / (tp + fn),
                precision=tp / (tp + fp) if tp + fp else 0.0,
            )
        scores[lesion] = values
    present = [scores[lesion] for lesion in classes if scores[lesion]["Dice"] is not None]
    scores["mean"] = dict.fromkeys((*SCORES, *NOT_MEASURED))
    if present:
        scores["mean"].update({name: sum(s[name] or 0.0 for s in present) / len(present) for name in SCORES})
    return scores


def format_table(scores: dict[str, dict[str, float | None]]) -> str:
    """The scores as a text table in percent, n/a where a lesion does not occur, which a last line tells."""
    lines = [f"{'lesion':<8}" + "".join(f"{name:>13}" for name in SCORES)]
    for lesion, values in scores.items():
        if lesion == "mean":
            lines.append("-" * len(lines[0]))
        cells = ("n/a" if (v := values[name]) is None else f"{100 * v:.2f}" for name in SCORES)
        lines.append(f"{lesion:<8}" + "".join(f"{cell:>13}" for cell in cells))
    absent = [lesion for lesion, values in scores.items() if lesion != "mean" and values["Dice"] is None]
    if absent:
        lines.append(f"n/a: no true pixel of {', '.join(absent)} in this set; left out of the mean")
    return "\n".join(lines)


def _row(values: dict[str, float | None]) -> list[str]:
    return ["" if (v := values[name]) is None else f"{v:.6f}" for name in SCORES]
