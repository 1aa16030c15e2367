"""DeepGlobe land cover (Demir et al., CVPR Workshops 2018), on which ISDNet was published."""

from __future__ import annotations

from typing import Any

from mmseg.datasets.basesegdataset import BaseSegDataset
from mmseg.registry import DATASETS

__all__ = ["DeepGlobeDataset"]


@DATASETS.register_module()
class DeepGlobeDataset(BaseSegDataset):
    """Images ``*_sat.jpg`` with index maps ``*_mask.png`` of seven classes.

    The release has coloured maps; ISDNet's authors trained on indices, in the order of :attr:`METAINFO`.

    Args:
        *args: of :class:`BaseSegDataset`.
        **kwargs: of :class:`BaseSegDataset`.
    """

    METAINFO = dict(
        classes=("unknown", "urban", "agriculture", "rangeland", "forest", "water", "barren"),
        palette=[(0, 0, 0), (0, 255, 255), (255, 255, 0), (255, 0, 255), (0, 255, 0), (0, 0, 255), (255, 255, 255)],
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"img_suffix": "_sat.jpg", "seg_map_suffix": "_mask.png", **kwargs})
