"""What a segmentation becomes on the disk."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mmseg.apis.inferencer import Segmentation
from mmseg.structures import retina_mask
from mmseg.utils.errors import UserError
from mmseg.visualization import draw_overlay, write_picture

__all__ = ["summarise", "write_results"]


def summarise(found: Segmentation) -> dict[str, dict[str, float | int]]:
    """Per lesion: ``pixels``, ``retina_share`` (0 to 1, of the field of view) and ``regions`` (8-connected)."""
    retina = int(retina_mask(found.image).sum())
    summary: dict[str, dict[str, float | int]] = {}
    for name, mask in zip(found.classes, found.masks, strict=True):
        pixels = int(mask.sum())
        regions = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)[0] - 1
        summary[name] = dict(pixels=pixels, retina_share=pixels / max(retina, 1), regions=int(regions))
    return summary


def write_results(
    found: Segmentation,
    out_dir: str | Path,
    name: str,
    checkpoint: dict[str, Any],
    save_probabilities: bool = False,
) -> list[Path]:
    """Write the pictures, masks and numbers of one photograph.

    Args:
        found: what was segmented.
        out_dir: folder, made where it does not exist.
        name: the beginning of every file name.
        checkpoint: what describes the model, written into the JSON file.
        save_probabilities: write ``<name>.npz`` with ``probabilities`` float32 ``(C, H, W)``, too.

    Returns:
        the paths written: ``<name>_overlay.png``, ``<name>_mask.png`` (index map, with the palette of the data set),
        ``<name>_<LESION>.png`` (0/255), ``<name>.json`` and, if asked for, ``<name>.npz``.

    Raises:
        UserError: the folder cannot be written.
    """
    out_dir = Path(out_dir)
    try:
        out_dir.mkdir(parents=True, exist_ok=True)
        with ThreadPoolExecutor() as pool:  # OpenCV and zlib let go of the interpreter
            jobs = [pool.submit(_write_overlay, out_dir / f"{name}_overlay.png", found),
                    pool.submit(_write_indexed, out_dir / f"{name}_mask.png", found)]
            jobs += [pool.submit(_write_mask, out_dir / f"{name}_{lesion}.png", mask)
                     for lesion, mask in zip(found.classes, found.masks, strict=True)]
            lesions = summarise(found)
            paths = [job.result() for job in jobs]
        report = dict(
            image=str(found.path) if found.path else None,
            size=[found.image.shape[1], found.image.shape[0]],
            lesions=lesions,
            thresholds=found.thresholds,
            classes=list(found.classes),
            checkpoint=checkpoint,
        )
        paths.append(out_dir / f"{name}.json")
        paths[-1].write_text(json.dumps(report, indent=2) + "\n")
        if save_probabilities:
            paths.append(out_dir / f"{name}.npz")
            np.savez_compressed(paths[-1], probabilities=found.probabilities.astype(np.float32))
    except OSError as error:
        raise UserError(f"{error.filename or out_dir}: cannot be written ({error.strerror})") from error
    return paths


def _write_overlay(path: Path, found: Segmentation) -> Path:
    return write_picture(path, draw_overlay(found.image, found.masks, found.classes, found.palette))


def _write_mask(path: Path, mask: np.ndarray) -> Path:
    return write_picture(path, mask.view(np.uint8) * np.uint8(255))


def _write_indexed(path: Path, found: Segmentation) -> Path:
    """The index map as a palette PNG: its values are the classes, its colours those of the data set."""
    from PIL import Image

    picture = Image.fromarray(found.index_map)
    colours = [(0, 0, 0), *found.palette] if found.thresholds else found.palette  # else class 0 is one of them
    picture.putpalette([value for colour in colours for value in colour])
    picture.save(path, compress_level=1)
    return path
