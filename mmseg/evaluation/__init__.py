"""Metrics. Nothing here knows a model."""

from mmseg.evaluation.lesion_metric import LesionMetric

__all__ = ["LesionMetric"]
