"""mmsegmentation's metric for index maps, by its names."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log
from torch import Tensor

from mmseg.registry import METRICS
from mmseg.structures import IGNORE, flatten_masks

__all__ = ["IoUMetric"]

_CHOICES = ("mIoU", "mDice", "mFscore")


@METRICS.register_module()
class IoUMetric(BaseMetric):
    """Scores of index maps, every pixel one class, with the names and values (percent, two decimals) of mmsegmentation 1.x.

    Class 0 is the background, or the first class of a data set of index maps; it counts in the means, so these numbers cannot
    be compared with those of :class:`LesionMetric`. Multi-label truth is flattened, small lesions on top
    (:func:`mmseg.structures.flatten_masks`).

    Args:
        ignore_index: value of the truth that counts nowhere.
        iou_metrics: any of 'mIoU' (IoU and Acc of each class), 'mDice' (Dice, Acc), 'mFscore' (Fscore, Precision, Recall).
        nan_to_num: what stands in for the score of a class that does not occur; None leaves it out of the means.
        beta: weight of recall in the F-score.
        collect_device: see :class:`LesionMetric`.
        output_dir: folder for the predicted index maps, ``<image>.png``; None writes none.
        format_only: only write them.
        prefix: of the metrics' names; none by default.

    Raises:
        ValueError: an unknown name in ``iou_metrics``, or ``format_only`` without ``output_dir``.
    """

    default_prefix = ""  # None would be warned about

    def __init__(
        self, ignore_index: int = IGNORE, iou_metrics: str | Sequence[str] = ("mIoU",), nan_to_num: float | None = None,
        beta: float = 1, collect_device: str = "gpu", output_dir: str | None = None, format_only: bool = False,
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.metrics = [iou_metrics] if isinstance(iou_metrics, str) else list(iou_metrics)
        unknown = [name for name in self.metrics if name not in _CHOICES]
        if unknown or not self.metrics:
            raise ValueError(f"IoUMetric.iou_metrics: got {unknown or 'none'}, expected any of {', '.join(_CHOICES)}")
        if format_only and output_dir is None:
            raise ValueError("IoUMetric: got format_only=True, expected output_dir with it: where the index maps go")
        self.ignore_index, self.nan_to_num, self.beta = ignore_index, nan_to_num, beta
        self.output_dir, self.format_only = output_dir, format_only

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Count the pixels of each class, on the device of the prediction.

        Args:
            data_batch: unused.
            data_samples: with ``pred_sem_seg`` ``(1, H, W)`` and ``gt_sem_seg`` ``(1, H, W)``, class indices, or multi-label
                ``(4, H, W)``.

        Raises:
            ValueError: the two differ in size, or hold a class that there is not.
        """
        for sample in data_samples:
            predicted, name = sample["pred_sem_seg"]["data"].squeeze(0), Path(sample["img_path"])
            if self.output_dir is not None:
                _write(Path(self.output_dir), name.stem, predicted + 1 if sample.get("reduce_zero_label") else predicted)
            if not self.format_only:
                truth = sample["gt_sem_seg"]["data"].to(predicted.device)
                truth = flatten_masks(truth) if truth.shape[0] > 1 else truth[0]
                if truth.shape != predicted.shape:
                    raise ValueError(f"{name}: got an index map {tuple(predicted.shape)}, expected {tuple(truth.shape)}")
                labels = self._labels(self._has_background(sample))
                self.results.append(_confusion(predicted.long(), truth.long(), name, labels, self.ignore_index).cpu())
            else:
                self.results.append(None)

    def compute_metrics(self, results: list[Tensor]) -> dict[str, float]:
        """Pool, score and log the table.

        Returns:
            percent: ``aAcc``, and ``m<score>`` of each score asked for.
        """
        if self.format_only:
            print_log(f"index maps are in {self.output_dir}", logger="current")
            return {}
        confusion = torch.stack(results).sum(0).double().numpy()
        scores = self._scores(confusion)
        means = {f"m{name}": round(float(_nanmean(values) * 100), 2) for name, values in scores.items() if name != "aAcc"}
        lines = [f"{'class':<12}" + "".join(f"{name:>10}" for name in scores if name != "aAcc")]
        labels = self._labels(len(confusion) > len(self.dataset_meta["classes"]))  # type: ignore[index]
        for i, label in enumerate(labels):
            lines.append(f"{label:<12}" + "".join(f"{100 * v[i]:>10.2f}" for name, v in scores.items() if name != "aAcc"))
        table = "\n".join(lines)
        print_log(f"per class results, percent\n{table}", logger="current")
        print(f"\n{table}\n", flush=True)  # the log's console shows one-line messages
        if absent := [label for label, pixels in zip(labels, confusion.sum(1), strict=True) if not pixels]:
            print_log(f"{', '.join(absent)}: in no map of the set; are maps coded 0 and 255, of which 255 counts for nothing?",
                      logger="current", level=logging.WARNING)
        return {"aAcc": round(float(scores["aAcc"]) * 100, 2), **means}

    def _has_background(self, sample: dict) -> bool:
        """Whether the background is a class beside those of the data set: not where it gives index maps, and the model as many
        channels as there are classes (one less, where a threshold takes the place of channel 0)."""
        classes = self.dataset_meta["classes"]  # type: ignore[index]
        channels = len(sample["probabilities"]["data"]) if "probabilities" in sample else None
        own = len(classes) > 1 and len(sample["gt_sem_seg"]["data"]) == 1 and channels in (len(classes), len(classes) - 1)
        return not own and classes[0] != "background"

    def _labels(self, background: bool) -> tuple[str, ...]:
        classes = tuple(self.dataset_meta["classes"])  # type: ignore[index]
        return ("background", *classes) if background else classes

    def _scores(self, confusion: np.ndarray) -> dict[str, np.ndarray]:
        hit, truth, predicted = confusion.diagonal(), confusion.sum(1), confusion.sum(0)
        with np.errstate(invalid="ignore", divide="ignore"):
            acc, precision = hit / truth, hit / predicted
            fscore = (1 + self.beta**2) * precision * acc / (self.beta**2 * precision + acc)
            known = dict(
                mIoU=dict(IoU=hit / (truth + predicted - hit), Acc=acc),
                mDice=dict(Dice=2 * hit / (truth + predicted), Acc=acc),
                mFscore=dict(Fscore=fscore, Precision=precision, Recall=acc),
            )
            scores = dict(aAcc=hit.sum() / truth.sum()) | {k: v for name in self.metrics for k, v in known[name].items()}
        if self.nan_to_num is not None:
            scores = {name: np.nan_to_num(values, nan=self.nan_to_num) for name, values in scores.items()}
        return scores


def _confusion(predicted: Tensor, truth: Tensor, name: Path, labels: Sequence[str], ignore_index: int) -> Tensor:
    """Pixels by true (row) and predicted class: int64 ``(K, K)``."""
    number = len(labels)
    counted = truth != ignore_index
    predicted, truth = predicted[counted], truth[counted]
    if predicted.numel() and max(int(predicted.max()), int(truth.max())) >= number:
        raise ValueError(f"{name}: got a class index above {number - 1}, expected one of {', '.join(labels)}")
    return torch.bincount(truth * number + predicted, minlength=number**2).view(number, number)


def _nanmean(values: np.ndarray) -> float:
    return float(values[~np.isnan(values)].mean()) if not np.isnan(values).all() else float("nan")


def _write(folder: Path, stem: str, index_map: Tensor) -> None:
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(index_map.to(torch.uint8).cpu().numpy()).save(folder / f"{stem}.png")
