"""Splits of a data set that has none: drawn from image names and a seed, kept as text files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from mmseg.utils.errors import UserError

__all__ = ["draw_splits", "read_splits", "write_splits"]

TEST_SHARE, VALID_SHARE = 0.30, 0.15
"""Of all images, and of those that are left. FGADR's 1842 become 1096, 193 and 553, as in the field."""


def draw_splits(names: Iterable[str], seed: int) -> dict[str, list[str]]:
    """Deal images out to 'train', 'valid' and 'test' by name.

    The order in which they are dealt is that of SHA-256 of seed and name: it is the same on every machine, and in a copy that
    lacks some images all but a few at the borders stay where they are.

    Args:
        names: of the images, without suffix.
        seed: another seed, another split.

    Returns:
        sorted names by split; every name is in exactly one.
    """
    left = sorted(names, key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).digest())
    test, left = _cut(left, TEST_SHARE)
    valid, train = _cut(left, VALID_SHARE)
    return dict(train=sorted(train), valid=sorted(valid), test=sorted(test))


def _cut(names: list[str], share: float) -> tuple[list[str], list[str]]:
    count = round(share * len(names))
    return names[:count], names[count:]


def write_splits(folder: str | Path, splits: Mapping[str, Sequence[str]], origin: str) -> list[Path]:
    """Write one text file a split, ``<split>.txt``: a line that tells the origin, then one image name a line.

    Args:
        folder: made where it does not exist.
        splits: names by split.
        origin: how the split was made, one line.

    Returns:
        the paths.

    Raises:
        UserError: a file cannot be written, or a split of that name with other images is there already.
    """
    folder = Path(folder)
    paths = []
    for split, names in splits.items():
        path = folder / f"{split}.txt"
        text = f"# {split}, {len(names)} images: {origin}\n" + "".join(f"{name}\n" for name in names)
        if path.exists() and path.read_text(encoding="utf-8") != text:
            raise UserError(f"{path}: holds another split already; results would no longer compare; choose another folder")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise UserError(f"{path}: cannot be written ({error.strerror}); choose another folder") from error
        paths.append(path)
    return paths


def read_splits(folder: str | Path, names: Sequence[str]) -> dict[str, list[str]]:
    """Read what :func:`write_splits` wrote; lines that begin with '#' are remarks.

    Args:
        folder: with ``<split>.txt``.
        names: of the splits.

    Raises:
        UserError: a file is missing or empty, or an image is listed twice.
    """
    splits: dict[str, list[str]] = {}
    owner: dict[str, str] = {}
    for split in names:
        path = Path(folder, f"{split}.txt")
        try:
            lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{path}: cannot be read ({error}); expected a text file with one image name a line") from error
        splits[split] = [line for line in lines if line and not line.startswith("#")]
        if not splits[split]:
            raise UserError(f"{path}: lists no image, expected one name a line")
        for name in splits[split]:
            if name in owner:
                raise UserError(f"{path}: {name} is listed twice (also in {owner[name]}.txt); a test would know its answers")
            owner[name] = split
    return splits
