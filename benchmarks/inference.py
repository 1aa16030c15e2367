"""Where the time of one photograph goes, from its file to its masks.

    IDRID_ROOT=... python benchmarks/inference.py [CONFIG] [--image FILE] [--repeats 5] [--json FILE]

The network alone is timed at the working size, as :class:`LesionInferencer` runs it, in float32, and plain (float32 in contiguous
memory order). The whole path is timed by its parts. Weights are random, since they change no time; masks and overlay are made
from the true lesions of IDRiD's first test photograph, since these do. Another one (``--image``) needs its masks in the tidy
layout (``masks/<split>/<LESION>/<name>_<LESION>.png``), or has none.

On a CPU nothing else may run. Times are medians.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

import numpy as np  # noqa: E402
import torch  # noqa: E402
from _record import write_record  # noqa: E402

from mmseg.utils.errors import exit_on_user_error  # noqa: E402

MAIN_CONFIG = "configs/sdcnet/sdcnetplus_r18-d8_512x512_40k_IDRiD.py"


def median(work: Callable[[], Any], repeats: int) -> tuple[float, Any]:
    """Median seconds after two runs that are not counted, and the last result."""
    times: list[float] = []
    result = None
    for _ in range(repeats + 2):
        start = time.perf_counter()
        result = work()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return statistics.median(times[2:]), result


def network(model: Any, image: np.ndarray, repeats: int) -> dict[str, Any]:
    """Seconds of the network on one image in three ways, and how far its probabilities lie from the plain ones."""
    from mmseg.datasets.reading import fit_size, to_input
    from mmseg.utils.device import exact_convolutions, has_native_bfloat16

    size = fit_size(image.shape[1], image.shape[0], model.working_size)
    device = next(model.parameters()).device
    inputs = model.data_preprocessor(dict(inputs=[to_input(image, size)]), False)["inputs"]
    ways: dict[str, Any] = {}
    probabilities = {}
    for way in ("plain", "float32", "default"):
        order = torch.contiguous_format if way == "plain" else torch.channels_last
        model.to(memory_format=order)
        given = inputs.contiguous(memory_format=order)
        half = way == "default" and has_native_bfloat16(device.type)
        with torch.inference_mode(), exact_convolutions(), torch.autocast(device.type, torch.bfloat16, enabled=half):
            ways[way], logits = median(lambda given=given: model.encode_decode(given), repeats)
        probabilities[way] = model.lesion_probabilities(logits)
    difference = float((probabilities["default"] - probabilities["plain"]).abs().max())
    return dict(seconds=ways, size=list(inputs.shape), largest_difference=difference)


def photograph(given: Path | None) -> tuple[Path, dict[str, np.ndarray]]:
    """A file, and its true lesions by name, uint8 ``(H, W)`` in {0, 1}: the one given, or IDRiD's first for testing."""
    from mmseg.datasets import IDRiDDataset
    from mmseg.datasets.reading import read_mask
    from mmseg.structures import LESIONS

    if given is None:
        data = IDRiDDataset(os.environ.get("IDRID_ROOT") or "data/IDRID", "test", test_mode=True)
        truth = data[0]["data_samples"].gt_sem_seg.data.numpy()
        return Path(data.get_data_info(0)["img_path"]), dict(zip(LESIONS, truth, strict=True))
    split = given.absolute().parent
    masks = {name: split.parent.parent / "masks" / split.name / name / f"{given.stem}_{name}.png" for name in LESIONS}
    return given, {name: read_mask(path) for name, path in masks.items() if path.is_file()}


def parts(inferencer: Any, path: Path, truth: dict[str, np.ndarray], repeats: int) -> dict[str, float]:
    """Seconds of each part of the whole path, with the true lesions in the place of what a random network sees."""
    from mmseg.apis.inferencer import Segmentation
    from mmseg.apis.results import _write_indexed, _write_mask, _write_overlay
    from mmseg.datasets.reading import fit_size, read_image, resize_image, to_input
    from mmseg.structures import enlarged_masks

    seconds: dict[str, float] = {}
    seconds["read"], image = median(lambda: read_image(path), repeats)
    size = fit_size(image.shape[1], image.shape[0], inferencer.model.working_size)
    seconds["reduce"], _ = median(lambda: to_input(image, size), repeats)
    whole, _ = median(lambda: inferencer._network([image]), repeats)
    seconds["network"] = whole - seconds["reduce"]
    working = torch.zeros(len(inferencer.classes), size[1], size[0])
    for c, lesion in enumerate(inferencer.classes):
        if lesion in truth:
            working[c] = torch.from_numpy(resize_image(truth[lesion] * np.uint8(255), size)) / 255
    limits = [0.5] * len(inferencer.classes)
    there = working.to(next(inferencer.model.parameters()).device)

    def enlarge() -> list[torch.Tensor]:
        return [found.cpu() for found in enlarged_masks(there, image.shape[:2], limits)]

    seconds["enlarge"], (masks, index) = median(enlarge, repeats)
    found = Segmentation(path, image, working.numpy(), masks.numpy(), index.numpy(), inferencer.thresholds,
                         inferencer.classes, inferencer.palette)
    with tempfile.TemporaryDirectory() as out:
        def write_masks() -> None:
            from concurrent.futures import ThreadPoolExecutor

            with ThreadPoolExecutor() as pool:
                jobs = [pool.submit(_write_indexed, Path(out, "mask.png"), found)]
                jobs += [pool.submit(_write_mask, Path(out, f"{i}.png"), mask) for i, mask in enumerate(found.masks)]
                for job in jobs:
                    job.result()

        seconds["write masks"], _ = median(write_masks, repeats)
        seconds["write overlay"], _ = median(lambda: _write_overlay(Path(out, "overlay.png"), found), repeats)
    return seconds


def main() -> None:
    """Measure, print, record."""
    from mmseg.apis import LesionInferencer, init_model
    from mmseg.datasets.reading import read_image
    from mmseg.engine.config import load_config
    from mmseg.utils.memory import keep_freed_memory

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", nargs="?", default=str(ROOT / MAIN_CONFIG))
    parser.add_argument("--image", type=Path, help="another photograph than IDRiD's first for testing")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default=None)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers to this file too")
    args = parser.parse_args()
    keep_freed_memory()
    path, truth = photograph(args.image)
    model = init_model(load_config(args.config), device=args.device)
    image = read_image(path)
    alone = network(model, image, args.repeats)
    seconds = parts(LesionInferencer(model), path, truth, args.repeats)
    plain = alone["seconds"]["plain"]
    device = next(model.parameters()).device.type
    device = torch.cuda.get_device_name() if device == "cuda" else device
    print(f"{Path(args.config).stem}, {image.shape[1]}x{image.shape[0]}, {device}, {torch.get_num_threads()} threads\n")
    print(f"{'network':<16}{'ms':>9}{'ratio':>8}")
    for way, value in alone["seconds"].items():
        print(f"{way:<16}{1000 * value:>9.1f}{plain / value:>8.2f}")
    print(f"largest difference of a probability, default to plain: {alone['largest_difference']:.4f}\n")
    to_masks = sum(value for name, value in seconds.items() if name != "write overlay")
    print(f"{'whole path':<16}{'ms':>9}{'%':>8}")
    for name, value in seconds.items():
        print(f"{name:<16}{1000 * value:>9.1f}{100 * value / to_masks:>8.1f}{'  (beside it)' if name == 'write overlay' else ''}")
    print(f"{'file to masks':<16}{1000 * to_masks:>9.1f}")
    write_record(args.json, "inference.py", ("torch", "opencv-python"), config=Path(args.config).stem, network=alone,
                 parts=seconds, network_share=seconds["network"] / to_masks, threads=torch.get_num_threads(), device=device)


if __name__ == "__main__":
    with exit_on_user_error():
        main()
