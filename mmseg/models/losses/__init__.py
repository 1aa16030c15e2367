"""Losses on plain tensors."""

from mmseg.models.losses.accuracy import Accuracy, accuracy
from mmseg.models.losses.affinity_loss import affinity_loss
from mmseg.models.losses.cross_entropy_loss import CrossEntropyLoss
from mmseg.models.losses.dice_loss import DiceLoss
from mmseg.models.losses.focal_loss import FocalLoss
from mmseg.models.losses.lesion_dice_loss import LesionDiceLoss
from mmseg.models.losses.segmentation_loss import SegmentationLoss
from mmseg.models.losses.utils import reduce_loss, weight_reduce_loss, weighted_loss

__all__ = [
    "Accuracy", "CrossEntropyLoss", "DiceLoss", "FocalLoss", "LesionDiceLoss", "SegmentationLoss", "accuracy", "affinity_loss",
    "reduce_loss", "weight_reduce_loss", "weighted_loss",
]
