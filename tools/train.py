"""Train a model: python tools/train.py CONFIG"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from _cli import (
    UserError,
    add_run_arguments,
    exit_on_user_error,
    hint,
    is_first_process,
    leave_processes,
    local_processes,
    options,
    prepare_config,
)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Train a model. A GPU is used where there is one.")
    parser.add_argument("config", help="such as configs/sdcnet/sdcnetplus_r18-d8_512x512_40k_IDRiD.py")
    add_run_arguments(parser)
    parser.add_argument("--resume", nargs="?", const="auto", metavar="CKPT", help="go on from CKPT, or the work_dir's latest")
    parser.add_argument("--load-from", metavar="CKPT", help="start from the weights of a checkpoint")
    parser.add_argument("--overwrite", action="store_true", help="start afresh where an earlier run is, and remove it")
    parser.add_argument("--amp", action="store_true", help="mixed precision (bfloat16), on a GPU or a CPU")
    parser.add_argument("--seed", type=int, help="of weights, order and augmentation (default: the config's, 0)")
    parser.add_argument("--deterministic", action="store_true", help="ask the GPU for repeatable results, at some cost")
    parser.add_argument("--no-validate", action="store_true", help="skip validation while training")
    parser.add_argument("--no-check", action="store_true", help="start without the checks of tools/check.py")
    parser.add_argument("--resume-from", metavar="CKPT", help=argparse.SUPPRESS)
    parser.add_argument("--auto-resume", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.resume_from:
        hint("--resume-from CKPT", "--resume CKPT")
        args.resume = args.resume_from
    if args.auto_resume:
        hint("--auto-resume", "--resume")
        args.resume = args.resume or "auto"
    return args


def check(config: Any, processes: int) -> None:
    """Raise a UserError with everything that is wrong, and show the warnings; of so many processes on this machine."""
    from mmseg.apis import register_all_modules
    from mmseg.engine.preflight import check_start

    register_all_modules()
    for finding in check_start(config, processes):
        print(f"warning: {finding}", file=sys.stderr)


def earlier_run(config: Any) -> list[Path]:
    """Checkpoints in the work_dir that the run would replace, since it does not go on from them.

    Args:
        config: with ``work_dir``, ``resume``, ``load_from`` (which may be a checkpoint of another work_dir).
    """
    from mmseg.engine.work_dir import checkpoints

    start = config.load_from and Path(config.load_from).resolve().parent
    goes_on = config.resume and start in (None, Path(config.work_dir).resolve())
    return [] if goes_on else checkpoints(config.work_dir)


def take_over(args: argparse.Namespace, config: Any) -> None:
    """Put what the command line says of this training into the configuration, but for ``--cfg-options``, which are in it."""
    if args.amp:
        config.optim_wrapper.update(type="AutocastOptimWrapper", dtype="bfloat16")
    if args.no_validate:
        config.val_cfg = config.val_dataloader = config.val_evaluator = None
        if isinstance((config.get("default_hooks") or {}).get("checkpoint"), dict):
            config.default_hooks.checkpoint.save_best = None
    if args.resume not in (None, "auto") and args.load_from:
        raise UserError("got --resume CKPT and --load-from CKPT, expected one of them: a resumed run has its own weights")
    asked = config.get("resume", False)
    config.resume = args.resume is not None or asked
    start = args.load_from or config.get("load_from")
    if args.resume == "auto" and start:  # a fine-tuning run: go on where it stopped, or begin as the config says
        from mmseg.engine.resuming import resume_candidates

        found = bool(resume_candidates(config.work_dir))
        config.resume, start = found or asked, None if found else start
    config.load_from = args.resume if args.resume not in (None, "auto") else start
    config.randomness = {
        **(config.get("randomness") or {}), **({} if args.seed is None else {"seed": args.seed}),
        **({"deterministic": True} if args.deterministic else {}),
    }
    if config.randomness.get("deterministic"):
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it some versions of torch refuse to multiply


def weight_files(args: argparse.Namespace, config: Any) -> list[str]:
    """Files that the training is told to begin with, on the command line or by ``load_from``; a UserError where one is missing.

    Weights that the config itself names for a backbone may be absent: training then begins from scratch, and says so.
    """
    named = [v for k, v in options(args.cfg_options).items() if k.endswith("init_cfg.checkpoint")]
    files = [path for path in (*named, config.load_from) if path]
    for path in files:
        if not Path(path).is_file():
            if path in (*named, args.resume, args.load_from):
                raise UserError(f"{path}: no such file, though it was named on the command line")
            raise UserError(f"{path}: no such file, though load_from of the config names it")
    return files


def refuse_to_replace(config: Any, earlier: list[Path], files: list[str], overwrite: bool) -> None:
    """Raise a UserError where checkpoints of an earlier run would be lost unasked, or one of them is to be read."""
    if earlier and not overwrite:
        raise UserError(
            f"{config.work_dir}: holds checkpoints of an earlier run ({earlier[0].name}), which this one would replace; "
            "go on by --resume, name another --work-dir, or start afresh by --overwrite"
        )
    removed = [old.resolve() for old in earlier]
    for path in files:
        if Path(path).resolve() in removed:
            raise UserError(f"{path}: is to be loaded, and would be removed by --overwrite; name another --work-dir")


def train(config: Any, replaces: bool) -> None:
    """Train, leave the other processes in peace, and say where everything is."""
    from mmseg.apis import build_runner
    from mmseg.engine.hooks import ReplaceRunHook
    from mmseg.engine.work_dir import CURVES, LATEST

    runner = build_runner(config)
    if replaces:
        runner.register_hook(ReplaceRunHook())
    stopped = None
    try:
        runner.train()
    except SystemExit as stop:  # by a signal, of which all processes know
        stopped = stop.code
    first, work_dir, log_dir = runner.rank == 0, Path(runner.work_dir), runner.log_dir
    del runner
    leave_processes()
    if stopped is not None:
        sys.exit(stopped)
    if first:
        drawn = f"curves      {work_dir / CURVES}\n" if (work_dir / CURVES).is_file() else ""
        print(f"\ncheckpoint  {work_dir / LATEST}\n{drawn}log         {log_dir}")


def main() -> None:
    args = parse_args()
    with exit_on_user_error():
        config = prepare_config(args, "model", "train_dataloader", "train_cfg", "optim_wrapper")
        take_over(args, config)
        files = weight_files(args, config)
        first = is_first_process(args.launcher)
        earlier = earlier_run(config) if first else []
        refuse_to_replace(config, earlier, files, args.overwrite)
        if first and not args.no_check:
            check(config, local_processes(args.launcher))
        train(config, replaces=bool(earlier))


if __name__ == "__main__":
    main()
