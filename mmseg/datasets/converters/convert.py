"""Convert a release, in as many runs as it takes."""

from __future__ import annotations

import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmengine.utils import ProgressBar

from mmseg.datasets.converters.files import write_json, write_output
from mmseg.datasets.converters.formats import FORMATS
from mmseg.datasets.converters.source import UNPACKED, open_source
from mmseg.datasets.release_dataset import MANIFEST, ReleaseDataset
from mmseg.utils.errors import UserError
from mmseg.utils.whole_files import UNFINISHED

__all__ = ["Conversion", "convert_dataset"]


@dataclass
class Conversion:
    """What a run did.

    Args:
        images: number of images in each split.
        written: files that were written and read back.
        kept: files of an earlier run.
        failed: a message for each image that could not be converted.
    """

    images: dict[str, int]
    written: int = 0
    kept: int = 0
    failed: list[str] = field(default_factory=list)


def convert_dataset(
    dataset: type[ReleaseDataset], source: str | Path, out: str | Path, to: str, num_threads: int = 2, **settings: Any
) -> Conversion:
    """Convert every split of a release, with a progress bar.

    Each file is written beside its place, read back and compared, and then moved: what has its name is whole, and a later run
    with the same arguments goes on from there; an image whose files have other sizes than then is converted anew. An image that
    cannot be read is told in the end and keeps no other from being converted.

    Args:
        dataset: class of the data set, which knows its layouts.
        source: the release: a ZIP archive or a folder, in any layout that ``dataset`` reads.
        out: folder to make, or one that an earlier run left unfinished.
        to: a key of :data:`FORMATS`.
        num_threads: photographs at a time; each takes up to 200 MB at 12 megapixels.
        **settings: of the data set class, beyond folder and split.

    Returns:
        what was done; with ``failed`` empty, ``out`` is complete.

    Raises:
        UserError: the release is not there, ``out`` holds something else, cannot be written, or is full.
    """
    source, out = Path(source), Path(out).absolute()
    made_from = dict(dataset=dataset.__name__, to=to, **settings)
    FORMATS[to].check_folder(out)
    if source.exists() and out.exists() and source.samefile(out):
        raise UserError(f"{out}: is the release itself; name another folder (--out)")
    earlier = _earlier_sources(out, made_from)
    release = open_source(source, out)
    sets = {split: dataset(str(release), split, test_mode=True, **settings) for split in dataset.SPLITS}
    records = {split: [data.get_data_info(i) for i in range(len(data))] for split, data in sets.items()}
    names = {split: sorted(record["image_id"] for record in of_split) for split, of_split in records.items()}
    FORMATS[to].check_images([Path(record["img_path"]) for of_split in records.values() for record in of_split])
    extras = FORMATS[to].extras(dataset.NAME, names)

    done = Conversion({split: len(of_split) for split, of_split in names.items()})
    jobs = _plan(to, sets, records, out)
    found = {job.name: _inputs(job) for job in jobs}
    sources = {name: [file.st_size if file else 0 for file in files] for name, files in found.items()}
    inputs = {(file.st_dev, file.st_ino) for files in found.values() for file in files if file}
    for job in jobs:
        if earlier.get(job.name, sources[job.name]) != sources[job.name]:  # of another copy of the release, or mended since
            for path in job.outputs:
                if path.exists() and (path.stat().st_dev, path.stat().st_ino) not in inputs:  # as a link would be
                    path.unlink()
    _check_strangers(out, {path for job in jobs for path in job.outputs} | {out / name for name in (MANIFEST, *extras)})
    write_json(out / MANIFEST, {**made_from, "complete": False, "sources": sources})
    _run(jobs, done, num_threads)
    if not done.failed:
        for name, value in extras.items():
            write_json(out / name, value)
        write_json(out / MANIFEST, {**made_from, "images": done.images, "complete": True, "sources": sources})
        shutil.rmtree(out / UNPACKED, ignore_errors=True)
    return done


def _earlier_sources(out: Path, made_from: dict[str, Any]) -> dict[str, list[int]]:
    """By image the sizes of the files that an earlier run converted; empty where there was none.

    Raises:
        UserError: the output folder is neither new, nor empty (but for what was unpacked), nor this very conversion's.
    """
    try:
        found = json.loads((out / MANIFEST).read_text(encoding="utf-8"))
        about = {key: value for key, value in found.items() if key not in ("images", "complete", "sources")}
        if about != made_from:
            raise UserError(f"{out}: holds the conversion {about}, but this one is {made_from}; name another folder (--out)")
        return dict(found.get("sources") or {})
    except FileNotFoundError:
        if out.exists() and any(path.name != UNPACKED and not _of_the_desktop(path) for path in out.iterdir()):
            raise UserError(f"{out}: holds something else; name a new or empty folder (--out)") from None
    except (AttributeError, OSError, TypeError, ValueError) as error:
        raise UserError(f"{out / MANIFEST}: cannot be read ({error}); name another folder (--out)") from error
    return {}


def _inputs(job: _Job) -> list[os.stat_result | None]:
    """An image's own files, in their order; None where there is none."""
    record = job.dataset.get_data_info(job.index)
    files = [record["img_path"], record.get("label_path"), *(record.get("mask_paths") or {}).values()]
    return [Path(file).stat() if file else None for file in files]


def _of_the_desktop(path: Path) -> bool:
    """Whether a file is one that macOS or Windows puts into folders that somebody looks into."""
    return path.name in (".DS_Store", "Thumbs.db", "desktop.ini") or path.name.startswith("._")


def _check_strangers(out: Path, expected: set[Path]) -> None:
    """A file of an image that is in no split any more, or in another one, would make the whole wrong."""
    found = (p for p in out.rglob("*") if p.is_file() and p.relative_to(out).parts[0] != UNPACKED)
    strangers = sorted(p for p in found if p not in expected and p.suffix != UNFINISHED and not _of_the_desktop(p))
    if strangers:
        raise UserError(
            f"{out}: got {len(strangers)} files that belong to no image of this release and split ({strangers[0]}"
            f"{', ...' if len(strangers) > 1 else ''}), as when images were taken out since; remove them, or name another folder"
        )


@dataclass(frozen=True)
class _Job:
    """One image of a split, and the files that it becomes."""

    name: str
    dataset: ReleaseDataset
    index: int
    outputs: dict[Path, str]


def _plan(to: str, sets: dict[str, ReleaseDataset], records: dict[str, list[dict]], out: Path) -> list[_Job]:
    taken: set[Path] = set()
    jobs = []
    for split, of_split in records.items():
        for index, record in enumerate(of_split):
            outputs = {out / name: content for name, content in FORMATS[to].outputs(record, split).items()}
            if taken & set(outputs):
                raise UserError(f"{record['img_path']}: another split has an image of this name, and {to} one folder for both")
            taken |= set(outputs)
            jobs.append(_Job(f"{split}/{record['image_id']}", sets[split], index, outputs))
    return jobs


def _run(jobs: list[_Job], done: Conversion, num_threads: int) -> None:
    """Write what is missing, in threads (OpenCV lets go of the interpreter)."""

    def convert(job: _Job) -> int | str:
        """The number of files written, or what is wrong with the image."""
        missing = [(path, content) for path, content in job.outputs.items() if not path.is_file()]
        try:
            item = job.dataset[job.index]
        except UserError as error:
            return str(error)
        for path, content in missing:
            write_output(path, content, item)
        return len(missing)

    left = [job for job in jobs if not all(path.is_file() for path in job.outputs)]
    done.kept = sum(path.is_file() for job in jobs for path in job.outputs)
    if not left:
        return
    bar = ProgressBar(len(left), bar_width=30)
    pool = ThreadPoolExecutor(num_threads)
    try:
        for result in pool.map(convert, left):
            if isinstance(result, str):
                done.failed.append(result)
            else:
                done.written += result
            bar.update()
    finally:
        pool.shutdown(cancel_futures=True)
        print(flush=True)
