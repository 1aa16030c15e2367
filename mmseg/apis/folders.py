"""Many photographs, one after the other, where one bad file spoils nothing."""

from __future__ import annotations

import glob
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmseg.utils.errors import UserError

if TYPE_CHECKING:
    from mmseg.apis.inferencer import LesionInferencer

__all__ = ["find_inputs", "output_names", "segment_files"]


def find_inputs(inputs: Sequence[str]) -> list[Path]:
    """Files for what a user named: files, folders (their photographs, not those of sub-folders) and globs.

    Raises:
        UserError: an input names nothing.
    """
    from mmseg.datasets.layouts import find_images

    files: list[Path] = []
    for text in inputs:
        path = Path(text)
        if path.is_dir():
            found = find_images(path)
        else:
            found = [path] if path.is_file() else sorted(map(Path, glob.glob(text)))  # noqa: PTH207 (absolute globs, too)
        if not found:
            kind = "no photographs in this folder" if path.is_dir() else "no such file, folder or match"
            raise UserError(f"{text}: {kind}; name a photograph (JPEG, PNG, TIFF, BMP), a folder or a glob")
        files += found
    return list(dict.fromkeys(files))


def output_names(files: Sequence[Path]) -> list[str]:
    """The stem of each file; files that share one keep their suffix, and as many of their folders as tell them apart."""
    parts = [f.relative_to(f.anchor).parts for f in files]
    forms = [[f.stem, *("_".join(p[-n:]) for n in range(1, len(p) + 1))] for f, p in zip(files, parts, strict=True)]
    taken = Counter(form for of_file in forms for form in set(of_file))
    return [next((form for form in of_file if taken[form] == 1), of_file[-1]) for of_file in forms]


def segment_files(
    inferencer: LesionInferencer,
    files: Sequence[Path],
    out_dir: str | Path,
    save_probabilities: bool = False,
    batch_size: int = 1,
) -> int:
    """Segment files and write their results, with a line of progress each; a file that cannot be read is told and passed over.

    Returns:
        how many files failed.

    Raises:
        UserError: the folder cannot be written.
    """
    from mmseg.apis.results import write_results
    from mmseg.datasets.reading import read_image

    meta: dict[str, Any] = inferencer.model.checkpoint_meta
    about: dict[str, Any] = {key: meta[key] for key in ("iter", "init", "metrics", "versions") if key in meta}
    names = output_names(files)
    failed, start = 0, time.monotonic()
    for first in range(0, len(files), batch_size):
        readable = []
        for path, name in zip(files[first : first + batch_size], names[first : first + batch_size], strict=True):
            try:
                readable.append((path, name, read_image(path)))
            except UserError as error:
                print(f"error: {error}", file=sys.stderr)
                failed += 1
        found = inferencer([image for _, _, image in readable], batch_size, progress=False) if readable else ()
        for (path, name, _), segmentation in zip(readable, found, strict=True):
            segmentation.path = path
            write_results(segmentation, out_dir, name, about, save_probabilities)
        done = min(first + batch_size, len(files))
        left = (time.monotonic() - start) / done * (len(files) - done)
        print(f"[{done}/{len(files)}] {files[done - 1].name}, {left:.0f} s left", flush=True)
    return failed
