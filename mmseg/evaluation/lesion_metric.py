"""The field's metrics: each lesion its own binary problem, pooled over the set, at the original resolution."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dist import all_gather_object, get_dist_info, is_main_process
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log
from torch import Tensor

from mmseg.evaluation.average_precision import AUPR11_THRESHOLDS
from mmseg.evaluation.bootstrap import COARSE_BINS, bootstrap_intervals
from mmseg.evaluation.lesion_regions import region_counts
from mmseg.evaluation.lesion_scores import SCORES, are_masks, format_table, score_arrays, score_table
from mmseg.evaluation.result_files import write_scores
from mmseg.evaluation.score_histogram import ScoreHistogram
from mmseg.registry import METRICS
from mmseg.utils.errors import UserError

__all__ = ["LesionMetric"]

MASKS = ("The predictions are masks (no p lies between 0 and 0.9): AP and AUPR11 of masks are not to be compared with those of "
         "probabilities; judge by Dice.")


@METRICS.register_module()
class LesionMetric(BaseMetric):
    """IoU, Dice, sensitivity and precision at ``p > 0.5``, AP and AUPR11: a lesion and their mean, pooled over all images.

    Counts are made on the device of the probabilities; what is kept does not grow with the images but for some 35 KB each.
    Pixels whose target is 255 count nowhere. A lesion that occurs in no image of the set has no score: it is shown as n/a and
    left out of the means, and the table says so. Protocol: docs/metrics.md. In the log: ``lesion/mIoU, mDice, msensitivity,
    mprecision, mAP, mAUPR11`` and ``lesion/<score>.<lesion>``, 0 to 1.

    With ``out_dir`` it also counts lesions one by one, draws intervals, and writes ``metrics.json``, ``details.json`` and
    ``per_image.csv``.

    Args:
        out_dir: folder of the files; None writes nothing.
        thresholds: by lesion, those tuned for the model, for the scores ``*_tuned`` of ``details.json``; 0.5 where not named.
            Without any there are no such scores; ``tools/test.py`` takes the model's.
        quantised: why the probabilities are not the model's own float32, which falsifies AUPR11: it becomes null.
        bootstrap: how often images are drawn for the intervals.
        seed: of these draws.
        collect_device: where the counts of several processes meet: 'gpu', which is the network between them, without a GPU, too;
            'cpu' is files in rank 0's current folder, which all machines must share.
        prefix: of the metrics' names in the log.

    Attributes:
        about: what else to write into ``details.json``, of JSON's types: what was tested, on which images.

    Raises:
        ValueError: a threshold is no probability, nothing is drawn, or the seed is none.
    """

    default_prefix = "lesion"

    def __init__(
        self, out_dir: str | None = None, thresholds: Mapping[str, float] | None = None, quantised: str | None = None,
        bootstrap: int = 1000, seed: int = 0, collect_device: str = "gpu", prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.out_dir = out_dir
        self.thresholds = dict(thresholds or {})
        if wrong := {name: value for name, value in self.thresholds.items() if not 0 <= value <= 1}:
            raise ValueError(f"LesionMetric.thresholds: got {wrong}, expected probabilities from 0 to 1")
        if bootstrap < 1:
            raise ValueError(f"LesionMetric.bootstrap: got {bootstrap}, expected 1 or more")
        if not 0 <= seed < 2**32:
            raise ValueError(f"LesionMetric.seed: got {seed}, expected 0 to 2**32 - 1, as numpy's generator takes it")
        self.quantised = quantised
        self.bootstrap, self.seed = bootstrap, seed
        self.about: dict[str, Any] = {}
        self._pooled: list[ScoreHistogram] = []
        self._last: dict | None = None

    @property
    def dataset_meta(self) -> Any:
        """Of the data set; ``classes`` are the lesions. It is set before anything is counted.

        Raises:
            UserError: when it is set, for ``thresholds`` of a lesion that it does not know.
        """
        return self._dataset_meta

    @dataset_meta.setter
    def dataset_meta(self, meta: dict) -> None:
        if unknown := [name for name in self.thresholds if name not in meta["classes"]]:
            raise UserError(f"LesionMetric.thresholds: got {unknown}, expected names of {', '.join(meta['classes'])}")
        self._dataset_meta = meta

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Count every image, on its device.

        Args:
            data_batch: unused.
            data_samples: with ``probabilities`` ``(C, H, W)`` in [0, 1] and ``gt_sem_seg`` ``(C, H, W)`` in {0, 1, 255}.

        Raises:
            ValueError: the two differ in shape, or a probability is not between 0 and 1.
        """
        for sample in data_samples:
            if get_dist_info()[1] > 1:  # the last image of a process may be one that fills up: see evaluate
                self._last, sample = sample, self._last
            if sample is not None:
                self._count(sample)

    def evaluate(self, size: int) -> dict[str, float]:
        """Bring the counts of all processes together and score them.

        With several processes mmengine hands out images in turn and fills up with repeated ones, at most one a process, its
        last; it drops their results by their position. The pooled counts drop the same.

        Args:
            size: images of the set.
        """
        rank, world = get_dist_info()
        if self._last is not None:
            self._count(self._last, pool=len(self.results) * world + rank < size)
            self._last = None
        if world > 1:
            states = all_gather_object([histogram.state() for histogram in self._pooled])
            for state in (s for r, s in enumerate(states) if r != rank and is_main_process()):
                for histogram, other in zip(self._pooled, state, strict=True):
                    histogram.add_state(other)
        try:
            return super().evaluate(size)
        finally:
            self._pooled = []

    def compute_metrics(self, results: list[dict]) -> dict[str, float]:
        """Score, print the table, write the files; percent is for reading only.

        Returns:
            ``m<score>`` and ``<score>.<lesion>``, 0 to 1; n/a is left out.
        """
        classes = tuple(self.dataset_meta["classes"])  # type: ignore[index]
        precisions = [histogram.average_precision() or (np.nan, np.nan) for histogram in self._pooled]
        above, lesion = (sum(r[key] for r in results) for key in ("above", "lesion"))
        quantised = self.quantised is not None
        arrays = {**score_arrays(above, lesion, quantised), "AP": np.array([ap for ap, _ in precisions])}
        scores = score_table(arrays, classes)
        intervals = None
        if self.out_dir is not None:
            intervals = bootstrap_intervals(results, classes, arrays["AP"], self.bootstrap, self.seed, quantised)
        table = format_table(scores, intervals["mean"] if intervals else None)
        if quantised:
            table += f"\nAUPR11 n/a: {self.quantised}"
        masks = are_masks(above)
        if masks:
            table += f"\n{MASKS}"
        print_log(f"results over {len(results)} images, percent\n{table}", logger="current")
        print(f"\n{table}\n", flush=True)  # before anything is written: a full disk takes no scores
        if self.out_dir is not None and intervals is not None:
            errors = dict(zip(classes, (None if np.isnan(error) else error for _, error in precisions), strict=True))
            write_scores(
                Path(self.out_dir), scores, intervals, results, self._pooled, ap_error=errors,
                thresholds=self._tuned() if self.thresholds else {}, quantised=self.quantised,
                bootstrap=dict(samples=self.bootstrap, seed=self.seed), note=MASKS if masks else None, **self.about,
            )
        means = {f"m{name}": scores["mean"][name] for name in SCORES}
        single = {f"{name}.{lesion}": scores[lesion][name] for lesion in classes for name in SCORES}
        return {name: value for name, value in {**means, **single}.items() if value is not None}

    def _tuned(self) -> dict[str, float]:
        return {lesion: float(self.thresholds.get(lesion, 0.5)) for lesion in self.dataset_meta["classes"]}  # type: ignore[index]

    def _count(self, sample: dict, pool: bool = True) -> None:
        """Keep the counts of one image, and add them to those of all images."""
        name = sample["img_path"]
        probabilities, truth = sample["probabilities"]["data"], sample["gt_sem_seg"]["data"]
        if probabilities.shape != truth.shape:
            raise ValueError(
                f"{name}: got probabilities {tuple(probabilities.shape)}, expected {tuple(truth.shape)} as "
                "the truth; LesionMetric needs multi-label truth at the original resolution (test_mode=True)"
            )
        truth = truth.to(probabilities.device)
        try:
            counted = [
                ScoreHistogram.of_image(p, t, (*AUPR11_THRESHOLDS, tuned))
                for p, t, tuned in zip(probabilities, truth, self._tuned().values(), strict=True)
            ]
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
        self.results.append(self._of_image(Path(name).name, counted, probabilities, truth))
        if not self._pooled:
            self._pooled = [ScoreHistogram(AUPR11_THRESHOLDS, probabilities.device) for _ in counted]
        for histogram, more in zip(self._pooled, counted, strict=True):
            if pool:
                histogram.add(more)

    def _of_image(self, name: str, counted: list[ScoreHistogram], probabilities: Tensor, truth: Tensor) -> dict[str, Any]:
        """What is kept of one image: ``above`` ``(C, 12, 2)``, ``lesion`` ``(C,)`` and, for the files, the rest."""
        kept: dict[str, Any] = dict(
            image=name,
            above=np.stack([histogram.counts_above() for histogram in counted]),
            lesion=np.array([histogram.pixels()[0] for histogram in counted]),
        )
        if self.out_dir is not None:
            kept["AP"] = [(histogram.average_precision() or (np.nan,))[0] for histogram in counted]
            kept["coarse"] = np.stack([histogram.coarse(COARSE_BINS) for histogram in counted]).astype(np.int32)
            kept["regions"] = np.stack([region_counts(p, t) for p, t in zip(probabilities, truth, strict=True)])
        return kept
