"""What the network will see, as pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from mmengine.config import Config
from mmengine.runner import Runner

from mmseg.apis.init import register_all_modules
from mmseg.engine.config import check_config, require
from mmseg.engine.dataset_info import data_preprocessor_of
from mmseg.models import LesionDataPreprocessor
from mmseg.registry import MODELS, find_subclass
from mmseg.structures import IGNORE, class_masks
from mmseg.utils.device import default_device
from mmseg.utils.errors import UserError
from mmseg.visualization import draw_overlay, write_picture

__all__ = ["browse_dataset"]


def browse_dataset(config: Config, out_dir: str | Path, number: int) -> list[Path]:
    """Write the first training crops, augmented and un-normalised, each with its masks drawn in.

    Args:
        config: its training data, data preprocessor and seed are used, as in training.
        out_dir: folder.
        number: how many pictures.

    Returns:
        the paths, ``<iteration>_<slot>_<image>.png``.

    Raises:
        UserError: a mistake in the configuration or the data, or a folder that cannot be written.
    """
    register_all_modules()
    require(config, "train_dataloader")
    check_config(config)
    out_dir = Path(out_dir)
    where, settings = data_preprocessor_of(config)
    if find_subclass(MODELS, settings.get("type"), LesionDataPreprocessor) is None:
        raise UserError(f"{where}: got {settings.get('type')!r}, expected a LesionDataPreprocessor, whose crops are "
                        "drawn; data sets with a pipeline of their own are looked at through that")
    preprocessor = MODELS.build({**settings, "target": "multilabel"}).to(default_device())
    preprocessor.seed = config.get("randomness", {}).get("seed") or 0
    loader = Runner.build_dataloader(config.train_dataloader, seed=preprocessor.seed)
    info = loader.dataset.metainfo
    written: list[Path] = []
    try:
        out_dir.mkdir(parents=True, exist_ok=True)
        for preprocessor.iteration, data in enumerate(loader):
            batch = preprocessor(data, training=True)
            images = (batch["inputs"] * preprocessor.std + preprocessor.mean).round().clamp(0, 255).cpu()
            for slot, (image, sample) in enumerate(zip(images, batch["data_samples"], strict=True)):
                target = sample.gt_sem_seg.data.cpu()
                picture = np.ascontiguousarray(image.numpy().astype(np.uint8).transpose(1, 2, 0))
                picture[(target == IGNORE).all(0).numpy()] = (96, 96, 96)
                masks = class_masks(target, len(info["classes"])).numpy()
                overlay = draw_overlay(picture, masks, info["classes"], info["palette"], opacity=0.0)
                path = out_dir / f"{preprocessor.iteration:04d}_{slot}_{sample.image_id}.png"
                written.append(write_picture(path, overlay))
                if len(written) == number:
                    return written
    except OSError as error:
        raise UserError(f"{error.filename or out_dir}: cannot be written ({error.strerror})") from error
    return written
