"""Synthetic fundus photographs with lesion masks: a data set anybody may make, for tests and for a first training.

Everything here is our own design: the pictures are drawn from random numbers, and hold no pixel of any photograph.
"""

from mmseg.datasets.synthetic.dataset import make_dataset
from mmseg.datasets.synthetic.render import contents, generate_image

__all__ = ["contents", "generate_image", "make_dataset"]
