"""Where lesions are, so that crops can be centred on them without searching."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["LesionPoints", "lesion_points"]


class LesionPoints(list[Tensor]):
    """What :func:`lesion_points` gives, and nobody changes: copies of a sample share it.

    mmengine copies all meta information of a sample deeply, twice a step. Of tens of thousands of lesion pixels that took
    milliseconds, in which a GPU waits.
    """

    def __deepcopy__(self, memo: dict[int, Any]) -> LesionPoints:
        return self


def lesion_points(masks: Tensor, most: int = 4096) -> LesionPoints:
    """Coordinates of lesion pixels.

    Args:
        masks: ``(C, H, W)`` in {0, 1, 255}.
        most: keep at most so many a lesion, evenly spread over the list of its pixels.

    Returns:
        one int16 ``(N, 2)`` of ``(y, x)`` a lesion; N is 0 where the lesion does not occur.
    """
    points = LesionPoints()
    for mask in masks:
        found = (mask == 1).nonzero()
        step = max(1, -(-len(found) // most))
        points.append(found[::step].to(torch.int16))
    return points
