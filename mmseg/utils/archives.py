"""Unpack archives that came from somewhere else."""

from __future__ import annotations

import shutil
import stat
import zipfile
from pathlib import Path, PurePosixPath, PureWindowsPath

from mmseg.utils.errors import UserError

__all__ = ["extract_zip"]

_CHUNK = 2**20
_ENCRYPTED = 0x1  # bit 0 of the general purpose flags, APPNOTE.TXT 4.4.4


def extract_zip(archive: str | Path, folder: str | Path, max_bytes: int = 64 * 2**30) -> list[Path]:
    """Unpack a ZIP archive; everything in it is checked before the first byte is written, and a failure leaves nothing.

    Args:
        archive: of any origin; it is not trusted.
        folder: made where it does not exist, else empty: nothing is overwritten.
        max_bytes: what all files together may hold, unpacked.

    Returns:
        the files written, in the order of the archive.

    Raises:
        UserError: the archive is missing, damaged or encrypted; a name in it is absolute, climbs by ``..``, or occurs twice; a
            member is a link or another special file; the whole is larger than ``max_bytes`` or the disk has room for; or the
            folder is not empty or cannot be written.
    """
    archive, folder = Path(archive), Path(folder)
    if not archive.is_file():
        raise UserError(f"{archive}: no such archive")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder}: is not an empty folder, and nothing is overwritten; name another one or remove it")
    made = not folder.exists()
    try:
        with zipfile.ZipFile(archive) as opened:
            members = [info for info in opened.infolist() if not info.is_dir()]
            _check_members(archive, members, max_bytes)
            folder.mkdir(parents=True, exist_ok=True)
            _check_room(folder, sum(info.file_size for info in members))
            return [_write(opened, info, folder) for info in members]
    except BaseException as error:
        if folder.is_dir():
            _empty(folder, made)
        if isinstance(error, UserError) or not isinstance(error, Exception):
            raise
        if isinstance(error, OSError):
            raise UserError(f"{folder}: {archive} could not be unpacked there ({error})") from error
        raise UserError(f"{archive}: not a readable ZIP archive ({error}); fetch it again") from error  # damage fails in any way


def _check_members(archive: Path, members: list[zipfile.ZipInfo], max_bytes: int) -> None:
    """Refuse what could write outside of the folder, or more than expected."""
    seen: set[PurePosixPath] = set()
    for info in members:
        # zipfile cuts names at a NUL, and turns the separators of the machine it runs on into '/'; Windows' are refused here
        path, kind = PurePosixPath(info.filename), stat.S_IFMT(info.external_attr >> 16)
        if path.is_absolute() or PureWindowsPath(info.filename).anchor:
            reason = "an absolute path"
        elif ".." in path.parts or "\\" in info.filename:
            reason = "a path with '..' or '\\'"
        elif kind not in (0, stat.S_IFREG):
            reason = "a link or another special file"
        elif info.flag_bits & _ENCRYPTED:
            reason = "encrypted"
        elif path in seen:
            reason = "a name that occurs twice"
        else:
            seen.add(path)
            continue
        raise UserError(f"{archive}: refused, its member {info.filename!r} is {reason}; nothing was unpacked")
    total = sum(info.file_size for info in members)
    if total > max_bytes:
        raise UserError(
            f"{archive}: refused, unpacked it would hold {total / 2**20:.0f} MiB, expected at most {max_bytes / 2**20:.0f} MiB"
        )


def _check_room(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(f"{folder}: {needed / 2**20:.0f} MiB are needed there, {free / 2**20:.0f} MiB are free")


def _write(opened: zipfile.ZipFile, info: zipfile.ZipInfo, folder: Path) -> Path:
    """One member; zipfile reads no more than the size it states, and checks its CRC-32."""
    target = folder / info.filename
    target.parent.mkdir(parents=True, exist_ok=True)
    with opened.open(info) as source, target.open("xb") as file:
        shutil.copyfileobj(source, file, _CHUNK)
    return target


def _empty(folder: Path, made: bool) -> None:
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    if made:
        folder.rmdir()
