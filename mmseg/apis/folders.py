"""Many photographs, one after the other, where one bad file spoils nothing."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmseg.apis.inferencer import LesionInferencer, load_photograph
from mmseg.apis.inputs import output_names
from mmseg.apis.results import foreign_files, is_complete, photograph_of, result_paths, write_results
from mmseg.utils.errors import UserError, is_gone
from mmseg.version import __version__

__all__ = ["Outcome", "fingerprint", "segment_files"]

_NAME_BYTES = 255
"""The longest name of a file, on every common file system."""


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
