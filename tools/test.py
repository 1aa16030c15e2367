"""Test a trained model, or any program's output: python tools/test.py CONFIG CHECKPOINT | CONFIG --predictions DIR"""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from pathlib import Path

from _cli import (
    UserError,
    add_run_arguments,
    exit_on_user_error,
    hint,
    is_first_process,
    leave_processes,
    make_folder,
    prepare_config,
)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Score a trained model on the test images, at their own resolution.")
    parser.add_argument("config", help="the config the model was trained with")
    parser.add_argument("checkpoint", nargs="?", help="such as work_dirs/<config name>/latest.pth")
    parser.add_argument("--predictions", metavar="DIR", help="score files instead: <image>.npz or <LESION>/<image>.png")
    add_run_arguments(parser)
    parser.add_argument("--out", metavar="DIR", help="where the results go (default: <work_dir>/test_<time>)")
    parser.add_argument("--show-dir", metavar="DIR", help="write an overlay of every image there, too")
    parser.add_argument("--tta", action="store_true", help="average over the image and its mirror images")
    parser.add_argument("--aug-test", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--eval", nargs="+", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if (args.checkpoint is None) == (args.predictions is None):
        parser.error("expected a CHECKPOINT or --predictions DIR, one of both")
    if args.aug_test:
        hint("--aug-test", "--tta")
        args.tta = True
    if args.eval:
        hint("--eval " + " ".join(args.eval), "nothing: every metric of the config is always computed")
    return args


def tell(out: Path, start: float) -> None:
    """Where the results are that were written since; a metric of another kind than the field's writes none of them."""
    names = (("metrics", "metrics.json"), ("per image", "per_image.csv"), ("report", "report.html"))
    written = [(what, out / name) for what, name in names if (out / name).is_file() and (out / name).stat().st_mtime >= start]
    for what, path in written:
        print(f"{what:<12}{path}")
    if not written:
        print("scores      in the log above; files are written by LesionMetric (test_evaluator)")


def main() -> None:
    args = parse_args()
    start = time.time() - 2  # clocks of file systems are coarse
    with exit_on_user_error():
        config = prepare_config(args, "model", "test_dataloader", "test_cfg", "test_evaluator")
        if args.checkpoint and not Path(args.checkpoint).is_file():
            raise UserError(f"{args.checkpoint}: no such checkpoint; tools/train.py writes latest.pth into its work_dir")
        out = Path(args.out or Path(config.work_dir, time.strftime("test_%Y%m%d_%H%M%S")))
        if is_first_process(args.launcher):  # the others tell the time for themselves, and write nothing there
            make_folder(out, "--out" if args.out else "--work-dir")
        command = shlex.join(["python", *sys.argv])
        if args.predictions:
            wrong = [name for name in ("tta", "show_dir") if getattr(args, name)]
            if wrong or args.launcher != "none":
                raise UserError("--predictions: got an option for models (--tta, --show-dir, --launcher), expected none of them")
            from mmseg.apis import score_predictions

            score_predictions(config, args.predictions, out, command)
            tell(out, start)
            return
        from mmseg.apis import build_tester

        runner = build_tester(config, args.checkpoint, out, args.tta, args.show_dir, command)
        runner.test()
        first = runner.rank == 0
        del runner
        leave_processes()
        if first:
            tell(out, start)
            if args.show_dir:
                print(f"overlays    {args.show_dir}")


if __name__ == "__main__":
    main()
