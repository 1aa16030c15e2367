"""What one file of a data set holds, found out once and remembered."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import cv2
import numpy as np

from mmseg.datasets import reading
from mmseg.datasets.reading import read_image, read_index_map, read_levels, split_levels
from mmseg.structures.retina import retina_mask
from mmseg.utils.errors import UserError

__all__ = ["READERS", "FileCache"]

_GRID = 64
"""Side of the thumbnails by which lesions and retina are compared."""


def _image(path: str) -> dict[str, Any]:
    image = read_image(path)
    field = retina_mask(cv2.resize(image, (_GRID, _GRID), interpolation=cv2.INTER_AREA))
    return dict(shape=image.shape[:2], digest=_digest(image), grid=_pack(field))


def _mask(path: str) -> dict[str, Any]:
    levels = read_levels(path)
    mask = split_levels(levels, path)
    found = _truth(mask)
    grey = np.count_nonzero(levels) != np.count_nonzero(levels == levels.max(initial=0))
    between = np.unique(levels)[1:-1].tolist() if found["pixels"] and grey else []
    return found | dict(
        grey=bool(between), third=between[0] if len(between) == 1 else None,
        alpha=not found["pixels"] and _alpha_varies(path))


def _labels(path: str) -> dict[str, Any]:
    labels = read_index_map(path)
    counts = np.bincount(labels.ravel(), minlength=2).tolist()
    return _truth(labels) | dict(largest=int(labels.max(initial=0)), counts=counts)


READERS: dict[str, Callable[[str], dict[str, Any]]] = {"image": _image, "mask": _mask, "labels": _labels}
"""From a path to what is known of the file, of JSON's types: ``shape`` (height, width), ``digest`` of the pixels, ``grid`` (where
the retina or lesions are, packed), and for truth ``pixels`` (how many are not background) and more."""


def _truth(mask: np.ndarray) -> dict[str, Any]:
    (height, width), cells = mask.shape, np.zeros((_GRID, _GRID), bool)
    found = cv2.findNonZero(mask)  # None where there is nothing; numpy's takes four times as long
    x, y = np.zeros((2, 0), np.int64) if found is None else found.reshape(-1, 2).astype(np.int64).T
    cells[y * _GRID // height, x * _GRID // width] = True
    return dict(shape=mask.shape, digest=_digest(mask), grid=_pack(cells), pixels=len(x))


def _digest(pixels: np.ndarray) -> str:
    return hashlib.blake2b(f"{pixels.shape}".encode() + np.ascontiguousarray(pixels).data, digest_size=16).hexdigest()


def _pack(cells: np.ndarray) -> str:
    return np.packbits(cells).tobytes().hex()


def _alpha_varies(path: str) -> bool:
    """Whether an empty mask has something in its alpha channel, where nobody looks."""
    pixels = cv2.imdecode(np.frombuffer(Path(path).read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
    return pixels is not None and pixels.ndim == 3 and pixels.shape[2] == 4 and bool(np.ptp(pixels[..., 3]))


class FileCache:
    """What is known of files, by path, size and time of the last change; kept as one JSON file.

    It forgets everything when the code that reads files, or OpenCV, changes. A cache that cannot be read or written costs time
    only.

    Args:
        path: of the JSON file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        code = Path(reading.__file__).read_bytes() + Path(__file__).read_bytes() + cv2.__version__.encode()
        self._reader = hashlib.blake2b(code, digest_size=16).hexdigest()
        try:
            stored = json.loads(path.read_text())
            self._files: dict[str, list] = dict(stored["files"]) if stored["reader"] == self._reader else {}
        except (OSError, ValueError, KeyError, TypeError):
            self._files = {}

    def known(self, kind: str, path: str) -> dict[str, Any] | None:
        """What is remembered of a file, or None where it was not read yet or has changed since."""
        entry = self._files.get(_key(kind, path))
        return entry[1] if entry and entry[0] == _state(path) else None

    def read(self, kind: str, path: str) -> dict[str, Any]:
        """Read a file, whether it is remembered or not; a file that cannot be read gives ``dict(error=message)``."""
        state = _state(path)
        try:
            found = READERS[kind](path)
        except UserError as error:
            found = dict(error=str(error).removeprefix(f"{path}: "))
            if getattr(error.__cause__, "errno", None) is not None:  # of the system, not of the file: it may pass
                return found
        self._files[_key(kind, path)] = [state, found]
        return found

    def save(self) -> None:
        """Write it to the disk, as a whole or not at all."""
        temporary = self.path.with_name(f"{self.path.name}.{uuid4().hex}.new")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_text(json.dumps(dict(reader=self._reader, files=self._files)))
            temporary.replace(self.path)
        except OSError:
            with contextlib.suppress(OSError):
                temporary.unlink()


def _key(kind: str, path: str) -> str:
    return f"{kind} {Path(path).absolute()}"


def _state(path: str) -> list[int] | None:
    try:
        state = Path(path).stat()
    except OSError:
        return None
    return [state.st_size, state.st_mtime_ns]
