"""Data sets and the transforms of their batches. Nothing here knows a model."""

from mmseg.datasets.basesegdataset import BaseSegDataset
from mmseg.datasets.concat import ConcatDataset
from mmseg.datasets.ddr import DDRDataset
from mmseg.datasets.deepglobe import DeepGlobeDataset
from mmseg.datasets.fgadr import FGADRDataset
from mmseg.datasets.idrid import IDRiDDataset
from mmseg.datasets.lesion_dataset import LesionDataset
from mmseg.datasets.release_dataset import ReleaseDataset
from mmseg.datasets.resident import ResidentDataset
from mmseg.datasets.synthetic_dataset import SyntheticFundusDataset
from mmseg.datasets.transforms import BatchPhotometricDistortion, BatchRandom, BatchRandomAffine

__all__ = [
    "BaseSegDataset", "BatchPhotometricDistortion", "BatchRandom", "BatchRandomAffine", "ConcatDataset", "DDRDataset",
    "DeepGlobeDataset", "FGADRDataset", "IDRiDDataset", "LesionDataset", "ReleaseDataset", "ResidentDataset",
    "SyntheticFundusDataset",
]
