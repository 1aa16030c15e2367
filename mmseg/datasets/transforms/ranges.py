"""Refuse settings of transforms that are out of range."""

from __future__ import annotations

import math

__all__ = ["check_ranges"]


def check_ranges(transform: object, *names: str, most: float = math.inf) -> None:
    """Look at some of a transform's attributes.

    Raises:
        ValueError: one of them is no finite number from 0 to ``most``.
    """
    for name in names:
        value = getattr(transform, name)
        if not isinstance(value, (int, float)) or not 0 <= value <= most or math.isinf(value):
            wanted = "0 or more" if math.isinf(most) else f"from 0 to {most:g}"
            raise ValueError(f"{type(transform).__name__}: got {name}={value!r}, expected a number, {wanted}")
