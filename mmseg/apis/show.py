"""Look at a result."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mmseg.datasets.reading import read_image
from mmseg.models.segmentors.base import BaseSegmentor
from mmseg.structures import SegDataSample
from mmseg.visualization import draw_overlay, write_picture

__all__ = ["show_result_pyplot"]


def show_result_pyplot(
    model: BaseSegmentor,
    img: str | Path | np.ndarray,
    result: SegDataSample,
    opacity: float = 0.25,
    show: bool = False,
    out_file: str | Path | None = None,
) -> np.ndarray:
    """Draw the lesions of :func:`~mmseg.apis.inference_model` (``p > 0.5``; of a model with ``test_cfg.thresholds=None`` the
    class of every pixel) onto their photograph; the name of mmsegmentation 1.x.

    Args:
        model: from :func:`~mmseg.apis.init_model`.
        img: a path, or a uint8 ``(H, W, 3)`` RGB array.
        result: of this photograph.
        opacity: of the tint, 0 to 1.
        show: open a window; unlike in mmsegmentation not by default, since a server has none.
        out_file: where to write the picture.

    Returns:
        uint8 ``(H + legend, W, 3)``, RGB.
    """
    image = img if isinstance(img, np.ndarray) else read_image(img)
    masks, (classes, palette) = model.shown_masks(result).cpu().numpy(), model.shown_classes(model.dataset_meta)
    overlay = draw_overlay(image, masks, classes, palette, opacity, model.shown_thresholds(len(classes)))
    if out_file is not None:
        write_picture(out_file, overlay)
    if show:
        from matplotlib import pyplot as plt

        plt.imshow(overlay)
        plt.show()
    return overlay
