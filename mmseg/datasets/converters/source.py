"""A release as it came: a folder, or an archive to unpack."""

from __future__ import annotations

import shutil
from pathlib import Path

from mmseg.utils.archives import extract_zip
from mmseg.utils.errors import UserError
from mmseg.utils.whole_files import UNFINISHED

__all__ = ["UNPACKED", "open_source"]

UNPACKED = ".unpacked"
"""Folder in the output folder, removed when all is done."""


def open_source(source: Path, out: Path) -> Path:
    """The folder of a release; an archive is unpacked into ``out`` first, unless an earlier run has done so.

    Raises:
        UserError: neither a folder nor a ZIP archive, a part of an archive, or one that is not safe to unpack.
    """
    if source.is_dir():
        return source
    if not source.is_file():
        raise UserError(f"{source}: no such folder or archive")
    if source.suffix.lower() != ".zip":
        whole = source.with_suffix("")  # X.zip.001 is a part of X.zip
        fix = f"; join its parts first: cat {whole}.* > {whole}" if source.suffix[1:].isdigit() else ""
        raise UserError(f"{source}: got a file of type {source.suffix or '(none)'}, expected a folder or a .zip archive{fix}")
    size = source.stat().st_size
    unpacked = out / UNPACKED / f"{source.name}-{size}"  # another archive, another folder
    if not unpacked.is_dir():
        unfinished = unpacked.with_name(f"{unpacked.name}{UNFINISHED}")
        shutil.rmtree(unfinished, ignore_errors=True)
        print(f"unpacking {source} ({size / 2**20:.0f} MiB)", flush=True)
        extract_zip(source, unfinished)
        unfinished.rename(unpacked)
    return unpacked
