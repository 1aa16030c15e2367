"""Pictures into files."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

__all__ = ["write_picture"]


def write_picture(path: str | Path, image: np.ndarray) -> Path:
    """Write a picture in the format of its suffix; PNGs at a low compression level.

    OpenCV only encodes; Python writes, so that a failure has a reason.

    Args:
        path: of the file; its folder must exist.
        image: uint8, RGB ``(H, W, 3)`` or grey ``(H, W)``.

    Returns:
        the path.

    Raises:
        OSError: the file cannot be written, or its suffix names no format.
    """
    path = Path(path)
    pixels = cv2.cvtColor(image, cv2.COLOR_RGB2BGR) if image.ndim == 3 else image
    options = [cv2.IMWRITE_PNG_COMPRESSION, 3] if path.suffix.lower() == ".png" else []
    try:
        _, data = cv2.imencode(path.suffix, pixels, options)
    except cv2.error as error:
        raise OSError(22, f"no picture format {path.suffix!r}", str(path)) from error
    path.write_bytes(data.tobytes())
    return path
