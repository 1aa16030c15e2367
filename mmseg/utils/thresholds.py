"""What a user says of thresholds."""

from __future__ import annotations

from collections.abc import Mapping

from mmseg.utils.errors import UserError, nearest

__all__ = ["with_thresholds"]


def with_thresholds(own: Mapping[str, float], given: float | Mapping[str, float] | None) -> dict[str, float]:
    """Thresholds by lesion: those given, else a model's own.

    Args:
        own: by lesion, in the order of the channels.
        given: one for all lesions or by lesion, 0 to 1; None changes nothing.

    Raises:
        UserError: one names no lesion, or is no probability.
    """
    wanted = given if isinstance(given, Mapping) else {} if given is None else dict.fromkeys(own, given)
    for name, value in wanted.items():
        if name not in own:
            raise UserError(f"thresholds: got {name!r}, expected one of {', '.join(own)}{nearest(name, own)}")
        try:
            sound = not isinstance(value, str) and 0 <= float(value) <= 1
        except (TypeError, ValueError):
            sound = False
        if not sound:
            raise UserError(f"thresholds: got {name}={value!r}, expected a probability from 0 to 1")
    return {**own, **{name: float(value) for name, value in wanted.items()}}
