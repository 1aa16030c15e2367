"""Write the synthetic data set to disk, whole or not at all, in IDRiD's tidy layout."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import cv2
import numpy as np

from mmseg.datasets.synthetic.render import generate_image
from mmseg.utils.errors import UserError

__all__ = ["SETTINGS_FILE", "make_dataset"]

SETTINGS_FILE = "synthetic.json"
"""Lies in the root of a complete data set, and says how it was made."""

_VERSION = 1
_SMALLEST = 96


def make_dataset(
    root: str | Path,
    num_train: int = 24,
    num_test: int = 8,
    size: tuple[int, int] = (1440, 960),
    seed: int = 0,
    workers: int = 2,
    progress: Callable[[int, int], None] | None = None,
) -> bool:
    """Make a data set of synthetic fundus photographs.

    Writes ``images/{train,test}/synthetic_NN.jpg`` (RGB, quality 95) and, with values 0 and 255,
    ``masks/{train,test}/{MA,HE,EX,SE,OD}/synthetic_NN_XX.png``; as in IDRiD, numbers go on from train to test, and a lesion
    that is absent has no file. Pixels depend on the settings alone, whatever ``workers`` is. The folder appears in one move,
    when everything in it is written.

    Args:
        root: folder to make; it must be absent, empty, or hold the same data set already.
        num_train: images in the train split.
        num_test: images in the test split.
        size: ``(width, height)`` in pixels; everything drawn scales with the width.
        seed: at least 0; another seed, another data set.
        workers: threads.
        progress: called after each image with the number done and the number of all.

    Returns:
        True when the data set was written, False when a complete one of the same settings lay there and was left alone.

    Raises:
        UserError: settings out of range, a folder that holds something else, no permission, no space.
    """
    root = Path(root).absolute()
    _check_settings(num_train, num_test, size, seed, workers)
    settings = {"version": _VERSION, "num_train": num_train, "num_test": num_test, "size": list(size), "seed": seed}
    try:
        if _is_complete(root, settings):
            return False
        root.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{root.name}-", dir=root.parent) as folder:
            made = Path(folder) / "dataset"
            _write_images(made, settings, workers, progress)
            (made / SETTINGS_FILE).write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
            if root.is_dir():  # empty, as checked above; Windows does not rename over it
                root.rmdir()
            made.rename(root)
    except OSError as error:
        raise UserError(
            f"cannot write the synthetic data set to {root}: {error.strerror or error}; expected a folder that can be made in "
            f"{root.parent}; name another one that you may write to (--out DIR)"
        ) from error
    return True


def _check_settings(num_train: int, num_test: int, size: tuple[int, int], seed: int, workers: int) -> None:
    """Raise a UserError that names every setting out of range."""
    wrong = [
        f"{name} = {got}, expected at least {least}"
        for name, got, least in (
            ("num_train", num_train, 0),
            ("num_test", num_test, 0),
            ("num_train + num_test", num_train + num_test, 1),
            ("width", size[0], _SMALLEST),
            ("height", size[1], _SMALLEST),
            ("seed", seed, 0),
            ("workers", workers, 1),
        )
        if got < least
    ]
    if wrong:
        raise UserError("synthetic data set: " + "; ".join(wrong))


def _is_complete(root: Path, settings: dict[str, object]) -> bool:
    """Whether ``root`` holds this very data set; a UserError where it holds anything else."""
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return False
    try:
        found = json.loads((root / SETTINGS_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = None
    if found == settings:
        return True
    what = f"a synthetic data set with other settings: {found}" if found else "something that is no synthetic data set"
    raise UserError(
        f"{root} already holds {what}; expected a new or empty folder, or one made with {settings}; "
        "name another folder (--out DIR), or delete this one"
    )


def _write_images(root: Path, settings: dict, workers: int, progress: Callable[[int, int], None] | None) -> None:
    """Write all images and masks below ``root``; on the first error, or Ctrl-C, what has not begun is dropped."""
    train, test = settings["num_train"], settings["num_test"]
    jobs = [("train", index) for index in range(train)] + [("test", index) for index in range(test)]
    digits = max(2, len(str(len(jobs))))
    with ThreadPoolExecutor(workers) as pool:
        waiting = [
            pool.submit(_write_one, root, f"synthetic_{number:0{digits}d}", settings["seed"], split, index, settings["size"])
            for number, (split, index) in enumerate(jobs, 1)
        ]
        try:
            for done, job in enumerate(as_completed(waiting), 1):
                job.result()
                if progress:
                    progress(done, len(jobs))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _write_one(root: Path, name: str, seed: int, split: str, index: int, size: tuple[int, int]) -> None:
    """Make one image and write it with its masks."""
    image, masks = generate_image(seed, split, index, size)
    quality = [cv2.IMWRITE_JPEG_QUALITY, 95, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    _write(root / "images" / split / f"{name}.jpg", image[..., ::-1], quality)
    for kind, mask in masks.items():
        _write(root / "masks" / split / kind / f"{name}_{kind}.png", mask.astype(np.uint8) * 255, [])


def _write(path: Path, image: np.ndarray, parameters: list[int]) -> None:
    """Encode by the suffix and write; unlike ``cv2.imwrite``, a failure is an OSError that says why."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(path.suffix, np.ascontiguousarray(image), parameters)[1].tobytes())
