"""SDC-Net: lesion segmentation in fundus photographs, in the manner of mmsegmentation.

Importing this package is cheap: torch is imported by the sub-packages that need it.
"""

from mmseg.version import __version__

__all__ = ["__version__"]
