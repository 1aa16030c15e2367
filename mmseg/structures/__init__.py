"""Data structures that every floor above may use."""

from mmseg.structures.enlarging import enlarge, enlarged_classes, enlarged_masks
from mmseg.structures.lesion_masks import IGNORE, LESIONS, class_masks, flatten_masks, pack_masks, unpack_masks
from mmseg.structures.retina import retina_mask
from mmseg.structures.seg_data_sample import SegDataSample

__all__ = [
    "IGNORE", "LESIONS", "SegDataSample", "class_masks", "enlarge", "enlarged_classes", "enlarged_masks", "flatten_masks",
    "pack_masks", "retina_mask", "unpack_masks",
]
