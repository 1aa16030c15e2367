"""Files of tensors, of this project or another, read without running anything."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mmseg.utils.errors import UserError

__all__ = ["damaged_record", "load_plain"]


def load_plain(path: str | Path, map_location: str | torch.device = "cpu") -> Any:
    """What a file of torch's holds; only tensors and plain data are unpickled, and the CRC-32 of every part is checked.

    Raises:
        UserError: the file is damaged, holds other objects, or is none of torch's.
    """
    path = Path(path)
    try:
        with torch.serialization.safe_globals(_numbers()):
            content = torch.load(path, map_location=map_location, weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{path}: refused, because it is damaged or holds more than tensors and plain data, which could run code: "
            f"{_reason(error)}. Of a whole checkpoint of mmengine's Runner, where you trust it, keep the weights: "
            "torch.save(torch.load(OLD, weights_only=False)['state_dict'], NEW)"
        ) from error
    except Exception as error:  # damaged bytes make the unpickler fail in any way
        raise UserError(f"{path}: not a readable checkpoint ({_reason(error)})") from error
    damaged = damaged_record(path)
    if damaged:
        raise UserError(f"{path}: the file is damaged, the checksum of its part {damaged} is wrong; take an earlier checkpoint")
    return content


def _numbers() -> list[Any]:
    """numpy's numbers and arrays, which older toolkits left in their ``meta``: data, like tensors.

    Files of numpy 1 and 2 name the same functions differently.
    """
    functions: list[Any] = [np.float64(0).__reduce__()[0], np.empty(0).__reduce__()[0]]
    named = [(f, f"numpy.{core}.multiarray.{f.__name__}") for f in functions for core in ("core", "_core")]
    kinds = {type(np.dtype(kind)) for kind in ("b1", "i4", "i8", "u1", "f4", "f8")}
    return [*named, np.ndarray, np.dtype, *kinds]


def damaged_record(path: Path) -> str | None:
    """The first part whose CRC-32 is wrong; torch writes one for every tensor into its archive but does not check it."""
    if not zipfile.is_zipfile(path):  # torch's format before 1.6 has none
        return None
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip()
    except Exception as error:  # damaged bytes make the reading of the archive fail in any way
        raise UserError(f"{path}: not a readable checkpoint ({_reason(error)})") from error


def _reason(error: Exception) -> str:
    """The line of torch's long message that says what was found."""
    lines = [line.strip() for line in str(error).splitlines()] or [type(error).__name__]
    return next((line.split(" Please use")[0] for line in lines if "WeightsUnpickler error" in line), lines[0])
