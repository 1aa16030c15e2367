"""What the network sees while it learns."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from mmengine.dist import master_only
from mmengine.hooks import Hook

from mmseg.engine.compiling import uncompiled
from mmseg.engine.random_state import capture_random_state, restore_random_state
from mmseg.registry import HOOKS
from mmseg.structures import SegDataSample, class_masks, unpack_masks
from mmseg.visualization import draw_overlay

__all__ = ["SampleOverlayHook"]


@HOOKS.register_module()
class SampleOverlayHook(Hook):
    """Show one training image every so many iterations: what is true above, what is predicted at ``p > 0.5`` below.

    The picture goes to every backend of the visualiser (``vis_data/vis_image/``, TensorBoard). The image is the first of the
    data set, and always the same where no pipeline of the user's changes it; random numbers, running means and the order of the
    images are left alone.

    Args:
        interval: iterations between pictures; 0 draws none.
    """

    priority = "LOWEST"  # after the checkpoint, which no picture may cost

    def __init__(self, interval: int = 2000) -> None:
        self.interval = interval

    @master_only
    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Draw at the interval."""
        if not self.every_n_train_iters(runner, self.interval):
            return
        dataset, model = runner.train_dataloader.dataset, runner.bare_model
        state = capture_random_state()  # a pipeline of the user's may draw
        item = dataset[0]
        restore_random_state(state)
        image = item["inputs"]
        truth = unpack_masks(item["masks"]) if "masks" in item else item["data_samples"].gt_sem_seg.data
        size = tuple(image.shape[1:])
        sample = SegDataSample(metainfo=dict(ori_shape=size, img_shape=size))
        training = model.training
        model.eval()
        try:
            with torch.no_grad(), uncompiled(getattr(runner, "compiled", False)):
                (found,) = model.test_step(dict(inputs=[image], data_samples=[sample]))
        finally:
            model.train(training)
        pixels, shown = image.permute(1, 2, 0).cpu().numpy(), model.shown_classes(dataset.metainfo)
        first = max(0, len(dataset.metainfo["classes"]) - len(shown[0]))  # 1 where the background is a class that is not shown
        if getattr(model.data_preprocessor, "takes_bgr", False):
            pixels = pixels[..., ::-1]
        true = class_masks(truth, len(shown[0]), first).cpu().numpy()
        of_truth = [part[-len(true) :] for part in shown]  # masks have no background
        drawn = [draw_overlay(pixels, true, *of_truth), draw_overlay(pixels, model.shown_masks(found).cpu().numpy(), *shown)]
        runner.visualizer.add_image("sample_truth_prediction", np.concatenate(drawn), step=runner.iter + 1)
