"""DDR: Diagnostic assessment of deep learning algorithms for diabetic retinopathy screening (Li et al., 2019,
doi:10.1016/j.ins.2019.06.011)."""

from __future__ import annotations

from mmseg.datasets.layouts import DDR, DDR_MIRROR
from mmseg.datasets.release_dataset import ReleaseDataset
from mmseg.registry import DATASETS

__all__ = ["DDRDataset"]


@DATASETS.register_module()
class DDRDataset(ReleaseDataset):
    """DDR's segmentation set in its official split: 383 training, 149 validation and 225 test photographs of many sizes.

    Every photograph has four mask files; one that is missing is an error. A common copy has only 338, 149 and 208
    photographs, which is a warning. Arguments: see :class:`~mmseg.datasets.lesion_dataset.LesionDataset`; layouts and errors:
    :class:`~mmseg.datasets.release_dataset.ReleaseDataset`.
    """

    NAME = "DDR"
    SPLITS = ("train", "valid", "test")
    LAYOUTS = (DDR, DDR_MIRROR)
    FOLDER = "lesion_segmentation/"
    ROOT_VARIABLE = "DDR_ROOT"
    RELEASE_COUNTS = dict(train=383, valid=149, test=225)
