"""Training crops a second on one core: ours against stock mmsegmentation 1.x, same photographs, same crop size, same run.

    ours      samples kept in memory, the configuration's transforms on the batch, blur too; decoding once is not counted
    decoded   stock mmsegmentation's pipeline, fed with images already decoded and reduced to the size that is trained on
    stock     the same as users run it: every crop decodes the photograph and its label map

Stock's transforms are the field's: RandomResize (0.5 to 2 times 1440x960), RandomCrop (512x512, cat_max_ratio 0.75),
RandomFlip, RandomRotate (always, up to 180 degrees), PhotoMetricDistortion; then SegDataPreProcessor. All go through their
own DataLoader without workers, in batches of 4. The peer is onedl-mmsegmentation from PyPI, put into an environment of its
own (--venv) that takes torch, mmcv and mmengine from the running one. The ways are measured in turns; times are medians.

    IDRID_ROOT=... python benchmarks/pipeline.py [--images 24] [--rounds 8] [--venv FOLDER] [--json FILE]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[name] = "1"
ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from _batches import batches  # noqa: E402
from _record import write_record  # noqa: E402

DATA_CONFIG = ROOT / "configs/_base_/datasets/IDRiD_512x512.py"
PEER = ("onedl-mmsegmentation==1.4.2", "ftfy", "regex", "prettytable", "wcwidth")
"""What the running environment lacks of mmsegmentation: itself, and what its modules import (wcwidth: ftfy, prettytable)."""
BATCHES = dict(ours=8, decoded=4, stock=2)
"""A way's batches in one round."""
TARGETS = dict(decoded=3, stock=15)


def make_environment(folder: Path) -> Path:
    """The interpreter of an environment with mmsegmentation; made if it is not there.

    Nothing of it is seen by the running environment. The other way round all packages are, but after its own: an ``mmseg`` of
    the running environment stays hidden.
    """
    own = Path(sysconfig.get_path("purelib", vars=dict(base=str(folder), platbase=str(folder))))
    interpreter, link = folder / "bin" / "python", own / "running_environment.pth"
    lent = "\n".join(dict.fromkeys((sysconfig.get_path("purelib"), sysconfig.get_path("platlib")))) + "\n"
    if not (link.is_file() and link.read_text() == lent):
        print(f"making {folder} with {PEER[0]}", file=sys.stderr)
        venv.create(folder, clear=True, with_pip=False, symlinks=True)
        pip = [sys.executable, "-m", "pip", "--python", str(interpreter), "install", "-q", "--no-deps", *PEER]
        subprocess.run(pip, check=True)
        link.write_text(lent)
    return interpreter


def write_index_maps(dataset: Any, folder: Path) -> None:
    """Lay a data set out as mmsegmentation reads it: ``images/*.jpg`` (links) and ``labels/*.png`` of the same size."""
    import cv2

    from mmseg.structures import flatten_masks

    for name in ("images", "labels"):
        (folder / name).mkdir()
    for sample in (item["data_samples"] for item in dataset):
        source = Path(sample.img_path).resolve()
        (folder / "images" / f"{source.stem}.jpg").symlink_to(source)
        labels = flatten_masks(sample.gt_sem_seg.data).byte().numpy()
        cv2.imwrite(str(folder / "labels" / f"{source.stem}.png"), labels)


def read_config(images: int) -> Any:
    """The configuration's data, kept in memory, with every transform on."""
    from mmseg.engine.config import load_config

    config = load_config(DATA_CONFIG)
    config.train_dataloader.dataset.update(cache="host", num_threads=1)
    config.train_dataloader.dataset.dataset.indices = images
    affine, photometric = config.data_preprocessor.train_transforms
    assert affine.lesion_prob > 0
    photometric.blur = 1.0
    return config


@contextlib.contextmanager
def stock(interpreter: Path, setting: dict[str, Any]) -> Iterator[subprocess.Popen[str]]:
    """The peer's process, without this checkout on its path."""
    command = [str(interpreter), "-I", "-W", "ignore", str(ROOT / "benchmarks" / "_stock_pipeline.py")]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=tempfile.gettempdir())
    try:
        ask(process, json.dumps(setting))
        yield process
    finally:
        process.communicate()


def ask(process: subprocess.Popen[str], line: str) -> float:
    """Send a line to the peer; the seconds that it answers."""
    assert process.stdin and process.stdout
    process.stdin.write(line + "\n")
    process.stdin.flush()
    answer = process.stdout.readline()
    if not answer:
        raise SystemExit("the process of stock mmsegmentation ended: see above")
    return float(answer)


def measure(images: int, rounds: int, folder: Path) -> tuple[dict[str, dict[str, Any]], float]:
    """Crops a second of every way, and the seconds that our decoding took once for each photograph."""
    import cv2
    import torch

    from mmseg.registry import DATASETS
    from mmseg.utils import register_all_modules
    from mmseg.utils.memory import keep_freed_memory

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    register_all_modules()
    keep_freed_memory()  # as training does
    config = read_config(images)
    source = dict(config.train_dataloader.dataset.dataset)
    size = config.train_dataloader.batch_size
    with tempfile.TemporaryDirectory() as temporary:
        write_index_maps(DATASETS.build(source), Path(temporary))
        start = time.perf_counter()
        config.train_dataloader.dataset = DATASETS.build(config.train_dataloader.dataset)
        decoding = (time.perf_counter() - start) / images
        ours = batches(config.train_dataloader, config.data_preprocessor)
        setting = dict(
            folder=temporary, image_size=config.image_size, crop_size=config.crop_size, batch_size=size,
            mean=config.data_preprocessor.mean, std=config.data_preprocessor.std,
        )
        times: dict[str, list[float]] = {way: [] for way in BATCHES}
        with stock(make_environment(folder), setting) as peer:
            for _ in range(rounds + 1):
                for way, count in BATCHES.items():
                    start = time.perf_counter()
                    seconds = ask(peer, f"{way} {count}") if way != "ours" else None
                    if seconds is None:
                        for _ in range(count):
                            next(ours)
                        seconds = time.perf_counter() - start
                    times[way].append(seconds / count / size)
    rows = {}
    for way, column in times.items():
        rows[way] = dict(seconds_per_crop=statistics.median(column[1:]), rounds=column[1:])  # the first one warms up
        rows[way]["crops_per_second"] = 1 / rows[way]["seconds_per_crop"]
        rows[way]["ratio"] = rows[way]["seconds_per_crop"] / rows["ours"]["seconds_per_crop"]
    return rows, decoding


def table(rows: dict[str, dict[str, Any]]) -> str:
    """Milliseconds a crop, crops a second, and how many times faster ours is."""
    lines = [f"{'way':<10}{'ms/crop':>10}{'least':>9}{'most':>9}{'crops/s':>10}{'ratio':>8}{'target':>8}"]
    for way, row in rows.items():
        cells = [row["seconds_per_crop"], min(row["rounds"]), max(row["rounds"])]
        times = "".join(f"{1000 * cell:>{width}.2f}" for cell, width in zip(cells, (10, 9, 9), strict=True))
        lines.append(f"{way:<10}{times}{row['crops_per_second']:>10.1f}{row['ratio']:>8.2f}{TARGETS.get(way, ''):>8}")
    return "\n".join(lines)


def main() -> None:
    """Measure in turns on one core; print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=24, help="use the first so many photographs")
    parser.add_argument("--rounds", type=int, default=8)
    default = Path(tempfile.gettempdir()) / f"stock_{PEER[0].replace('==', '-')}"
    parser.add_argument("--venv", type=Path, default=default, help=f"folder of the peer's environment (default: {default})")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers to this file too")
    args = parser.parse_args()
    make_environment(args.venv)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    rows, decoding = measure(args.images, args.rounds, args.venv)
    print(f"crops of 512x512 from {args.images} photographs, one core\n{table(rows)}")
    print(f"not counted: ours decoded each photograph once, in {1000 * decoding:.0f} ms")
    write_record(
        args.json, "pipeline.py", ("torch", "opencv-python", "onedl-mmcv"), peer=PEER[0], images=args.images,
        decoding_once_seconds_per_photograph=decoding, ways=rows)


if __name__ == "__main__":
    main()
