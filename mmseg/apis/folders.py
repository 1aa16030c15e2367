"""Many photographs, one after the other, where one bad file spoils nothing."""

from __future__ import annotations

import glob
import hashlib
import json
import os
import sys
import time
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmseg.utils.errors import UserError, is_gone
from mmseg.version import __version__

if TYPE_CHECKING:
    from mmseg.apis.inferencer import LesionInferencer

__all__ = ["Outcome", "find_inputs", "fingerprint", "output_names", "segment_files"]

_NAME_BYTES = 255
"""The longest name of a file, on every common file system."""


def find_inputs(inputs: Sequence[str]) -> list[Path]:
    """Files for what a user named: files, folders (their photographs, not those of sub-folders) and globs.

    What lies in a folder beside its photographs is counted on stderr: sub-folders, and files of other kinds. A folder without
    photographs is told there too, where others have some.

    Raises:
        UserError: an input names nothing, or none of the folders holds a photograph.
    """
    from mmseg.datasets.layouts import find_images

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


@dataclass
class Outcome:
    """What became of photographs.

    Attributes:
        segmented: how many were, now.
        kept: how many were done before, by the same weights and settings.
        failed: those that could not be read.
    """

    segmented: int = 0
    kept: int = 0
    failed: list[str] = field(default_factory=list)

    def __add__(self, other: Outcome) -> Outcome:
        return Outcome(self.segmented + other.segmented, self.kept + other.kept, self.failed + other.failed)


def segment_files(
    inferencer: LesionInferencer,
    files: Sequence[Path],
    out_dir: str | Path,
    save_probabilities: bool = False,
    batch_size: int = 1,
    overwrite: bool = False,
    share: tuple[int, int] = (0, 1),
    overlay: bool = True,
) -> Outcome:
    """Segment files and write their results, with a line of progress each; a file that cannot be read is told and passed over.

    A photograph is done when its results stand there, whole, made from the same file (path, size, time), weights and settings;
    an overlay or probabilities more than were asked for do no harm.

    Args:
        inferencer: that segments.
        files: photographs, all of them, so that their results are named alike in every process.
        out_dir: folder of the results.
        save_probabilities: write these, too.
        batch_size: photographs that go through the network together.
        overwrite: segment also what is done.
        share: ``(i, n)``: of n processes this is the i-th, from 0; it takes every n-th file.
        overlay: write these, too.

    Returns:
        what became of this process's files.

    Raises:
        UserError: the folder cannot be written, is that of the photographs, or holds results of others with the same name, or
            probabilities that would be lost; or the drive with the photographs has gone.
    """
    from mmseg.apis.inferencer import load_photograph
    from mmseg.apis.results import write_results

    meta: dict[str, Any] = inferencer.model.checkpoint_meta
    about: dict[str, Any] = {key: meta[key] for key in ("iter", "init", "metrics", "versions") if key in meta}
    todo, outcome = _plan(inferencer, files, out_dir, save_probabilities, overwrite, share, overlay)
    if outcome.kept:
        print(f"{outcome.kept} photographs are done already, by the same checkpoint and settings", flush=True)
    start = time.monotonic()
    for first in range(0, len(todo), batch_size):
        batch, images = [], []
        for path, name, made_from in todo[first : first + batch_size]:
            try:
                images.append(load_photograph(inferencer.model, path))
                batch.append((path, name, made_from))
            except UserError as error:
                if is_gone(error):  # the drive, and with it all that are left
                    raise
                print(f"error: {error}", file=sys.stderr)
                outcome.failed.append(str(path))
        found = inferencer(images, batch_size, progress=False) if images else ()
        for (path, name, made_from), segmentation in zip(batch, found, strict=True):
            segmentation.path = path
            write_results(segmentation, out_dir, name, about, save_probabilities, made_from, overlay)
            outcome.segmented += 1
        done = min(first + batch_size, len(todo))
        left = (time.monotonic() - start) / done * (len(todo) - done)
        print(f"[{done}/{len(todo)}] {todo[done - 1][0].name}, {left:.0f} s left", flush=True)
    return outcome


_Task = tuple[Path, str, dict[str, Any]]
"""A photograph, the name of its results, and what they are made from."""


def _plan(
    inferencer: LesionInferencer, files: Sequence[Path], out_dir: str | Path, save_probabilities: bool, overwrite: bool,
    share: tuple[int, int], overlay: bool,
) -> tuple[list[_Task], Outcome]:
    """What is left to do, and what became of the other photographs; for the arguments see :func:`segment_files`.

    Raises:
        UserError: something would be lost.
    """
    from mmseg.apis.results import is_complete, result_paths

    settings = [fingerprint(inferencer), save_probabilities]
    exact = settings[0] if inferencer.dtype == "float32" else fingerprint(inferencer, "float32")  # as probabilities are written
    if Path(out_dir).resolve() in {path.parent.resolve() for path in files}:
        raise UserError(f"out_dir: got {out_dir}, expected another folder than that of the photographs: results would stand "
                        "among them, and the next time be taken for some")
    outcome, others = Outcome(), []
    todo: list[_Task] = []
    for path, name in list(zip(files, output_names(files), strict=True))[share[0] :: share[1]]:
        made_from = dict(photograph=_identity(path), settings=settings)
        paths = result_paths(out_dir, name, inferencer.classes, save_probabilities, overlay)
        longest = max(len(os.fsencode(path.name)) for path in paths)
        if longest > _NAME_BYTES:
            print(f"error: {path}: the names of its results would have {longest} bytes, at most {_NAME_BYTES} are possible; "
                  "give it a shorter name", file=sys.stderr)
            outcome.failed.append(str(path))
            continue
        with_probabilities = {**made_from, "settings": [exact, True]}  # which are one file more, and do no harm
        if not overwrite and is_complete(paths, made_from, with_probabilities):
            outcome.kept += 1
            continue
        todo.append((path, name, made_from))
        others += [] if overwrite else _in_the_way(out_dir, name, path, inferencer.classes, save_probabilities)
    if others:
        more = f"\n  and {len(others) - 5} more" if len(others) > 5 else ""
        raise UserError(f"{out_dir}: holds results of other photographs, or other files, of the same name, or "
                        "probabilities, which would be lost; name another out_dir (--out-dir), or replace them (--overwrite):\n  "
                        + "\n  ".join(others[:5]) + more)
    return todo, outcome


def _in_the_way(out_dir: str | Path, name: str, path: Path, classes: Sequence[str], save_probabilities: bool) -> list[str]:
    """What stands where the results of a photograph would and is none of it, or would be lost; empty where nothing does."""
    from mmseg.apis.results import foreign_files, photograph_of

    earlier, foreign = photograph_of(out_dir, name), foreign_files(out_dir, name, classes)
    other = earlier is not None and Path(earlier).resolve() != path.resolve()
    told = [f"{name}: of {earlier}, now {path}"] if other else []
    if earlier is not None and not other and not save_probabilities and Path(out_dir, f"{name}.npz").exists():
        told.append(f"{name}: {name}.npz, the probabilities of an earlier run, which would go: ask for them again, too")
    return told + ([f"{name}: {foreign[0].name}, which no {name}.json says to be a result"] if foreign else [])


def fingerprint(inferencer: LesionInferencer, dtype: str | None = None) -> str:
    """SHA-256 of all that decides what is found: weights, model, working size, thresholds, number format, version.

    Args:
        inferencer: that finds it.
        dtype: that it would compute in; None is its own.
    """
    model = inferencer.model
    config = model.cfg
    settings = dict(
        model=config.model, data_preprocessor=config.get("data_preprocessor"),
        size=model.working_size, thresholds=inferencer.thresholds, classes=inferencer.classes, palette=inferencer.palette,
        dtype=dtype or inferencer.dtype,
        version=__version__,
    )
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode())
    for name, tensor in model.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _identity(path: Path) -> list[Any]:
    """What tells one photograph from another without reading it: where it is, its bytes and its time."""
    try:
        found = path.stat()
    except OSError:  # it is told when it is read
        return [str(path.absolute())]
    return [str(path.absolute()), found.st_size, found.st_mtime_ns]
