"""What a report shows of each image: the photograph, and where truth and prediction agree."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

__all__ = ["ERROR_COLOURS", "ReportPictures", "error_layer"]

ERROR_COLOURS = {"TP": (86, 180, 233), "FP": (240, 228, 66), "FN": (204, 121, 167)}
"""Sky blue, yellow and reddish purple of Okabe and Ito's palette, which the colour-blind can tell apart."""

_CODES = {"FP": 1, "FN": 2, "TP": 3}
_VIEWS = {"truth": ("TP", "FN"), "prediction": ("TP", "FP"), "error": ("TP", "FP", "FN")}

WIDTH = 1140
"""Of the pictures, in pixels: that of the page, on which one can be enlarged."""

LEAST_SHARE = 0.25
"""A pixel of the reduced picture is coloured where at least this share of its area is predicted or true."""


class ReportPictures:
    """Collects one small picture an image, and one small map a lesion; some 0.1 MB an image.

    Attributes:
        photographs: JPEG files by image name.
    """

    def __init__(self) -> None:
        self.photographs: dict[str, bytes] = {}
        self._errors: dict[str, list[bytes]] = {}

    def errors(self, name: str, channel: int) -> np.ndarray:
        """The map of one lesion in an image, uint8 ``(h, w)``: 0 neither, 1 only predicted, 2 only true, 3 both."""
        decoded: Any = cv2.imdecode(np.frombuffer(self._errors[name][channel], np.uint8), cv2.IMREAD_UNCHANGED)
        return decoded

    def add(self, name: str, image: np.ndarray, predicted: np.ndarray, truth: np.ndarray) -> None:
        """Keep an image.

        Args:
            name: of its file.
            image: uint8 ``(h, w, 3)``, RGB, of any size.
            predicted: bool ``(C, H, W)``.
            truth: uint8 ``(C, H, W)`` in {0, 1, 255}; 255 is shown as neither.
        """
        height = max(1, round(WIDTH * predicted.shape[1] / predicted.shape[2]))
        small = cv2.resize(image, (WIDTH, height), interpolation=cv2.INTER_AREA)
        _, data = cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 82])
        self.photographs[name] = data.tobytes()
        maps = (_reduced(p, t, (WIDTH, height)) for p, t in zip(predicted, truth, strict=True))
        self._errors[name] = [cv2.imencode(".png", errors)[1].tobytes() for errors in maps]  # nearly all of a map is 0

    def update(self, others: Sequence[ReportPictures]) -> None:
        """Take over what other processes collected."""
        for other in others:
            self.photographs.update(other.photographs)
            self._errors.update(other._errors)


def error_layer(errors: np.ndarray, view: str) -> bytes:
    """A PNG to lay over the photograph: transparent but for what the view shows.

    Args:
        errors: uint8 ``(h, w)``, of one lesion, see :class:`ReportPictures`.
        view: 'truth', 'prediction' or 'error'.
    """
    from PIL import Image

    picture: Any = Image.fromarray(errors)
    palette, opacity = [0, 0, 0] * 4, [0] * 4
    for kind in _VIEWS[view]:
        code = _CODES[kind]
        palette[3 * code : 3 * code + 3] = ERROR_COLOURS["TP" if view != "error" else kind]
        opacity[code] = 255
    picture.putpalette(palette)
    file = io.BytesIO()
    picture.save(file, "PNG", transparency=bytes(opacity), optimize=True)
    return file.getvalue()


def _reduced(predicted: np.ndarray, truth: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The commonest kind of error in each small pixel, where there is enough of any."""
    code = (predicted.astype(np.uint8) + 2 * (truth == 1)).astype(np.uint8) * (truth != 255)
    if not code.any():
        return np.zeros(size[::-1], np.uint8)
    shares = np.stack([
        cv2.resize((code == kind).astype(np.float32), size, interpolation=cv2.INTER_AREA) for kind in (1, 2, 3)
    ])
    return np.where(shares.sum(0) >= LEAST_SHARE, shares.argmax(0) + 1, 0).astype(np.uint8)
