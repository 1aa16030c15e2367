"""Where a training step spends its time: data, forward, backward and optimiser apart.

Runs the configuration as tools/train.py would, with its own data set, in a process of its own for each way:

    default   as the configuration says
    torch     the same, with torch's own gradients of convolutions: another on a CPU with AVX2 and nothing wider
    float32   the same code in float32 and contiguous memory order (on a GPU convolutions are in TF32, as torch has them)
    plain     float32, contiguous, and as the equations read: doubled images are convolved as such, losses are made of torch's
              own functions, so are all convolutions, and the C library gives freed memory back

    IDRID_ROOT=... python benchmarks/train_step.py [CONFIG] [--steps 8] [--json FILE] [--cfg-options KEY=VALUE ...]

On a CPU nothing else may run: a second busy process makes two threads several times slower. Times are medians.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tools"), str(ROOT / "benchmarks")]

from _record import write_record  # noqa: E402

MAIN_CONFIG = "configs/sdcnet/sdcnetplus_r18-d8_512x512_40k_IDRiD.py"
PARTS = ("data", "forward", "backward", "optimiser")
WAYS = ("default", "torch", "float32", "plain")


def measure(config_path: str, options: dict[str, Any], way: str, steps: int) -> dict[str, Any]:
    """Median seconds of each part of a step, images a second and peak memory, in this process.

    Args:
        config_path: of a whole configuration.
        options: overrides by dotted key.
        way: one of :data:`WAYS`.
        steps: how many are timed, after two that are not.
    """
    import torch
    from mmengine.logging import MMLogger
    from torch.utils.flop_counter import FlopCounterMode

    from mmseg.apis import build_runner
    from mmseg.engine.config import load_config
    from mmseg.utils.device import reset_peak_memory

    config = load_config(config_path, options)
    config.work_dir = tempfile.mkdtemp()
    config.default_hooks = dict(logger=None, checkpoint=None)
    shipped = way in ("default", "torch")
    if not shipped:
        config.optim_wrapper.update(type="OptimWrapper")
        config.optim_wrapper.pop("dtype", None)
    if way in ("torch", "plain"):
        take_torchs_gradients()
    if way == "plain":
        take_care_away()
    runner = build_runner(config)
    MMLogger.get_current_instance().setLevel("ERROR")
    loop = runner.train_loop
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    runner._init_model_weights()
    runner._maybe_compile("train_step")
    if config.get("compile") and not runner.compiled:
        raise SystemExit("error: the network could not be compiled (is there a C compiler?), and would be measured as it is")
    model, wrapper, batches = runner.model, runner.optim_wrapper, iter(loop.dataloader_iterator)
    model.train().to(memory_format=torch.channels_last if shipped else torch.contiguous_format)
    device = next(model.parameters()).device

    def now() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    def one_step(step: int) -> list[float]:
        start = now()
        model.data_preprocessor.iteration = step
        data = model.data_preprocessor(next(batches), True)
        if not shipped:
            data["inputs"] = data["inputs"].contiguous()
        have_data = now()
        with wrapper.optim_context(model):
            losses = model(**data, mode="loss")
            loss = model.parse_losses(losses)[0]
        have_loss = now()
        loss.backward()
        have_gradient = now()
        wrapper.step()
        wrapper.zero_grad()
        return [have_data - start, have_loss - have_data, have_gradient - have_loss, now() - have_gradient]

    for step in range(2):
        one_step(step)
    reset_peak_memory(device)  # cuDNN has tried its ways by now
    times = [one_step(step + 2) for step in range(steps)]
    on_gpu = device.type == "cuda"
    peak = torch.cuda.max_memory_allocated() if on_gpu else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    with FlopCounterMode(display=False) as counter:  # last: under it nothing would be compiled
        one_step(steps + 2)
    medians = {part: statistics.median(column) for part, column in zip(PARTS, zip(*times, strict=True), strict=True)}
    total = statistics.median(sum(row) for row in times)
    limit = counter.get_total_flops() / 2 / matrix_rate(device, half=shipped and wrapper.computes_in(device.type) == "bfloat16")
    return dict(
        seconds=medians, step=total, images_per_second=config.train_dataloader.batch_size / total,
        data_share=medians["data"] / total, macs=counter.get_total_flops() / 2, limit=limit,
        peak_memory_GiB=peak / 2**30, device=torch.cuda.get_device_name() if on_gpu else "cpu", threads=torch.get_num_threads(),
        tf32=on_gpu and torch.backends.cudnn.allow_tf32,
    )


def matrix_rate(device: Any, half: bool) -> float:
    """Products a second that the device reaches on two square matrices: the limit of every convolution.

    Args:
        device: where.
        half: in bfloat16 where the device computes in it itself, else in float32.
    """
    import torch

    from mmseg.utils.device import has_native_bfloat16

    dtype = torch.bfloat16 if half and has_native_bfloat16(device.type) else torch.float32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32  # as the convolutions that are held against it
    side = 2048 if device.type == "cpu" else 8192
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    times = []
    for _ in range(5):
        start = time.perf_counter()
        (a @ b)[0, 0].item()
        times.append(time.perf_counter() - start)
    return side**3 / min(times)


def take_torchs_gradients() -> None:
    """Let every convolution compute its gradients in the memory order that it is in."""
    import mmseg.models.layers.convolution

    mmseg.models.layers.convolution.prefers_planar_weight_gradients = lambda: False


def take_care_away() -> None:
    """Put what the equations say in the place of what computes the same faster."""
    import torch.nn.functional as F

    import mmseg.engine.runner
    import mmseg.models.layers.sr_decoder
    import mmseg.models.losses.cross_entropy_loss
    import mmseg.models.losses.lesion_dice_loss
    from mmseg.models.losses.soft_counts import SoftCounts

    def plain_counts(seg_logit: Any, label: Any, ignore_index: int) -> SoftCounts:
        valid, t, p = (label != ignore_index).float(), (label == 1).float(), seg_logit.sigmoid()
        entropy = F.binary_cross_entropy_with_logits(seg_logit, t, reduction="none") * valid
        terms = (entropy * t, entropy * (1 - t), p * t, p * valid, t, valid)
        return SoftCounts(*(term.sum((2, 3)) for term in terms))

    mmseg.engine.runner.keep_freed_memory = lambda: False
    mmseg.models.layers.sr_decoder.conv_of_doubled = lambda x, conv: conv(F.interpolate(x, scale_factor=2, mode="nearest"))
    mmseg.models.losses.cross_entropy_loss.soft_counts = plain_counts
    mmseg.models.losses.lesion_dice_loss.soft_counts = plain_counts


def table(rows: dict[str, dict[str, Any]]) -> str:
    """Milliseconds by part, the share of the step that its products alone would take, and how much faster than the last way."""
    head = "".join(f"{part:>11}" for part in (*PARTS, "step"))
    lines = [f"{'ms':<10}{head}{'images/s':>10}{'data %':>8}{'limit %':>9}{'GiB':>7}{'ratio':>7}"]
    for way, row in rows.items():
        cells = [*row["seconds"].values(), row["step"]]
        ratio = list(rows.values())[-1]["step"] / row["step"]
        rates = f"{row['images_per_second']:>10.2f}{100 * row['data_share']:>8.2f}{100 * row['limit'] / row['step']:>9.0f}"
        rates += f"{row['peak_memory_GiB']:>7.2f}{ratio:>7.2f}"
        lines.append(f"{way:<10}" + "".join(f"{1000 * s:>11.1f}" for s in cells) + rates)
    return "\n".join(lines)


def main() -> None:
    """Run every way in a process of its own; print the table."""
    from _cli import options as parse_options

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", nargs="?", default=str(ROOT / MAIN_CONFIG))
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers to this file too")
    parser.add_argument("--cfg-options", nargs="+", action="extend", metavar="KEY=VALUE")
    parser.add_argument("--inside", choices=WAYS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.inside:
        found = measure(args.config, parse_options(args.cfg_options), args.inside, args.steps)
        print("\n" + json.dumps(found))
        return
    rows = {}
    for way in args.ways:
        output = subprocess.run([sys.executable, __file__, *sys.argv[1:], "--inside", way], stdout=subprocess.PIPE, check=True)
        rows[way] = json.loads(output.stdout.decode().splitlines()[-1])
    print(f"{Path(args.config).stem}, {rows[args.ways[0]]['device']}, {rows[args.ways[0]]['threads']} threads\n{table(rows)}")
    write_record(args.json, "train_step.py", ("torch",), config=Path(args.config).stem, ways=rows)


if __name__ == "__main__":
    main()
