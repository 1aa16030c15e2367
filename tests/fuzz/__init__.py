"""Input of other people, damaged: no traceback, no hang, no lost file (docs/fuzzing.md)."""

from .archives import Archives
from .checkpoints import Checkpoints
from .commands import CommandLines
from .configs import ConfigFiles, Overrides
from .pictures import Images, Masks
from .surface import Surface, fuzz

__all__ = ["SURFACES", "Surface", "fuzz"]

SURFACES: dict[str, type[Surface]] = {
    surface.name: surface for surface in (Images, Masks, Checkpoints, ConfigFiles, Overrides, CommandLines, Archives)
}
