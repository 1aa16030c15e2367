"""The page that a test leaves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmengine.dist import all_gather_object, is_main_process
from mmengine.hooks import Hook

from mmseg.datasets.leaves import leaf_datasets, summarise_datasets
from mmseg.engine.checkpoint import embedded_config
from mmseg.engine.trained_images import trained_images
from mmseg.evaluation import LesionMetric
from mmseg.registry import HOOKS
from mmseg.utils.digests import file_sha256
from mmseg.visualization import ReportPictures, write_report

__all__ = ["ReportHook"]


@HOOKS.register_module()
class ReportHook(Hook):
    """Collect a small picture of every tested image and write ``report.html``; tell the metric whose the results are, and the
    model's own thresholds.

    Args:
        out_dir: the folder of :class:`LesionMetric`.
        command: that was typed, for the report.
    """

    priority = "LOW"

    def __init__(self, out_dir: str, command: str = "") -> None:
        self.out_dir, self.command = out_dir, command
        self._pictures = ReportPictures()
        self._trained_on = 0
        self._training: dict[str, Any] = {}

    def after_load_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        """Thresholds of the metric go before those of the model. Scores on images that it was trained on mean nothing."""
        found = trained_images(embedded_config(checkpoint, "the checkpoint") or {}, runner.cfg)
        self._trained_on = len(found.certain)
        for line in found.warnings("test_dataloader"):
            runner.logger.warning(line)
        meta = checkpoint.get("meta", {})
        stored = meta.get("thresholds")
        self._training = {key: meta[key] for key in ("config_name", "iter", "seed", "init") if meta.get(key) is not None}
        for metric in runner.test_evaluator.metrics:
            if isinstance(metric, LesionMetric):
                classes = metric.dataset_meta["classes"]
                metric.thresholds = {**runner.bare_model.lesion_thresholds(classes, stored), **metric.thresholds}

    def before_test(self, runner: Any) -> None:
        """Say in ``details.json`` whose weights they are, and which images."""
        file, test_set = runner.cfg.get("load_from"), summarise_datasets(runner.cfg.test_dataloader.dataset)
        for metric in runner.test_evaluator.metrics:
            if isinstance(metric, LesionMetric):
                metric.about = dict(
                    test_set=test_set, trained_on=self._trained_on, training=self._training, prediction=_prediction(runner), **(
                    dict(checkpoint=f"{Path(file).name}, SHA-256 {file_sha256(file)}") if file else {}))

    def after_test_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Keep the images of one batch, at their working size."""
        if not _of_lesions(runner):
            return
        for image, sample in zip(data_batch["inputs"], outputs, strict=True):
            truth = sample.gt_sem_seg.data.cpu().numpy()
            predicted = runner.bare_model.shown_masks(sample)[-len(truth) :]  # without the background, where it is a channel
            self._pictures.add(Path(sample.img_path).name, image.permute(1, 2, 0).cpu().numpy(), predicted.cpu().numpy(), truth)

    def after_test_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        """Bring the pictures of all processes together and write."""
        self._pictures.update(all_gather_object(self._pictures))
        own = any(getattr(metric, "out_dir", None) == self.out_dir for metric in runner.test_evaluator.metrics)
        written = own and Path(self.out_dir, "metrics.json").is_file()  # a metric of the user's may write none
        if is_main_process() and _of_lesions(runner) and written:
            write_report(self.out_dir, self._pictures, self.command, runner.cfg.to_dict())


def _prediction(runner: Any) -> str:
    """How images are predicted, in words: scores of one way are not those of another."""
    settings = getattr(runner.bare_model, "test_cfg", None) or {}
    leaves = list(leaf_datasets(runner.cfg.test_dataloader.dataset))
    sizes = dict.fromkeys("at their own size" if leaf.size is None else f"within {leaf.size[0]}x{leaf.size[1]}" for leaf in leaves
                          if leaf.size is not None or not leaf.settings.get("pipeline"))
    way = "whole images" if settings.get("mode", "whole") == "whole" else f"windows of {tuple(settings['crop_size'])}"
    flips = settings.get("flips") or ()
    mirrored = f", averaged over {len(flips)} mirror images, too" if flips else ""
    return f"{way} {' and '.join(sizes) or 'as their pipeline gives them'}{mirrored}"


def _of_lesions(runner: Any) -> bool:
    return any(isinstance(metric, LesionMetric) for metric in runner.test_evaluator.metrics)
