"""What a segmentation becomes on the disk."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mmseg.apis.inferencer import Segmentation
from mmseg.structures import retina_mask
from mmseg.utils.errors import UserError
from mmseg.utils.whole_files import UNFINISHED, whole_file
from mmseg.version import NOTICE
from mmseg.visualization import draw_overlay, write_picture

__all__ = ["foreign_files", "is_complete", "photograph_of", "result_paths", "summarise", "write_results", "write_table"]

TABLE = "summary.csv"
_NUMBERS = ("regions", "pixels", "retina_share")
_COLUMNS = ("photograph", "lesion", *_NUMBERS, "threshold", "settings")
_FORMULA = tuple("=+-@\t\r")
"""What a spreadsheet takes for the beginning of one."""

_KNOWN = (_COLUMNS, _COLUMNS[:5])
"""Heads of tables that are this program's, of this version and of earlier ones."""


def summarise(found: Segmentation) -> dict[str, dict[str, float | int | None]]:
    """Per lesion: ``pixels``, ``retina_share`` (0 to 1, that part of the field of view which is lesion; None in a photograph
    without one) and ``regions`` (8-connected)."""
    retina = retina_mask(found.image)
    area = int(retina.sum())
    summary: dict[str, dict[str, float | int | None]] = {}
    for name, mask in zip(found.classes, found.masks, strict=True):
        regions = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)[0] - 1
        share = int((mask & retina).sum()) / area if area else None
        summary[name] = dict(pixels=int(mask.sum()), retina_share=share, regions=int(regions))
    return summary


def result_paths(
    out_dir: str | Path, name: str, classes: Sequence[str], save_probabilities: bool = False, overlay: bool = True
) -> list[Path]:
    """The files of one photograph: index map, one mask a lesion, where wanted the overlay and the archive; JSON last."""
    endings = ["_mask.png", *("_" + re.sub(r"[/\\:]", "_", lesion) + ".png" for lesion in classes)]
    endings += ["_overlay.png"] * overlay + [".npz"] * save_probabilities + [".json"]
    return [Path(out_dir, name + ending) for ending in endings]


def is_complete(paths: Sequence[Path], *made_from: dict[str, Any]) -> bool:
    """Whether :func:`write_results` has written all of these files, from the same photograph, weights and settings.

    Args:
        paths: from :func:`result_paths`.
        *made_from: as given to :func:`write_results`; any of them will do.
    """
    report = _report(paths[-1])
    return isinstance(report, dict) and report.get("made_from") in made_from and all(path.is_file() for path in paths)


def _report(path: Path) -> Any:
    """What a JSON file holds; None where there is none, or what a process left that was killed."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None


def _is_result(report: Any) -> bool:
    return isinstance(report, dict) and {"lesions", "checkpoint"} <= report.keys()


def photograph_of(out_dir: str | Path, name: str) -> str | None:
    """The path of the photograph whose results stand there under a name, or 'an array'; None where there are none.

    Raises:
        UserError: the JSON file of that name is no result.
    """
    path = Path(out_dir, f"{name}.json")
    report = _report(path)
    if report is None:
        return None
    if not _is_result(report):
        raise UserError(f"{path}: is no result of this program and would be replaced; name another out_dir "
                        "(--out-dir), move it away, or replace it (--overwrite)")
    if photograph := _photograph(report):
        return photograph
    return str(report["image"] or "an array") if "image" in report else None


def foreign_files(out_dir: str | Path, name: str, classes: Sequence[str]) -> list[Path]:
    """Files with the names of results that no result of this program stands beside: somebody else's.

    Where a process was killed while it moved its results, their folder of parts is still there.
    """
    *pictures, report = result_paths(out_dir, name, classes, save_probabilities=True)
    if report.exists() or _part(out_dir, name).exists():
        return []
    return [path for path in pictures if path.exists()]


def _part(out_dir: str | Path, name: str) -> Path:
    return Path(out_dir, f".{name}{UNFINISHED}")


def write_results(
    found: Segmentation,
    out_dir: str | Path,
    name: str,
    checkpoint: dict[str, Any],
    save_probabilities: bool = False,
    made_from: dict[str, Any] | None = None,
    overlay: bool = True,
) -> list[Path]:
    """Write the pictures, masks and numbers of one photograph.

    They are written to a folder ``.<name>.part`` and moved when all are whole, the JSON file last: where it stands, the others
    do, and belong to it. A JSON file of an earlier time goes before the first of the others is replaced, and so do an overlay
    and probabilities of an earlier time: where they are not written anew they may belong to other masks.

    Args:
        found: what was segmented.
        out_dir: folder, made where it does not exist.
        name: the beginning of every file name.
        checkpoint: what describes the model, written into the JSON file.
        save_probabilities: write ``<name>.npz`` with ``probabilities`` float32 ``(C, H, W)``, too.
        made_from: of JSON's types, for :func:`is_complete`.
        overlay: write ``<name>_overlay.png``, the largest of the files and the slowest.

    Returns:
        the paths written: ``<name>_mask.png`` (index map, with the palette of the data set), ``<name>_<LESION>.png`` (0/255),
        ``<name>_overlay.png`` and ``<name>.npz`` where asked for, and ``<name>.json``.

    Raises:
        UserError: the folder cannot be written.
    """
    paths = result_paths(out_dir, name, found.classes, save_probabilities, overlay)
    part = _part(out_dir, name)
    indexed, *masks = (part / path.name for path in paths)
    try:
        if part.is_symlink():
            part.unlink()
        part.mkdir(parents=True, exist_ok=True)
        for left in part.iterdir():  # of a process that was killed; or links, which would be followed
            left.unlink()
        with ThreadPoolExecutor() as pool:  # OpenCV and zlib let go of the interpreter
            jobs = [pool.submit(_write_overlay, part / f"{name}_overlay.png", found)] if overlay else []
            jobs += [pool.submit(_write_indexed, indexed, found)]
            jobs += [pool.submit(_write_mask, path, mask) for path, mask in zip(masks, found.masks, strict=False)]
            lesions = summarise(found)
            for job in jobs:
                job.result()
        if save_probabilities:
            np.savez_compressed(part / f"{name}.npz", probabilities=found.probabilities.astype(np.float32))
        report = dict(
            image=str(found.path) if found.path else None,
            size=[found.image.shape[1], found.image.shape[0]],
            lesions=lesions,
            thresholds=found.thresholds,
            classes=list(found.classes),
            checkpoint=checkpoint,
            made_from=made_from,
            notice=NOTICE,
        )
        text = json.dumps(report, indent=2, ensure_ascii=False) + "\n"
        (part / f"{name}.json").write_bytes(text.encode("utf-8", "backslashreplace"))  # JSON's own escape of what is no character
        earlier = _report(Path(out_dir, f"{name}.json"))
        for ending in (".json", "_overlay.png", ".npz"):
            Path(out_dir, name + ending).unlink(missing_ok=True)
        if _is_result(earlier):  # of a model that found other lesions, perhaps
            for path in set(result_paths(out_dir, name, earlier.get("classes") or ())) - set(paths):
                path.unlink(missing_ok=True)
        for path in paths:
            (part / path.name).replace(path)
        shutil.rmtree(part)
    except OSError as error:
        raise UserError(f"{error.filename or out_dir}: cannot be written ({error.strerror})") from error
    return paths


def write_table(out_dir: str | Path, names: Sequence[str], failed: Sequence[str] = ()) -> Path | None:
    """Write ``summary.csv``: a line for each photograph and lesion, from the JSON files, for a spreadsheet (UTF-8 with a mark).

    Photographs that an earlier table names stay in it, where their results are still there and they have not got another name
    since (names depend on which others are there). ``settings`` are the first digits of
    a digest of weights, thresholds and number format: where two lines differ in it, their numbers are not to be compared.

    Args:
        out_dir: folder of the results.
        names: the beginnings of their names; what has no result is left out.
        failed: names that are left out, though results of an earlier time may be there.

    Returns:
        the path; None where a file of that name is there that is no such table: it is left as it is.

    Raises:
        UserError: it cannot be written.
    """
    path = Path(out_dir, TABLE)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)  # no photograph may have been read
        earlier = _names_in(path) if path.exists() else []
        if earlier is None:
            return None
        named_now, left_out = set(names), set(failed)
        renamed = set(earlier) - named_now  # perhaps; mostly there are none, and nothing need be read twice
        now = {_photograph(_report(Path(out_dir, f"{name}.json"))) for name in names if renamed} - {None}
        with whole_file(path) as part, part.open("w", newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
            writer = csv.writer(file)
            writer.writerow(_COLUMNS)
            for name in dict.fromkeys([*earlier, *names]):
                report: Any = {} if name in left_out else _report(Path(out_dir, f"{name}.json"))
                if name in renamed and _photograph(report) in now:
                    continue
                for lesion, of_it in report["lesions"].items() if _is_result(report) else ():
                    made_by = [(report.get("thresholds") or {}).get(lesion), _settings(report)]
                    writer.writerow([_shown(name), _shown(lesion), *(of_it[key] for key in _NUMBERS), *made_by])
    except OSError as error:
        raise UserError(f"{error.filename or path}: cannot be written ({error.strerror})") from error
    return path


def _photograph(report: Any) -> str | None:
    """The path of the photograph that a result is of; None where it tells none."""
    made_from = report.get("made_from") if isinstance(report, dict) else None
    photograph = made_from.get("photograph") if isinstance(made_from, dict) else None
    return str(photograph[0]) if isinstance(photograph, list) and photograph else None


def _settings(report: dict[str, Any]) -> str:
    """The first digits of what :func:`write_results` was told that a photograph was segmented with."""
    settings = (report.get("made_from") or {}).get("settings") or [""]
    return str(settings[0])[:8]


def _shown(name: str) -> str:
    """A name that no spreadsheet takes for a formula: behind an apostrophe, as one types it there."""
    return f"'{name}" if name.startswith(_FORMULA) else name


def _names_in(table: Path) -> list[str] | None:
    """The photographs of an earlier table, in order; None where this is no such table."""
    with table.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
        rows = csv.reader(file)
        if tuple(next(rows, ())) not in _KNOWN:
            return None
        return list(dict.fromkeys(row[0].removeprefix("'") if row[0][1:].startswith(_FORMULA) else row[0] for row in rows if row))


def _write_overlay(path: Path, found: Segmentation) -> Path:
    thresholds = [found.thresholds[name] for name in found.classes] if found.thresholds else None
    return write_picture(path, draw_overlay(found.image, found.masks, found.classes, found.palette, thresholds=thresholds))


def _write_mask(path: Path, mask: np.ndarray) -> Path:
    return write_picture(path, mask.view(np.uint8) * np.uint8(255))


def _write_indexed(path: Path, found: Segmentation) -> Path:
    """The index map as a palette PNG: its values are the classes, its colours those of the data set."""
    from PIL import Image

    picture = Image.fromarray(found.index_map)
    colours = [(0, 0, 0), *found.palette] if found.thresholds else found.palette  # else class 0 is one of them
    picture.putpalette([value for colour in colours for value in colour])
    picture.save(path, compress_level=1)
    return path
