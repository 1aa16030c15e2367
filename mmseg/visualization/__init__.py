"""Pictures of what went in, came out, and happened on the way."""

from mmseg.visualization.curves import draw_curves
from mmseg.visualization.overlay import draw_overlay
from mmseg.visualization.report import write_report
from mmseg.visualization.report_pictures import ReportPictures
from mmseg.visualization.tensorboard import TensorboardVisBackend
from mmseg.visualization.writing import write_picture

__all__ = ["ReportPictures", "TensorboardVisBackend", "draw_curves", "draw_overlay", "write_picture", "write_report"]
