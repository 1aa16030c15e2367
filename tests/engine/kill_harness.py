"""Kill a small training run at random moments, again and again, and see that nothing is lost but the steps since a checkpoint.

    python tests/engine/kill_harness.py --kills 100

Each cycle starts a run afresh, kills it (SIGKILL) at a random moment, and resumes it to the end in the same work_dir. Then:

- every checkpoint that stands in the work_dir is whole, and so it was before the resume;
- the resume began no earlier than the newest checkpoint whose writing was reported before the kill;
- the last checkpoint equals that of a run that was never killed, bit for bit.

Processes are forked from one that has imported everything, so that a cycle takes seconds. Half of the kills are aimed at
the writing of a checkpoint. Ends with code 1 where a cycle failed; its work_dir is kept.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import re
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(Path(__file__).parent)]

STEPS = 8


def make_config(data: Path, work_dir: Path, resume: bool) -> Any:
    """The demo's network at a few channels, on crops of 32, with a checkpoint after every step."""
    from conftest import NARROW

    from mmseg.engine import load_config

    config = load_config(ROOT / "configs/sdcnet/sdcnetplus_r18-d8_256x256_demo_synthetic.py", NARROW | {
        "train_dataloader.dataset.dataset.data_root": str(data),
        "train_dataloader.dataset.size": (72, 48),
        "train_dataloader.batch_size": 2,
        "test_dataloader.dataset.data_root": str(data),
        "data_preprocessor.train_transforms.0.crop_size": (32, 32),
        "optim_wrapper.dtype": "float32",
        "train_cfg.max_iters": STEPS,
        "param_scheduler.0.end": 2,
        "param_scheduler.1.begin": 2,
        "default_hooks.logger.interval": 1,
        "default_hooks.checkpoint.interval": 1,
        "default_hooks.checkpoint.max_keep_ckpts": 3,
        "custom_hooks": [dict(type="EMAHook", momentum=0.1)],
    })
    del config.default_hooks.curves
    config.work_dir, config.resume = str(work_dir), resume
    config.experiment_name = f"{work_dir.name}_{resume}"
    return config


def run(data: Path, work_dir: Path, resume: bool) -> None:
    """Train in this process, whose output goes to a file beside the work_dir."""
    output = os.open(work_dir.with_suffix(".txt"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    import torch

    from mmseg.apis import build_runner

    # The first call after a fork makes the pool of threads anew; two threads that decode must not do so at once.
    torch.set_num_threads(torch.get_num_threads())
    build_runner(make_config(data, work_dir, resume)).train()


def start(*arguments: Any) -> Any:
    process = multiprocessing.get_context("fork").Process(target=run, args=arguments)
    process.start()
    return process


def wait_until(moment: float, process: Any, work_dir: Path, aimed: bool) -> None:
    """A random moment of the training; or one at which the temporary file of a checkpoint exists."""
    time.sleep(moment)
    while aimed and process.is_alive() and not any(work_dir.glob(".*.pth.part")):
        time.sleep(0.0002)


def cycle(data: Path, work_dir: Path, whole: Path, generator: random.Random, duration: float) -> tuple[str, str]:
    """Kill and resume once; what happened, and what is wrong (empty where nothing is)."""
    from comparing import state_differences

    from mmseg.engine.checkpoint import read_checkpoint
    from mmseg.utils.errors import UserError

    process = start(data, work_dir, False)
    wait_until(generator.uniform(0, duration), process, work_dir, generator.random() < 0.5)
    writing = [path.name for path in work_dir.glob(".*.pth.part")]
    process.kill()
    process.join()
    if process.exitcode == 0:
        return "ended before the kill", ""
    output = work_dir.with_suffix(".txt")
    text = output.read_text() if output.exists() else ""
    reported = max(map(int, re.findall(r"checkpoint written: .*/iter_(\d+)\.pth", text)), default=0)
    what = "killed while writing" if writing else "killed between" if reported else "killed before the first checkpoint"
    try:
        for path in work_dir.glob("*.pth"):
            read_checkpoint(path)
    except UserError as error:
        return what, f"after the kill: {error}"
    process = start(data, work_dir, True)
    process.join()
    if process.exitcode != 0:
        return what, f"the resumed run ended with code {process.exitcode}"
    resumed = max(map(int, re.findall(r"resumed at iteration (\d+)", output.read_text())), default=0)
    if resumed < reported:
        return what, f"resumed at iteration {resumed}, though the checkpoint of {reported} was reported"
    if list(work_dir.glob(".*.pth.part")):
        return what, "temporary files are left"
    found = state_differences(work_dir / "latest.pth", whole / "latest.pth")
    return what, f"differs from the run that was not killed: {found[:3]}" if found else ""


def main(kills: int, seed: int, folder: Path) -> int:
    """Run the cycles; the number that failed."""
    import mmengine.runner.runner
    import torch
    import yapf.yapflib.yapf_api

    import mmseg.apis
    from mmseg.datasets.synthetic import make_dataset

    mmseg.apis.register_all_modules()
    yapf.yapflib.yapf_api.FormatCode = lambda text, **_: (text, False)  # as in conftest.py, half of such a run
    mmengine.runner.runner.collect_env = dict
    torch.set_num_threads(1)  # a forked process cannot use the threads of its parent
    data, whole = folder / "data", folder / "whole"
    make_dataset(data, 2, 1, (144, 96), 0, 1)
    began = time.monotonic()
    process = start(data, whole, False)
    process.join()
    duration = time.monotonic() - began
    if process.exitcode != 0:
        raise SystemExit(f"the run that is not killed ended with code {process.exitcode}: {whole.with_suffix('.txt')}")
    generator, counts, failed, done = random.Random(seed), Counter[str](), 0, 0
    while done < kills:
        work_dir = folder / f"cycle_{done + failed}_{counts['ended before the kill']}"
        what, wrong = cycle(data, work_dir, whole, generator, duration)
        counts[what] += 1
        done += what != "ended before the kill"
        if wrong:
            failed += 1
            print(f"{work_dir}: {what}; {wrong}", flush=True)
            continue
        shutil.rmtree(work_dir, ignore_errors=True)
        if done % 10 == 0:
            left = (time.monotonic() - began) / max(done, 1) * (kills - done)
            print(f"[{done}/{kills}] {failed} failed, {left:.0f} s left", flush=True)
    print(f"{done} kills, {failed} failed: {dict(counts)}; a whole run took {duration:.1f} s; folder {folder}")
    return failed


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Kill a small training run at random moments and resume it.")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="default: a new one in the system's temporary folder")
    arguments = parser.parse_args()
    place = arguments.folder or Path(tempfile.mkdtemp(prefix="kills_"))
    place.mkdir(parents=True, exist_ok=True)
    sys.exit(main(arguments.kills, arguments.seed, place) > 0)
