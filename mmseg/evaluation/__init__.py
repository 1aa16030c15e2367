"""Metrics. Nothing here knows a model."""

from mmseg.evaluation.comparison import compare_tests
from mmseg.evaluation.iou_metric import IoUMetric
from mmseg.evaluation.lesion_metric import LesionMetric

__all__ = ["IoUMetric", "LesionMetric", "compare_tests"]
