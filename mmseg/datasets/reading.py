"""Image and mask files into arrays, with every trap of the field's data sets told or undone here and nowhere else."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image

from mmseg.utils.errors import UserError

__all__ = [
    "IMAGE_SUFFIXES", "check_mask_size", "count_pages", "fit_size", "image_size", "read_image", "read_index_map", "read_levels",
    "read_mask", "resize_image", "resize_mask", "split_levels", "to_input",
]

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp")
"""File endings (lower case) that count as photographs."""

_ORIENTATION = 274
"""Of EXIF; 5 to 8 swap the sides."""

_LEAST_PEAK = 2**14
"""Largest value of a 16-bit photograph below which it is taken for one of fewer bits."""


def read_image(path: str | Path) -> np.ndarray:
    """Read a photograph; the EXIF orientation is applied, alpha is dropped, 16 bits are scaled to 8, grey becomes RGB.

    Args:
        path: a JPEG, PNG, TIFF or BMP file.

    Returns:
        uint8 ``(H, W, 3)``, RGB, 0 to 255.

    Raises:
        UserError: the file is missing, empty, cut off, no image, or holds 16-bit numbers that fill 14 bits or less.
    """
    image = _decode(path, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
    if image.dtype == np.uint16:
        if 0 < (peak := int(image.max())) < _LEAST_PEAK:
            raise UserError(f"{path}: got a 16-bit image whose largest value is {peak}, expected the full range to 65535; it "
                            "would be read as nearly black; docs/troubleshooting.md shows how to scale it")
        image = (image // 257).astype(np.uint8)
    elif image.dtype != np.uint8:
        raise UserError(f"{path}: got pixels of type {image.dtype}, expected 8 or 16 bit; convert the file to PNG or JPEG")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def image_size(path: str | Path) -> tuple[int, int]:
    """``(width, height)`` of a photograph as :func:`read_image` would give it, told from the head of the file alone.

    Raises:
        UserError: the file cannot be opened, or its head is no image's.
    """
    from PIL import Image

    _check_regular(path)
    try:
        with Image.open(path) as image:
            width, height = image.size
            if image.format == "TIFF":  # whose size some versions of Pillow turn by themselves
                width, height = image.tag_v2[256], image.tag_v2[257]  # type: ignore[attr-defined]
            if image.format == "PNG" and "exif" not in image.info:  # Pillow would decode all of it to look behind its pixels
                return width, height
            return (height, width) if image.getexif().get(_ORIENTATION, 1) >= 5 else (width, height)
    except Exception as error:  # damaged bytes make decoders fail in any way
        raise UserError(f"{path}: cannot be read ({error})") from error


def read_mask(path: str | Path) -> np.ndarray:
    """Read the mask of one lesion, whatever its coding.

    Accepted: 0/255 in grey, colour or a palette (OpenCV would turn IDRiD's red palette into 76), anti-aliased edges
    (foreground from 128), 0/1, RGBA whose alpha says nothing (``IDRiD_81_EX.tif``), and 16 bits, whatever part they fill.

    Args:
        path: a PNG, TIFF or BMP file.

    Returns:
        uint8 ``(H, W)`` in {0, 1}.

    Raises:
        UserError: no readable image, or its largest value lies between 2 and 127 (256 and 32767), where foreground cannot
            be told.
    """
    return split_levels(read_levels(path), path)


def read_levels(path: str | Path) -> np.ndarray:
    """The grey levels of a mask file ``(H, W)``, uint8 or uint16: the largest of its colour channels, alpha left out."""
    blue, green, red = cv2.split(_decode(path, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH))
    return cv2.max(cv2.max(blue, green), red)  # six times as fast as numpy's max over the last axis


def split_levels(mask: np.ndarray, path: str | Path) -> np.ndarray:
    """Foreground and background from what :func:`read_levels` gave; see :func:`read_mask`."""
    peak = int(mask.max(initial=0))
    if peak <= 1:
        return mask.astype(np.uint8)
    half = 2**7 if peak < 2**8 else 2**15
    if peak < half:
        raise UserError(f"{path}: got a mask whose largest value is {peak}, expected 0/255 or 0/1; is it a label map?")
    return (mask >= half).astype(np.uint8)


def read_index_map(path: str | Path) -> np.ndarray:
    """Read a label map: grey uint8 ``(H, W)`` whose values are class indices.

    Args:
        path: a PNG file without a palette, or with one whose indices are the classes.

    Raises:
        UserError: no readable image, or one with colour channels.
    """
    from PIL import Image

    _check_regular(path)
    try:
        with Image.open(path) as image:
            if image.mode not in ("L", "P"):
                raise UserError(f"{path}: got a label map in mode {image.mode}, expected 8-bit grey or palette indices")
            return np.array(image, dtype=np.uint8)
    except UserError:
        raise
    except Exception as error:  # damaged bytes make Pillow's decoders fail in any way
        raise UserError(f"{path}: cannot be read as a label map ({error})") from error


def fit_size(width: int, height: int, size: tuple[int, int] | None) -> tuple[int, int]:
    """The size of an image scaled to fit into a box, its shape kept (as mmcv's ``keep_ratio=True``).

    The box is turned for an image that lies otherwise, so that a photograph on its side has the same scale as upright.

    Args:
        width: pixels.
        height: pixels.
        size: the box ``(width, height)`` in pixels, or None to leave the size as it is.

    Returns:
        ``(width, height)``; 4288x2848 in a box of 1440x960 becomes 1440x956, and 2848x4288 956x1440.
    """
    if size is None:
        return width, height
    if (height > width) != (size[1] > size[0]):
        size = size[1], size[0]
    factor = min(size[0] / width, size[1] / height)
    return max(1, round(width * factor)), max(1, round(height * factor))


def resize_image(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize uint8 ``(H, W, 3)`` to ``(width, height)``: by area when it shrinks, bilinearly when it grows."""
    if (image.shape[1], image.shape[0]) == tuple(size):
        return image
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if size[0] < image.shape[1] else cv2.INTER_LINEAR)


def to_input(image: np.ndarray, size: tuple[int, int]) -> torch.Tensor:
    """An image uint8 ``(H, W, 3)`` resized to ``(width, height)``, as the uint8 ``(3, h, w)`` that a data preprocessor takes."""
    return torch.from_numpy(np.ascontiguousarray(resize_image(image, size).transpose(2, 0, 1)))


def resize_mask(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize a mask in {0, 1} to ``(width, height)``; a pixel is set when half of its area was.

    "Any overlap" instead would make microaneurysms 1.6 times too big.
    """
    if (mask.shape[1], mask.shape[0]) == tuple(size):
        return mask
    return (resize_image(mask * np.uint8(255), size) >= 128).astype(np.uint8)


def count_pages(path: str | Path) -> int:
    """Of a TIFF file, how many pictures it holds; 1 of any other, and where that cannot be told."""
    with Path(path).open("rb") as file:
        if file.read(4) not in (b"II*\0", b"MM\0*"):
            return 1
    try:
        with Image.open(path) as image:  # OpenCV takes no name that is not UTF-8
            return getattr(image, "n_frames", 1)
    except Exception:  # damaged bytes make decoders fail in any way
        return 1


def _decode(path: str | Path, flags: int) -> np.ndarray:
    """Decode a file with OpenCV, and refuse what OpenCV would let pass half-read."""
    _check_regular(path)
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    if _is_cut(data):
        raise UserError(f"{path}: the file is cut off ({len(data)} bytes, no end mark); copy it again from its source")
    if data[:2] == b"\x89P" and not _chunks_fit(data):
        raise UserError(f"{path}: the file is damaged (a part is said to reach beyond its end); copy it again from its source")
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if data else None
    except cv2.error:
        image = None
    if image is None:
        raise UserError(f"{path}: not an image that can be read ({len(data)} bytes); expected one of {', '.join(IMAGE_SUFFIXES)}")
    return image


def _check_regular(path: str | Path) -> None:
    """A pipe would be waited for, and a device read, without end."""
    if os.path.exists(path) and not os.path.isfile(path):  # noqa: PTH110, PTH113 (pathlib's raise where nothing may be asked)
        raise UserError(f"{path}: is a folder, a pipe or a device, expected a file")


def _is_cut(data: bytes) -> bool:
    """Whether a JPEG or PNG file lacks its end: OpenCV 4 fills the missing part with grey, silently.

    A JPEG's end mark is looked for behind its header, where a thumbnail may have one of its own; what a camera appends does no
    harm. Inside of the coded pixels the mark cannot occur.
    """
    if data[:2] == b"\x89P":
        return b"IEND" not in data
    if data[:2] != b"\xff\xd8":
        return False
    position = 2
    while data[position : position + 1] == b"\xff" and data[position + 1 : position + 2] != b"\xda":  # to the first scan
        filling = data[position + 1 : position + 2] == b"\xff"
        position += 1 if filling else 2 + int.from_bytes(data[position + 2 : position + 4])
    return data.find(b"\xff\xd9", position) < 0


def _chunks_fit(png: bytes) -> bool:
    """Whether every chunk of a PNG ends inside of the file: OpenCV makes room for the length that is said, up to 4 GB."""
    position = 8
    while position + 12 <= len(png):
        kind, position = png[position + 4 : position + 8], position + 12 + int.from_bytes(png[position : position + 4])
        if kind == b"IEND":
            return True
    return False


def check_mask_size(path: str, mask_shape: Sequence[int], img_path: str, shape: Sequence[int]) -> None:
    """Raise a UserError where a mask has not the ``(height, width)`` of its image."""
    if tuple(mask_shape) != tuple(shape):
        raise UserError(
            f"{path}: got a mask of {mask_shape[1]}x{mask_shape[0]} pixels, expected {shape[1]}x{shape[0]} as its image "
            f"{img_path}; is it the mask of another image?"
        )
