"""Losses on plain tensors."""

from mmseg.models.losses.affinity_loss import affinity_loss
from mmseg.models.losses.cross_entropy_loss import CrossEntropyLoss
from mmseg.models.losses.dice_loss import DiceLoss
from mmseg.models.losses.focal_loss import FocalLoss
from mmseg.models.losses.segmentation_loss import SegmentationLoss
from mmseg.models.losses.utils import reduce_loss, weight_reduce_loss, weighted_loss

__all__ = [
    "CrossEntropyLoss", "DiceLoss", "FocalLoss", "SegmentationLoss", "affinity_loss", "reduce_loss", "weight_reduce_loss",
    "weighted_loss",
]
