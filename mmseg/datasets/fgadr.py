"""FGADR: Fine-Grained Annotated Diabetic Retinopathy (Zhou et al., 2021, doi:10.1109/TMI.2020.3037771)."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from mmengine.logging import print_log

from mmseg.datasets.layouts import FGADR
from mmseg.datasets.release_dataset import ReleaseDataset
from mmseg.datasets.splits import draw_splits, read_splits
from mmseg.registry import DATASETS
from mmseg.structures import LESIONS
from mmseg.utils.errors import UserError

__all__ = ["FGADRDataset"]


@DATASETS.register_module()
class FGADRDataset(ReleaseDataset):
    """FGADR's Seg-set: 1842 photographs of 1280x1280 without an official split, so that one is drawn or read; the log says which.

    Images are split one by one: the release tells no patient, so two photographs of one patient, or near-duplicates, may
    stand on both sides. In the tidy layout (and with label maps) the folders are the split.

    Args:
        split_dir: folder with ``train.txt``, ``valid.txt`` and ``test.txt`` (``tools/dataset_converters/split_fgadr.py`` writes
            them); None draws the split from the image names.
        split_seed: of the split that is drawn.
        *args: of :class:`~mmseg.datasets.lesion_dataset.LesionDataset`.
        **kwargs: of :class:`~mmseg.datasets.lesion_dataset.LesionDataset`.

    Raises:
        UserError: as :class:`~mmseg.datasets.release_dataset.ReleaseDataset`; a faulty split file, or one for folders that are
            split already.
    """

    NAME = "FGADR"
    SPLITS = ("train", "valid", "test")
    LAYOUTS = (FGADR,)
    FOLDER = "Seg-set/"
    ROOT_VARIABLE = "FGADR_ROOT"
    RELEASE_COUNT = 1842

    def __init__(self, *args: Any, split_dir: str | None = None, split_seed: int = 0, **kwargs: Any) -> None:
        self.split_dir, self.split_seed = split_dir, split_seed
        self._split_by_folders = True
        super().__init__(*args, **kwargs)

    def load_data_list(self) -> list[dict[str, Any]]:
        """Records of the split, in the order of their names; the log tells which split it is."""
        records = super().load_data_list()
        if self._split_by_folders:
            if self.split_dir is not None:
                raise UserError(
                    f"FGADR: got split_dir={self.split_dir!r} for {self.data_root}, whose folders are a split already; "
                    f"expected {self.FOLDER!r} of the official release, or no split_dir"
                )
            self._log(f"split by the folders of {self.data_root}: {len(records)} {self.split}")
        return records

    def release_records(self, root: Path) -> tuple[list[dict[str, Any]], list[Path]]:
        """Records of the split that is drawn or read, held against the whole release before."""
        records, strays = super().release_records(root)
        if not records:
            return [], []
        self._split_by_folders = False
        self.compare(len(records), self.RELEASE_COUNT, strays)
        without = {lesion: sum(record["mask_paths"][lesion] is None for record in records) for lesion in LESIONS}
        if any(without.values()):
            told = ", ".join(f"{count} have no mask of {lesion}" for lesion, count in without.items() if count)
            self._log(f"of {len(records)} images {told}, and count as free of it; is the copy whole?", logging.WARNING)
        by_name = {record["image_id"]: record for record in records}
        if self.split_dir is None:
            splits = draw_splits(by_name, self.split_seed)
            origin = f"drawn from the image names with split_seed={self.split_seed}"
        else:
            splits, origin = read_splits(self.split_dir, self.SPLITS), f"read from {self.split_dir}"
        counts = ", ".join(f"{len(names)} {split}" for split, names in splits.items())
        self._log(f"split {origin}: {counts}; by image, as the release tells no patient")
        listed = splits[self.split]
        missing = [name for name in listed if name not in by_name]
        if listed and len(missing) == len(listed):
            raise UserError(f"{self.split_dir}: got names such as {missing[0]!r}, none of which is an image in {root}, expected "
                            f"names without suffix such as {next(iter(by_name))!r}")
        if missing:
            self._log(
                f"got {len(listed) - len(missing)} of {len(listed)} listed images; {missing[0]}"
                f"{', ...' if len(missing) > 1 else ''} not in {root}", logging.WARNING,
            )
        return [by_name[name] for name in sorted(listed) if name in by_name], []

    def _log(self, text: str, level: int = logging.INFO) -> None:
        print_log(f"FGADR ({self.split}): {text}", logger="current", level=level)
