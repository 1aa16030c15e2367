"""IDRiD: Indian Diabetic Retinopathy Image Dataset (Porwal et al., 2018, doi:10.21227/H25W98, CC BY 4.0)."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.logging import print_log

from mmseg.datasets.layouts import index_layout, official_idrid_layout, tidy_layout
from mmseg.datasets.lesion_dataset import LesionDataset
from mmseg.registry import DATASETS
from mmseg.utils.errors import UserError

__all__ = ["IDRiDDataset"]


@DATASETS.register_module()
class IDRiDDataset(LesionDataset):
    """IDRiD's segmentation set, read as it is unzipped, in the tidy layout, or as label maps.

    ``data_root`` may name "A. Segmentation", its parent, a tidy folder (``images/ masks/``), or a folder of label maps
    (``images/ labels/``). A missing mask file means that the lesion does not occur in the image (soft exudates: 26 of 54
    training images have any).

    IDRiD has no validation images. ``IDRiD_cv`` is the training split cut into folds by image, with a seed of its own, so
    that every choice can be made without looking at the test images (docs/metrics.md).

    Args:
        fold: None for the whole split, or which fold of it is left out.
        held_out: give the images of the fold instead of all others.
        num_folds: how many folds.
        fold_seed: of the order in which images are dealt out to the folds.
        *args: of :class:`LesionDataset`.
        **kwargs: of :class:`LesionDataset`.

    Raises:
        UserError: no image with masks or labels in any of these layouts, or no such fold.
    """

    RELEASE_COUNTS = dict(train=54, test=27)

    def __init__(
        self, *args: Any, fold: int | None = None, held_out: bool = False, num_folds: int = 5, fold_seed: int = 0,
        **kwargs: Any,
    ) -> None:
        if fold is not None and not 0 <= fold < num_folds:
            raise UserError(f"IDRiDDataset: got fold={fold}, expected 0 to {num_folds - 1} (num_folds={num_folds}) or None")
        self.fold, self.held_out, self.num_folds, self.fold_seed = fold, held_out, num_folds, fold_seed
        super().__init__(*args, **kwargs)

    def load_data_list(self) -> list[dict[str, Any]]:
        """Records of the split; a count that differs from the release is a warning."""
        root = Path(self.data_root)
        for layout in (tidy_layout, official_idrid_layout, index_layout):
            records = layout(root, self.split)
            if records:
                break
        else:
            raise UserError(
                f"IDRiD ({self.split}): no images with masks in {root.absolute()!s} "
                f"({'an existing folder' if root.is_dir() else 'no such folder'}); expected 'A. Segmentation/' of the official "
                "release or a folder with images/ and masks/; set the environment variable IDRID_ROOT to that folder"
            )
        expected = self.RELEASE_COUNTS[self.split]
        if len(records) != expected:
            print_log(
                f"IDRiD ({self.split}): got {len(records)} images in {root}, the release has {expected}",
                logger="current", level=logging.WARNING,
            )
        return records if self.fold is None else self._of_fold(records, self.fold)

    def _of_fold(self, records: list[dict[str, Any]], fold: int) -> list[dict[str, Any]]:
        """The records inside or outside a fold, in their own order."""
        # RandomState, since its stream is frozen: a fold must be the same images in every version of numpy.
        order = np.random.RandomState(self.fold_seed).permutation(len(records))
        dealt = set(order[fold :: self.num_folds].tolist())
        return [record for i, record in enumerate(records) if (i in dealt) == self.held_out]
