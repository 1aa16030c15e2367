"""Files that are there whole and right, or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mmseg.datasets.reading import read_image, read_index_map, read_mask
from mmseg.structures import LESIONS, flatten_masks
from mmseg.utils.errors import UserError
from mmseg.utils.whole_files import whole_file

__all__ = ["write_json", "write_output"]

_CONTENTS: dict[str, Callable[[Any], np.ndarray]] = {
    "image": lambda item: item["inputs"].permute(1, 2, 0).numpy(),
    "index": lambda item: flatten_masks(item["data_samples"].gt_sem_seg.data).numpy().astype(np.uint8),
}
_READERS: dict[str, Callable[[Path], np.ndarray]] = {"image": read_image, "index": read_index_map}


def write_output(path: Path, content: str, item: dict[str, Any]) -> None:
    """Write a file beside its place, read it back, and move it there only if it holds what it should.

    Args:
        path: of the file.
        content: 'copy' (the bytes of the photograph's file), 'image' (RGB as PNG), 'index' (the index map, where small lesions
            win), or a lesion (its mask, 0 and 255).
        item: as :meth:`~mmseg.datasets.lesion_dataset.LesionDataset.prepare_data`, at the photograph's size.

    Raises:
        UserError: it cannot be written, or reads back differently.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as unfinished:
            same = _write_copy(unfinished, item) if content == "copy" else _write_png(unfinished, content, item)
            if not same:
                raise UserError(f"{path}: reads back differently from what was written; is the disk sound?")
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror or error}); run the same command again to go on") from error


def write_json(path: Path, value: Any) -> None:
    """Write JSON, whole or not at all.

    Raises:
        UserError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as unfinished:
            _write_bytes(unfinished, (json.dumps(value, indent=2) + "\n").encode())
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror or error}); name another folder (--out)") from error


def _write_copy(path: Path, item: dict[str, Any]) -> bool:
    data = Path(item["data_samples"].img_path).read_bytes()
    _write_bytes(path, data)
    return path.read_bytes() == data


def _write_png(path: Path, content: str, item: dict[str, Any]) -> bool:
    if content in _CONTENTS:
        pixels = _CONTENTS[content](item)
        read = _READERS[content]
        stored = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR) if pixels.ndim == 3 else pixels
    else:
        pixels = item["data_samples"].gt_sem_seg.data[LESIONS.index(content)].numpy()
        read, stored = read_mask, pixels * np.uint8(255)
    _write_bytes(path, cv2.imencode(".png", stored, [cv2.IMWRITE_PNG_COMPRESSION, 3])[1].tobytes())
    return np.array_equal(read(path), pixels)


def _write_bytes(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
