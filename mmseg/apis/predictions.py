"""Score what any program predicted, by the rules that models are scored by."""

from __future__ import annotations

import contextlib
import json
import math
import sys
import time
import zipfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.structures import PixelData
from PIL import Image

from mmseg.apis.init import register_all_modules
from mmseg.datasets.leaves import summarise_datasets
from mmseg.datasets.lesion_dataset import LesionDataset
from mmseg.datasets.reading import image_size
from mmseg.engine.config import check_config, require
from mmseg.evaluation import LesionMetric
from mmseg.registry import DATASETS, METRICS, find_subclass
from mmseg.utils.errors import UserError
from mmseg.visualization import ReportPictures, write_report

__all__ = ["find_predictions", "lesion_evaluator", "score_predictions"]

QUANTISED = "the predictions are 8-bit PNGs, and probabilities of 256 values falsify it; give float32 in .npz files"
_NAMED = 5
_HEAD = 2**16
"""Bytes of an array's description, at most."""

Load = Callable[[], np.ndarray]


def lesion_evaluator(config: Config) -> Any:
    """The configuration of ``test_evaluator`` that is of :class:`LesionMetric`, or of a subclass; it may be changed.

    Returns:
        None where there is none.

    Raises:
        UserError: there are several, each of which would write its files.
    """
    register_all_modules()
    given = config.test_evaluator if isinstance(config.test_evaluator, list) else [config.test_evaluator]
    ours = [e for e in given if isinstance(e, dict) and find_subclass(METRICS, e.get("type"), LesionMetric)]
    if len(ours) > 1:
        raise UserError(f"test_evaluator: got {len(ours)} LesionMetric, expected one: each writes its metrics.json")
    return ours[0] if ours else None


def score_predictions(config: Config, folder: str | Path, out_dir: str | Path, command: str = "") -> dict[str, float]:
    """Score files against the test set of a configuration, without its model.

    Args:
        config: whose ``test_dataloader.dataset`` and ``test_evaluator`` count.
        folder: holds ``<image>.npz`` with ``probabilities`` float32 ``(C, H, W)`` in the data set's lesion order, as
            ``tools/inference.py --save-probabilities`` writes them; or ``<LESION>/<image>.png``, 8 bit, value / 255 the
            probability, which leaves AUPR11 null.
        out_dir: where ``metrics.json``, ``details.json``, ``per_image.csv`` and ``report.html`` go.
        command: that was typed, for the report.

    Returns:
        what :class:`LesionMetric` logs.

    Raises:
        UserError: files are missing, do not belong to the set, or have the wrong size or type, all told at once; or a value is
            no probability.
    """
    register_all_modules()
    require(config, "test_dataloader", "test_evaluator")
    check_config(config, ("test_dataloader",))
    if not MMLogger.check_instance_created("predictions"):
        MMLogger.get_instance("predictions", log_level="WARNING")  # the metric prints its table itself
    dataset: LesionDataset = DATASETS.build(config.test_dataloader.dataset)
    if not isinstance(dataset, LesionDataset):
        raise UserError(f"test_dataloader.dataset: got a {type(dataset).__name__}, expected one data set of lesions, whose image "
                        "names are those of the predictions")
    settings = dict(lesion_evaluator(config) or dict(type="LesionMetric"))
    loaders, quantised = find_predictions(folder, dataset)
    metric: LesionMetric = METRICS.build({**settings, "out_dir": str(out_dir), "quantised": QUANTISED if quantised else None})
    metric.dataset_meta = dataset.metainfo
    metric.about = dict(test_set=summarise_datasets(config.test_dataloader.dataset))
    pictures, start, peak = ReportPictures(), time.monotonic(), 0.0
    for index, load in enumerate(loaders):
        item = dataset[index]
        sample, probabilities = item["data_samples"], load()
        peak = max(peak, float(probabilities.max()))
        sample.probabilities = PixelData(data=torch.from_numpy(probabilities))
        name = Path(sample.img_path).name
        try:
            metric.process(None, [sample.to_dict()])
        except ValueError as error:
            raise UserError(f"{folder}: the prediction of {error}") from error
        pictures.add(name, item["inputs"].permute(1, 2, 0).numpy(), probabilities > 0.5, sample.gt_sem_seg.data.numpy())
        left = (time.monotonic() - start) / (index + 1) * (len(loaders) - index - 1)
        print(f"[{index + 1}/{len(loaders)}] {name}, {left:.0f} s left", file=sys.stderr, flush=True)
    if quantised and 0 < peak < 1.5 / 255:
        raise UserError(f"{folder}: got the values 0 and 1 alone, expected 0 to 255: write 255 where a lesion is")
    scores = metric.evaluate(len(loaders))
    write_report(out_dir, pictures, command, config.to_dict())
    return scores


def find_predictions(folder: str | Path, dataset: LesionDataset) -> tuple[list[Load], bool]:
    """One function an image that reads its probabilities float32 ``(C, H, W)``, and whether they are of 8 bits.

    Raises:
        UserError: with every missing, superfluous and unfit file; sizes are taken from the files' heads.
    """
    folder, classes = Path(folder), tuple(dataset.metainfo["classes"])
    paths = [Path(dataset.get_data_info(i)["img_path"]) for i in range(len(dataset))]
    archives = sorted(folder.glob("*.npz"))
    maps = [path for lesion in classes for path in sorted((folder / lesion).glob("*.png"))]
    if bool(archives) == bool(maps):
        what = "both .npz files and <LESION>/*.png" if archives else "neither" if folder.is_dir() else "no such folder"
        raise UserError(
            f"{folder}: got {what}, expected <image>.npz with probabilities float32 ({len(classes)}, H, W), or "
            f"<LESION>/<image>.png of 8 bits for {', '.join(classes)}; tools/inference.py --save-probabilities writes the former"
        )
    if archives:
        wanted = {path: [folder / f"{path.stem}.npz"] for path in paths}
    else:
        wanted = {path: [folder / lesion / f"{path.stem}.png" for lesion in classes] for path in paths}
    files = {file for of_image in wanted.values() for file in of_image}
    missing = sorted(file for file in files if not file.is_file())
    unfit = []
    for path, of_image in wanted.items():
        size = image_size(path)[::-1]
        for file in of_image:
            if file.is_file():
                problem = _archive_problem(file, (len(classes), *size)) if archives else _map_problem(file, size)
                unfit += [f"{file.relative_to(folder)}: {problem}"] if problem else []
    if len(settings := _settings_of(files)) > 1 and archives:  # as where each fold's model has segmented the other images
        print(f"warning: {folder}: these are results of {len(settings)} checkpoints or settings, as their .json files say; for "
              "the scores of one model segment all images by it", file=sys.stderr)
    findings = [
        *_listed("missing", [str(file.relative_to(folder)) for file in missing]),
        *_listed("of no image of the set", [str(f.relative_to(folder)) for f in [*archives, *maps] if f not in files]),
        *_listed("unfit", unfit),
    ]
    if findings:
        raise UserError(f"{folder}: the predictions do not fit the {len(paths)} images of the set:\n  " + "\n  ".join(findings))
    read = _read_archive if archives else _read_maps
    return [lambda files=wanted[path]: read(files) for path in paths], bool(maps)  # type: ignore[misc]


def _settings_of(files: Iterable[Path]) -> set[str]:
    """What ``tools/inference.py`` made probabilities from: a digest of weights and settings, where it stands beside them."""
    found = set()
    for file in files:
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, IndexError):
            found.add(str(json.loads(file.with_suffix(".json").read_text(encoding="utf-8"))["made_from"]["settings"][0]))
    return found


def _listed(what: str, names: Sequence[str]) -> list[str]:
    more = f"; and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return [f"{len(names)} {what}: {'; '.join(names[:_NAMED])}{more}"] if names else []


def _archive_problem(file: Path, shape: tuple[int, ...]) -> str | None:
    expected = f"expected probabilities float32 {shape}"
    try:
        with zipfile.ZipFile(file) as archive:
            if archive.namelist().count("probabilities.npy") != 1 or "probabilities" in archive.namelist():
                return f"got {', '.join(name.removesuffix('.npy') for name in archive.namelist()) or 'nothing'}, {expected}"
            with archive.open("probabilities.npy") as member:
                version: Any = np.lib.format.read_magic(member)
                if version != (1, 0):  # whose head is short; an array of numbers has no other
                    return f"got an array of format {version}, {expected}"
                found, _, kind = np.lib.format.read_array_header_1_0(member)
            size = archive.getinfo("probabilities.npy").file_size
    except Exception as error:  # damaged bytes make decoders fail in any way
        return f"cannot be read ({error}), {expected}"
    if (found, kind) != (shape, np.float32):
        return f"got {kind} {found}, {expected}"
    return None if size <= 4 * math.prod(shape) + _HEAD else f"got {size} bytes, {expected}"


def _map_problem(file: Path, size: tuple[int, int]) -> str | None:
    expected = f"expected 8-bit grey of {size[1]}x{size[0]}"
    try:
        with Image.open(file) as image:
            fits = image.mode == "L" and image.size == size[::-1]
            return None if fits else f"got mode {image.mode} of {image.width}x{image.height}, {expected}"
    except Exception as error:  # damaged bytes make decoders fail in any way
        return f"cannot be read ({error}), {expected}"


def _read_archive(files: Sequence[Path]) -> np.ndarray:
    try:
        with np.load(files[0], allow_pickle=False) as archive:
            return archive["probabilities"]
    except Exception as error:  # damaged bytes make decoders fail in any way
        raise UserError(f"{files[0]}: cannot be read ({error}); write it again") from error


def _read_maps(files: Sequence[Path]) -> np.ndarray:
    maps = []
    for file in files:
        try:
            with Image.open(file) as image:
                maps.append(np.asarray(image, dtype=np.float32) / np.float32(255))
        except Exception as error:  # damaged bytes make decoders fail in any way
            raise UserError(f"{file}: cannot be read ({error}); write it again") from error
    return np.stack(maps)
