"""What a configuration's data set says of its colours."""

from __future__ import annotations

import sys

from mmengine.config import Config
from mmengine.utils import track_iter_progress

from mmseg.apis.init import register_all_modules
from mmseg.datasets.leaves import leaf_datasets
from mmseg.datasets.statistics import colour_statistics
from mmseg.engine.config import check_config, require
from mmseg.registry import DATASETS
from mmseg.utils.errors import UserError

__all__ = ["training_statistics"]


def training_statistics(config: Config) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of R, G and B over the training images, with a progress bar; no image is kept.

    Args:
        config: that trains on one data set.

    Returns:
        mean and standard deviation, 0 to 255, for ``data_preprocessor``; see
        :func:`~mmseg.datasets.statistics.colour_statistics`.

    Raises:
        UserError: a mistake in the configuration or the data, or a mixture of data sets.
    """
    register_all_modules()
    require(config, "train_dataloader")
    check_config(config)
    leaves = list(leaf_datasets(config.train_dataloader.dataset))
    if len(leaves) != 1:
        raise UserError(f"{config.filename}: train_dataloader.dataset is no single data set; name a config that trains on one")
    dataset = DATASETS.build(leaves[0].settings)
    paths = [dataset.get_data_info(i)["img_path"] for i in range(len(dataset))]
    return colour_statistics(track_iter_progress(paths, bar_width=30, file=sys.stderr))
