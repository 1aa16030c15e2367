"""Images, masks and label maps: damaged files of every format and coding."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from PIL import Image

from mmseg.datasets.reading import read_image, read_index_map, read_mask
from mmseg.engine.preflight.files import READERS
from mmseg.utils.errors import UserError

from .mutations import damaged, repair_png
from .surface import Surface

__all__ = ["Images", "Masks"]


def _saved(picture: Image.Image, kind: str, **how: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **how)
    return buffer.getvalue()


def _encoded(array: np.ndarray, suffix: str) -> bytes:
    return cv2.imencode(suffix, array)[1].tobytes()


def photographs() -> list[bytes]:
    """JPEG (plain, progressive, grey, with EXIF), PNG (8, 16 bits, alpha, interlaced by none), TIFF (several codecs), BMP."""
    rows, columns = np.mgrid[:14, :18]
    colours = np.stack([40 + 9 * columns, 20 + 8 * rows, 200 - 3 * columns], -1).astype(np.uint8)
    picture, deep = Image.fromarray(colours), colours.astype(np.uint16) * 257
    exif = Image.Exif()
    exif[0x0112] = 6
    files = [
        _saved(picture, "JPEG"), _saved(picture, "JPEG", progressive=True, exif=exif), _saved(picture.convert("L"), "JPEG"),
        _saved(picture, "PNG"), _saved(picture.convert("RGBA"), "PNG"), _saved(picture, "BMP"), _encoded(deep, ".png"),
        _encoded(deep, ".tiff"), _encoded(colours.astype(np.float32), ".tiff"),
    ]
    return files + [_saved(picture, "TIFF", compression=codec) for codec in (None, "tiff_lzw", "packbits", "tiff_adobe_deflate")]


def truths() -> list[bytes]:
    """Masks in grey, palette, one bit, RGBA, 16 bits, and a label map."""
    mask = np.zeros((14, 18), np.uint8)
    mask[3:8, 4:9] = 1
    palette = Image.frombytes("P", (18, 14), mask.tobytes())
    palette.putpalette([0, 0, 0, 255, 0, 0] + [0] * 762)
    grey, labels = Image.fromarray(mask * np.uint8(255)), Image.fromarray(mask * np.uint8(4))
    rgba = Image.fromarray(np.dstack([mask * np.uint8(255)] * 3 + [np.full_like(mask, 255)]))
    files = [_saved(p, kind) for p in (palette, grey, labels, rgba) for kind in ("PNG", "TIFF")]
    return [*files, _saved(grey.convert("1"), "PNG"), _saved(grey, "BMP"), _encoded(mask.astype(np.uint16) * 65535, ".png")]


class Images(Surface):
    name = "image"
    modules = ("mmseg.datasets.reading", "mmseg.engine.preflight.files")

    def inputs(self) -> SearchStrategy[Any]:
        return st.tuples(damaged(photographs(), repair_png), st.sampled_from(["a.jpg", "b.png", "c.tif"]))

    def attempt(self, value: tuple[bytes, str]) -> str:
        path = self.folder / value[1]
        path.write_bytes(value[0])
        try:
            image = read_image(path)
        except UserError:
            return "refused"
        finally:
            assert path.read_bytes() == value[0]
        assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3 and image.size
        assert tuple(READERS["image"](str(path))["shape"]) == image.shape[:2]
        return "accepted"


class Masks(Surface):
    name = "mask"
    modules = ("mmseg.datasets.reading", "mmseg.engine.preflight.files")

    def inputs(self) -> SearchStrategy[Any]:
        return st.tuples(damaged(truths(), repair_png), st.sampled_from(["a.png", "b.tif"]))

    def attempt(self, value: tuple[bytes, str]) -> str:
        path = self.folder / value[1]
        path.write_bytes(value[0])
        outcomes = [self._read(path), self._read_labels(path)]
        assert path.read_bytes() == value[0]
        return "accepted" if "accepted" in outcomes else "refused"

    def _read(self, path: Path) -> str:
        try:
            mask = read_mask(path)
        except UserError:
            return "refused"
        assert mask.dtype == np.uint8 and mask.ndim == 2 and int(mask.max(initial=0)) <= 1
        assert READERS["mask"](str(path))["pixels"] == int(mask.sum())
        return "accepted"

    def _read_labels(self, path: Path) -> str:
        try:
            labels = read_index_map(path)
        except UserError:
            return "refused"
        assert labels.dtype == np.uint8 and labels.ndim == 2
        assert READERS["labels"](str(path))["largest"] == int(labels.max(initial=0))
        return "accepted"
