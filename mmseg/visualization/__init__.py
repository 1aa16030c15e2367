"""Pictures of what went in, came out, and happened on the way."""

from mmseg.visualization.curves import draw_curves
from mmseg.visualization.overlay import draw_overlay

__all__ = ["draw_curves", "draw_overlay"]
