"""Transforms of whole batches, on the batch's device."""

from mmseg.datasets.transforms.affine import BatchRandomAffine
from mmseg.datasets.transforms.batch_random import BatchRandom
from mmseg.datasets.transforms.photometric import BatchPhotometricDistortion

__all__ = ["BatchPhotometricDistortion", "BatchRandom", "BatchRandomAffine"]
