"""What comes in from other toolkits, and what goes out to them (:mod:`mmseg.compat.export`)."""

__all__: list[str] = []
