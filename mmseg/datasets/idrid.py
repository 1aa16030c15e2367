"""IDRiD: Indian Diabetic Retinopathy Image Dataset (Porwal et al., 2018, doi:10.21227/H25W98, CC BY 4.0)."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

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
    training images have any). Arguments: see :class:`LesionDataset`.

    Raises:
        UserError: no image with masks or labels in any of these layouts.
    """

    RELEASE_COUNTS = dict(train=54, test=27)

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
        return records
