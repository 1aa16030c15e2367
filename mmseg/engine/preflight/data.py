"""Every image and mask of the data sets: readable, of one size, in pairs, and what one would expect of lesions."""

from __future__ import annotations

import math
import os
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.utils import ProgressBar

from mmseg.datasets.layouts import find_images
from mmseg.datasets.reading import check_mask_size
from mmseg.engine.preflight.files import FileCache
from mmseg.engine.preflight.finding import NOTE, WARNING, Finding, from_user_error
from mmseg.engine.preflight.splits import File, Split
from mmseg.structures import LESIONS
from mmseg.utils.errors import UserError

__all__ = ["data_findings"]

Known = dict[tuple[str, str], dict[str, Any]]
"""What is known of a file, by kind and path."""

_TOO_LARGE = 0.5
"""Share of the photograph from which on a mask is suspected to be inverted; our own."""
_OUTSIDE = 0.5
"""Share of a mask's places outside the retina from which on it is suspected to belong to another image; our own."""


def data_findings(splits: list[Split], cache: FileCache, read: bool) -> Iterator[Finding]:
    """Check the files of the data sets by the rules of the data set classes, which refuse the same files.

    Args:
        splits: of :func:`~mmseg.engine.preflight.splits.find_splits`.
        cache: what is known of files from earlier.
        read: read what is not known; otherwise only count it.
    """
    files = list(dict.fromkeys((f.kind, f.path) for split in splits for f in split.files()))
    known = {file: found for file in files if (found := cache.known(*file)) is not None}
    unread = [file for file in files if file not in known]
    if read and unread:
        try:
            known |= _read_all(unread, cache)
        finally:
            cache.save()  # what is known when somebody stops it need not be read again
    elif unread:
        yield Finding(NOTE, "data", f"{len(unread)} of {len(files)} files were not read; tools/check.py reads them all, once")
    different: dict[tuple[str, ...], Split] = {}
    for split in splits:  # two loaders may have the same files
        different.setdefault(tuple(file.path for file in split.files()), split)
    for split in different.values():
        yield from _split_findings(split, known)
        yield from _orphan_findings(split)
    yield from _duplicate_findings(splits, known)


def _read_all(files: list[tuple[str, str]], cache: FileCache) -> Known:
    """Read in threads (OpenCV lets go of the interpreter), with a progress bar that tells the time left."""
    bar = ProgressBar(len(files), bar_width=30, file=sys.stderr)
    found: Known = {}
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1  # macOS has none
    with ThreadPoolExecutor(max(2, min(8, cores))) as pool:
        for file, result in zip(files, pool.map(lambda file: cache.read(*file), files), strict=True):
            found[file] = result
            bar.update()
    print(file=sys.stderr, flush=True)
    return found


def _split_findings(split: Split, known: Known) -> Iterator[Finding]:
    pixels, with_files, with_lesion, third = Counter[str](), Counter[str](), Counter[str](), Counter[int]()
    grey, empty, images, whole = 0, 0, 0, True
    for image, truth in split.records():
        images += 1
        empty += not truth
        photograph = known.get((image.kind, image.path))
        whole = whole and photograph is not None
        if photograph and "error" in photograph:
            yield from_user_error(photograph["error"], image.path)
        for file in truth:
            found = known.get((file.kind, file.path))
            whole = whole and found is not None and "error" not in found
            with_files[file.lesion] += 1
            if found is None:
                continue
            if "error" in found:
                yield from_user_error(found["error"], file.path)
                continue
            of_file = _lesion_pixels(split, file, found)
            pixels.update(of_file)
            with_lesion.update(lesion for lesion, count in of_file.items() if count)
            grey += found.get("grey", False)
            third.update([found["third"]] if found.get("third") else [])
            yield from _refused(split, file, found, image.path, photograph)
            yield from _suspicious(file, found, image.path, photograph)
    counts = ", ".join(f"{lesion} {with_files[lesion]}" for lesion in LESIONS if with_files[lesion])
    kinds = f"mask files {counts}" if counts else f"{with_files['']} label maps"
    without = f"; {empty} without any mask count as free of lesions" if empty else ""
    yield Finding(NOTE, split.where, f"{images} images, {kinds}{without}")
    if grey:
        yield Finding(NOTE, split.where, f"{grey} masks hold grey levels between 0 and their largest; lesions begin at 128")
    for level, count in third.items():
        yield Finding(WARNING, split.where, f"{count} masks of three levels, the middle one {level}", "0 and the largest",
                      f"{level} counts as {'lesion' if level >= 128 else 'background'}; if it marks what nobody judged, "
                      "no mask can say so: take those images out")
    if with_files[""]:
        yield from _order_findings(split, pixels, with_lesion)
    masks = not with_files[""]
    for lesion in LESIONS:
        if (whole and not pixels[lesion]) or (masks and not with_files[lesion]):  # of which the latter needs no reading
            yield Finding(
                WARNING, split.where, f"{lesion} in none of {images} images", "every lesion somewhere",
                f"there it is learnt as absent, and not measured; are its masks in the right folder and named <image>_{lesion}?",
            )


def _order_findings(split: Split, pixels: Counter[str], images: Counter[str]) -> Iterator[Finding]:
    """Label maps of another coding have the same values; microaneurysms are what takes the least of an image that has any."""
    areas = {lesion: pixels[lesion] / images[lesion] for lesion in LESIONS if images[lesion]}
    larger = [lesion for lesion in ("EX", "SE") if areas.get("MA", 0) > 2 * areas.get(lesion, math.inf)]
    if larger:
        coding = ", ".join(f"{i} {lesion}" for i, lesion in enumerate(split.dataset.LABEL_MAP_CLASSES, start=1))
        yield Finding(WARNING, split.where, f"twice as many pixels of MA as of {' and '.join(larger)} in images with any",
                      "fewer", f"are the values {coding}? For others set LABEL_MAP_CLASSES in a class of your own")


def _lesion_pixels(split: Split, file: File, found: dict[str, Any]) -> dict[str, int]:
    if file.lesion:
        return {file.lesion: found["pixels"]}
    return dict(zip(split.dataset.LABEL_MAP_CLASSES, found["counts"][1:], strict=False))


def _refused(split: Split, file: File, found: dict, img_path: str, photograph: dict | None) -> Iterator[Finding]:
    """What the data set class would refuse beyond the reading of the file, by its own rules."""
    try:
        if photograph and "error" not in photograph:
            check_mask_size(file.path, found["shape"], img_path, photograph["shape"])
        if file.kind == "labels":
            split.dataset.check_label(file.path, found["largest"])
    except UserError as error:
        yield from_user_error(error, file.path)


def _suspicious(file: File, found: dict, img_path: str, photograph: dict | None) -> Iterator[Finding]:
    """What the data set class accepts, but a person would ask about."""
    if found.get("alpha"):
        yield Finding(
            WARNING, file.path, "an empty mask whose alpha channel is not", "lesions in the colour channels",
            "alpha is not read; save the mask as grey, 0 and 255",
        )
    height, width = found["shape"]
    share = found["pixels"] / max(1, height * width)
    if file.lesion and share > _TOO_LARGE:
        yield Finding(WARNING, file.path, f"a lesion on {share:.0%} of the image", f"at most {_TOO_LARGE:.0%}", "is it inverted?")
    elif found["pixels"] and photograph and "error" not in photograph:
        cells, field = _cells(found), _cells(photograph)
        outside = float((cells & ~field).sum() / cells.sum())
        if field.any() and outside > _OUTSIDE:
            yield Finding(
                WARNING, file.path, f"{outside:.0%} of its places outside of the retina", "lesions inside of it",
                f"is it the mask of another image than {img_path}?",
            )


def _cells(found: dict[str, Any]) -> np.ndarray:
    return np.unpackbits(np.frombuffer(bytes.fromhex(found["grid"]), np.uint8)).astype(bool)


def _orphan_findings(split: Split) -> Iterator[Finding]:
    """Mask files that no image takes, in the folders from which the others come: a name that is spelt differently."""
    records = list(split.records())
    used = {file.path for _, truth in records for file in truth}
    chosen = {image.path for image, _ in records}
    folders = {Path(path).parent for path in chosen}
    others = [image.stem for folder in folders for image in find_images(folder) if str(image) not in chosen]  # of other folds
    for folder in sorted({Path(path).parent for path in used}):
        left = [f for f in find_images(folder) if str(f) not in used and not f.stem.startswith(tuple(others))]
        if left:
            names = ", ".join(f.name for f in left[:3]) + (", ..." if len(left) > 3 else "")
            yield Finding(
                WARNING, str(folder), f"{len(left)} files that belong to no image ({names})", "names as <image>_<lesion>",
                "rename or remove them: they are not read",
            )


def _duplicate_findings(splits: list[Split], known: Known) -> Iterator[Finding]:
    """The same pixels twice, in one split or, worse, in two of them; the same lesions in two images."""
    for kind, what in (("image", "photograph"), ("mask", "mask")):
        by_digest: dict[str, dict[str, str]] = defaultdict(dict)
        for split in splits:
            for file in split.files():
                found = known.get((file.kind, file.path)) if file.kind == kind else None
                if found and "error" not in found and found.get("pixels", 1):
                    by_digest[found["digest"]].setdefault(file.path, split.loader)
        for places in by_digest.values():
            if len(places) > 1:
                yield _duplicate(what, places)
    yield from _shared_findings(splits)


def _duplicate(what: str, places: dict[str, str]) -> Finding:
    first, *others = places
    apart = "" if len(set(places.values())) == 1 else f", across {' and '.join(dict.fromkeys(places.values()))}"
    fix = "scores on images that were trained on mean nothing; remove one" if apart and what == "photograph" else "remove one"
    if what == "mask":
        fix = "one of them belongs to another image or lesion"
    return Finding(WARNING, others[0], f"the same {what} as {first}{apart}", f"each {what} once", fix)


def _shared_findings(splits: list[Split]) -> Iterator[Finding]:
    """Files that are trained on and, by the configuration itself, measured on."""
    trained = {f.path for s in splits if s.loader == "train_dataloader" for f in s.files() if f.kind == "image"}
    for split in splits:
        shared = trained.intersection(_images(split)) if split.loader != "train_dataloader" else set()
        if shared:
            yield Finding(
                WARNING, split.where, f"{len(shared)} images that are trained on, too ({Path(min(shared)).name}, ...)",
                "other images", "scores on images that were trained on mean nothing; choose another split or fold",
            )


def _images(split: Split) -> Iterable[str]:
    return (file.path for file in split.files() if file.kind == "image")
