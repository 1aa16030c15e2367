"""IDRiD: Indian Diabetic Retinopathy Image Dataset (Porwal et al., 2018, doi:10.21227/H25W98, CC BY 4.0)."""

from __future__ import annotations

from mmseg.datasets.layouts import IDRID
from mmseg.datasets.release_dataset import ReleaseDataset
from mmseg.registry import DATASETS

__all__ = ["IDRiDDataset"]


@DATASETS.register_module()
class IDRiDDataset(ReleaseDataset):
    """IDRiD's segmentation set: 54 training and 27 test photographs of 4288x2848.

    A missing mask file means that the lesion does not occur in the image (soft exudates: 26 of 54 training images have any).
    IDRiD has no validation images; the training split can be cut into folds instead. Arguments: see
    :class:`~mmseg.datasets.lesion_dataset.LesionDataset`; layouts and errors:
    :class:`~mmseg.datasets.release_dataset.ReleaseDataset`.
    """

    NAME = "IDRiD"
    LAYOUTS = (IDRID,)
    FOLDER = "A. Segmentation/"
    ROOT_VARIABLE = "IDRID_ROOT"
    RELEASE_COUNTS = dict(train=54, test=27)
