"""What a user named, as photographs, and what the results of each are called."""

from __future__ import annotations

import glob
import hashlib
import os
import sys
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from mmseg.datasets.layouts import find_images
from mmseg.utils.errors import UserError

__all__ = ["find_inputs", "output_names"]


def find_inputs(inputs: Sequence[str]) -> list[Path]:
    """Files for what a user named: files, folders (their photographs, not those of sub-folders) and globs.

    What lies in a folder beside its photographs is counted on stderr: sub-folders, and files of other kinds. A folder without
    photographs is told there too, where others have some.

    Raises:
        UserError: an input names nothing, or none of the folders holds a photograph.
    """
    files: list[Path] = []
    empty: list[str] = []
    for text in inputs:
        path = Path(text)
        matches = [path] if path.exists() else sorted(map(Path, glob.glob(text, recursive=True)))  # noqa: PTH207 (absolute globs, too)
        found, beside = [], [0, 0]
        for match in matches:
            inside = find_images(match) if match.is_dir() else [match]
            found += inside
            beside = [n + more for n, more in zip(beside, _beside(match, len(inside)), strict=True)]
        told = " and ".join(f"{n} {what}" for n, what in zip(beside, ("sub-folders", "other files"), strict=True) if n)
        if not found:
            kind = f"no photographs in this folder{told and f', but {told}'}" if matches else "no such file, folder or match"
            message = f"{text}: {kind}; name a photograph (JPEG, PNG, TIFF, BMP), a folder or a glob"
            if not matches:
                raise UserError(message)
            empty.append(message)
        elif told:
            print(f"note: {text}: {told} are passed over; photographs in sub-folders: {path / '*'}/", file=sys.stderr)
        files += found
    if not files:
        raise UserError(empty[0])
    for message in empty:  # of a patient of whom there is something else, perhaps
        print(f"note: {message.partition(';')[0]}", file=sys.stderr)
    return list(dict.fromkeys(files))


def _beside(path: Path, photographs: int) -> tuple[int, int]:
    """How many sub-folders and other files there are beside the photographs of a folder, hidden ones aside."""
    if not path.is_dir():
        return 0, 0
    with os.scandir(path) as entries:  # which tells folders without a look at each entry
        kinds = [entry.is_dir() for entry in entries if not entry.name.startswith(".")]
    return sum(kinds), len(kinds) - sum(kinds) - photographs


def output_names(files: Sequence[Path]) -> list[str]:
    """The stem of each file; files that share one (capitals aside) keep their suffix, and as many of their folders as tell them
    apart."""
    stems = [file.stem for file in files]
    if len(set(map(_folded, stems))) == len(stems):  # a million files in a second, not in a minute
        return stems
    parts = [f.relative_to(f.anchor).parts for f in files]
    forms = [[f.stem, *("_".join(p[-n:]) for n in range(1, len(p) + 1))] for f, p in zip(files, parts, strict=True)]
    taken = Counter(form for of_file in forms for form in set(map(_folded, of_file)))
    names = [next((form for form in of_file if taken[_folded(form)] == 1), of_file[-1]) for of_file in forms]
    often = Counter(map(_folded, names))  # a_b/c and a/b_c are joined alike
    digests = (hashlib.sha256(os.fsencode(file)).hexdigest()[:8] for file in files)
    return [name if often[_folded(name)] == 1 else f"{name}_{digest}" for name, digest in zip(names, digests, strict=True)]


def _folded(name: str) -> str:
    """What a file system that does not tell capitals apart, as those of Windows and macOS, takes a name for."""
    return unicodedata.normalize("NFC", name).casefold()
