"""What users bring along: weights and configurations of other projects. Importing this package registers its classes."""

from mmseg.compat.legacy_lr import LegacyLR
from mmseg.compat.legacy_transforms import BatchLegacyAffine, BatchLegacyDistortion
from mmseg.compat.weights import LoadReport, match_weights

__all__ = ["BatchLegacyAffine", "BatchLegacyDistortion", "LegacyLR", "LoadReport", "match_weights"]
