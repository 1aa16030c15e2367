"""What a training step's data cost as the batch, the crop, the photograph and the data set grow.

Random photographs (480x320 where nothing else is said) are kept by the real ResidentDataset, drawn by the real sampler and
loader, and made into batches by the data preprocessor with all transforms; the data set grows with cache='disk', one file of
0.6 MB a photograph in a temporary folder (10,000: 6 GB, removed at the end). Sizes of one kind are measured in turns, so that
a change of the machine's pace meets all alike; times are medians. The last column sets a time against one whole training step
of SDC-Net+ at the same batch of 4 crops of 256x256.

    python benchmarks/scaling.py [--samples 10 54 1000 10000] [--rounds 10] [--folder FOLDER] [--json FILE]
"""

from __future__ import annotations

import argparse
import functools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from _batches import batches  # noqa: E402
from _record import write_record  # noqa: E402
from mmengine.structures import PixelData  # noqa: E402

from mmseg.datasets import LesionDataset, ResidentDataset  # noqa: E402
from mmseg.registry import DATASETS  # noqa: E402
from mmseg.structures import LESIONS, SegDataSample  # noqa: E402
from mmseg.utils import register_all_modules  # noqa: E402
from mmseg.utils.memory import keep_freed_memory  # noqa: E402

MAIN_CONFIG = ROOT / "configs/sdcnet/sdcnetplus_r18-d8_512x512_40k_IDRiD.py"
SIZE, CROP, BATCH = (480, 320), 256, 4
DRAWN = 64
"""Different photographs; more are these again, each with pages of its own in the file."""


@DATASETS.register_module()
class RandomImages(LesionDataset):
    """Photographs of coarse random colour with four lesions of a few hundred pixels: nothing is read or rendered.

    Args:
        count: how many.
        size: width, height in pixels.
    """

    def __init__(self, count: int, size: tuple[int, int] = SIZE) -> None:
        self.count = count
        super().__init__(size=size)

    def load_data_list(self) -> list[dict[str, Any]]:
        """A record a photograph; this file stands for its source."""
        return [dict(img_path=__file__, image_id=str(i), mask_paths={}) for i in range(self.count)]

    def prepare_data(self, idx: int) -> dict[str, Any]:
        """As every data set gives it."""
        assert self.size is not None
        image, masks = draw(idx % DRAWN, self.size)
        meta = dict(img_path=__file__, image_id=str(idx), sample_idx=idx, ori_shape=self.size[::-1], img_shape=self.size[::-1])
        return dict(inputs=image, data_samples=SegDataSample(gt_sem_seg=PixelData(data=masks), metainfo=meta))


@functools.lru_cache(maxsize=DRAWN)
def draw(seed: int, size: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Image uint8 ``(3, h, w)`` and masks uint8 ``(4, h, w)``."""
    width, height = size
    generator = torch.Generator().manual_seed(seed)
    blocks = torch.randint(0, 256, (3, -(-height // 16), -(-width // 16)), dtype=torch.uint8, generator=generator)
    image = blocks.repeat_interleave(16, 1).repeat_interleave(16, 2)[:, :height, :width].contiguous()
    masks = torch.zeros(len(LESIONS), height, width, dtype=torch.uint8)
    for mask in masks:
        x, y = (int(torch.randint(0, side - 16, (), generator=generator)) for side in size)
        mask[y : y + 16, x : x + 16] = 1
    return image, masks


def feed(dataset: Any, crop: int = CROP, batch: int = BATCH) -> Iterator[dict[str, Any]]:
    """Batches of a resident data set."""
    affine = dict(type="BatchRandomAffine", crop_size=(crop, crop), lesion_prob=0.6)
    preprocessor = dict(
        type="LesionDataPreprocessor", mean=[116.513, 56.437, 16.309], std=[80.206, 41.232, 13.293],
        train_transforms=[affine, dict(type="BatchPhotometricDistortion", blur=1.0)])
    sampler = dict(type="InfiniteSampler", shuffle=True)
    return batches(dict(batch_size=batch, num_workers=0, dataset=dataset, sampler=sampler), preprocessor)


def in_turns(feeds: dict[str, Iterator[dict[str, Any]]], rounds: int, steps: int) -> dict[str, list[float]]:
    """Seconds of each batch, by feed; a round takes some steps of each."""
    times: dict[str, list[float]] = {name: [] for name in feeds}
    for turn in range(rounds + 1):
        for name, source in feeds.items():
            for _ in range(steps):
                start = time.perf_counter()
                next(source)
                if turn > 0:  # the first one warms up
                    times[name].append(time.perf_counter() - start)
    return times


def resident(count: int, size: tuple[int, int] = SIZE, cache: str = "host", folder: str | None = None) -> ResidentDataset:
    """Random photographs, kept."""
    return ResidentDataset(RandomImages(count, size), cache=cache, cache_dir=folder)


def measure(samples: list[int], rounds: int, steps: int, folder: Path | None) -> dict[str, dict[str, float]]:
    """Median seconds of a batch by what grows and its size."""
    few = resident(DRAWN)
    wide = {size: resident(16, size) for size in ((480, 320), (960, 640), (1440, 960))}
    kinds = {
        "batch": {str(n): feed(few, batch=n) for n in (1, 2, 4, 8, 16)},
        "crop": {str(n): feed(wide[1440, 960], crop=n) for n in (128, 256, 512)},
        "photograph": {f"{w}x{h}": feed(kept) for (w, h), kept in wide.items()},
    }
    found = {kind: medians(in_turns(feeds, max(1, rounds // 3), steps)) for kind, feeds in kinds.items()}
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        feeds = {str(n): feed(resident(n, cache="disk", folder=temporary)) for n in samples}
        found["data set"] = medians(in_turns(feeds, rounds, steps))
    return found


def medians(times: dict[str, list[float]]) -> dict[str, float]:
    """Of each list."""
    return {name: statistics.median(column) for name, column in times.items()}


def training_step(steps: int) -> float:
    """Median seconds of a whole training step of the main configuration at this benchmark's batch and crop."""
    from train_step import measure as measure_step

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.py"
        dataset = dict(_delete_=True, type="ResidentDataset", cache="host", dataset=dict(type="RandomImages", count=DRAWN))
        path.write_text(f"_base_ = [{str(MAIN_CONFIG)!r}]\ntrain_dataloader = dict(batch_size={BATCH}, dataset={dataset!r})\n")
        options = {"data_preprocessor.train_transforms.0.crop_size": (CROP, CROP)}
        return float(measure_step(str(path), options, "default", steps)["step"])


def table(found: dict[str, dict[str, float]], step: float) -> str:
    """Milliseconds, against the first of its kind (the data set: against 54, where that is there), and against a step."""
    lines = [f"{'grows':<12}{'to':>9}{'ms/step':>10}{'ratio':>8}{'% of a training step':>22}"]
    for kind, row in found.items():
        first = row.get("54", next(iter(row.values())))
        for name, seconds in row.items():
            share = f"{100 * seconds / step:>22.2f}" if kind == "data set" else ""
            lines.append(f"{kind:<12}{name:>9}{1000 * seconds:>10.2f}{seconds / first:>8.2f}{share}")
    return "\n".join(lines)


def main() -> None:
    """Measure the data, then a training step in a process of its own; print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, nargs="+", default=[10, 54, 1000, 10000], help="sizes of the data set")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--steps", type=int, default=10, help="batches of each size in a round")
    parser.add_argument("--folder", type=Path, help="where the files are made and removed (default: the system's for these)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers to this file too")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    register_all_modules()
    if args.inside:
        print(f"\n{json.dumps(training_step(min(args.steps, 8)))}")
        return
    keep_freed_memory()  # as training does
    inside = [sys.executable, __file__, "--inside", "--steps", str(args.steps)]
    step = float(subprocess.run(inside, stdout=subprocess.PIPE, check=True).stdout.decode().splitlines()[-1])
    found = measure(args.samples, args.rounds, args.steps, args.folder)
    print(f"batches of {BATCH} crops of {CROP}x{CROP}, {torch.get_num_threads()} threads; a training step: {1000 * step:.0f} ms")
    print(table(found, step))
    data, few, many = found["data set"], 54 if 54 in args.samples else args.samples[0], args.samples[-1]
    more = data[str(many)] - data[str(few)]
    growth = dict(data=more / data[str(few)], step=more / step)
    print(f"from {few} to {many} photographs: data {growth['data']:+.1%}, whole step {growth['step']:+.2%}")
    write_record(
        args.json, "scaling.py", ("torch",), training_step_seconds=step, threads=torch.get_num_threads(),
        data_seconds=found, growth=growth)


if __name__ == "__main__":
    main()
