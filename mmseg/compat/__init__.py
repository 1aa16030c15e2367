"""What comes in from other toolkits, and what goes out to them."""

from mmseg.compat.export import export_model

__all__ = ["export_model"]
