"""The project's own synthetic photographs as a data set; ``synthetic/`` draws them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmseg.datasets.layouts import TIDY, find_records
from mmseg.datasets.lesion_dataset import LesionDataset
from mmseg.registry import DATASETS
from mmseg.utils.errors import UserError

__all__ = ["SyntheticFundusDataset"]


@DATASETS.register_module()
class SyntheticFundusDataset(LesionDataset):
    """Synthetic fundus photographs in the tidy layout. Arguments: see :class:`LesionDataset`.

    Raises:
        UserError: the data set was not made yet.
    """

    def load_data_list(self) -> list[dict[str, Any]]:
        """Records of the split."""
        records, _ = find_records(Path(self.data_root), self.split, TIDY)
        if not records:
            raise UserError(
                f"synthetic data ({self.split}): nothing in {Path(self.data_root).absolute()!s}; "
                "make it first: python tools/make_synthetic_dataset.py"
            )
        return records
