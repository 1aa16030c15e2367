"""Pictures of test results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmengine.hooks import Hook

from mmseg.datasets.layouts import check_names
from mmseg.datasets.reading import read_image
from mmseg.registry import HOOKS
from mmseg.utils.errors import UserError
from mmseg.visualization import draw_overlay, write_picture

__all__ = ["OverlayHook"]


@HOOKS.register_module()
class OverlayHook(Hook):
    """Write ``<image>_overlay.png`` for every tested image: what was predicted, at ``p > 0.5`` or by class.

    Args:
        out_dir: folder, made where it does not exist.
    """

    def __init__(self, out_dir: str) -> None:
        self.out_dir = Path(out_dir)

    def before_test(self, runner: Any) -> None:
        """Refuse photographs of one name, and their own folder, before any is tested."""
        for dataset in getattr(runner.test_dataloader.dataset, "datasets", [runner.test_dataloader.dataset]):
            if not hasattr(dataset, "get_data_info"):
                continue
            paths = [dataset.get_data_info(i)["img_path"] for i in range(len(dataset))]
            check_names(paths, f"overlays in {self.out_dir}")
            if self.out_dir.resolve() in {Path(path).parent.resolve() for path in paths}:
                raise UserError(f"{self.out_dir}: holds the photographs, of which the overlays would be some the next time; "
                                "choose another folder (--show-dir)")
            if any((self.out_dir / f"{Path(path).stem}.json").exists() for path in paths):
                raise UserError(f"{self.out_dir}: holds results of tools/inference.py, whose overlays would be replaced; "
                                "choose another folder (--show-dir)")

    def after_test_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Draw the images of one batch."""
        self.out_dir.mkdir(parents=True, exist_ok=True)
        model = runner.bare_model
        classes, palette = model.shown_classes(runner.test_dataloader.dataset.metainfo)
        for sample in outputs or []:
            masks = model.shown_masks(sample).cpu().numpy()
            limits = model.shown_thresholds(len(classes))
            overlay = draw_overlay(read_image(sample.img_path), masks, classes, palette, thresholds=limits)
            write_picture(self.out_dir / f"{Path(sample.img_path).stem}_overlay.png", overlay)
