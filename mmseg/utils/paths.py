"""Where things live: the folders below ``SDCNET_HOME``."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["home", "home_path"]


def home() -> Path:
    """The folder that holds ``model/ work_dirs/ input_img/ output_img/``.

    Returns:
        ``$SDCNET_HOME``, or the current directory where it is unset or empty.
    """
    return Path(os.environ.get("SDCNET_HOME") or ".")


def home_path(*parts: str) -> Path:
    """A path below :func:`home`, such as ``home_path('model', 'latest.pth')``."""
    return home().joinpath(*parts)
