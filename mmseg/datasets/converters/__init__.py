"""From a release, zipped or not, to the folders of this and other toolkits."""

from mmseg.datasets.converters.convert import Conversion, convert_dataset
from mmseg.datasets.converters.formats import FORMATS

__all__ = ["FORMATS", "Conversion", "convert_dataset"]
