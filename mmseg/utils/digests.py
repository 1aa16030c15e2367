"""What tells one file's content from another's."""

from __future__ import annotations

import hashlib
from pathlib import Path

__all__ = ["file_sha256", "named_source"]


def file_sha256(path: str | Path) -> str:
    """SHA-256 of a file, 64 hexadecimal digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def named_source(path: str | Path) -> str:
    """How a checkpoint names a file that its weights began with: ``"<file name> sha256:<12 digits>"``."""
    return f"{Path(path).name} sha256:{file_sha256(path)[:12]}"
