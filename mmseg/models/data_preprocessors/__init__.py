"""What happens to a batch on its device before the network sees it."""

from mmseg.models.data_preprocessors.lesion_data_preprocessor import LesionDataPreprocessor
from mmseg.models.data_preprocessors.seg_data_preprocessor import SegDataPreProcessor

__all__ = ["LesionDataPreprocessor", "SegDataPreProcessor"]
