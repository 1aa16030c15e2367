"""What comes in from other toolkits (importing this package registers its classes), and what goes out to them."""

from mmseg.compat.legacy_dice_loss import LegacyDiceLoss
from mmseg.compat.legacy_lr import LegacyLR
from mmseg.compat.legacy_transforms import BatchLegacyAffine, BatchLegacyDistortion
from mmseg.compat.weights import LoadReport, match_weights

__all__ = ["BatchLegacyAffine", "BatchLegacyDistortion", "LegacyDiceLoss", "LegacyLR", "LoadReport", "match_weights"]
