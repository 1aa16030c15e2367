"""Test a trained model: python tools/test.py CONFIG CHECKPOINT"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from _cli import UserError, add_run_arguments, exit_on_user_error, hint, make_folder, prepare_config


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Score a trained model on the test images, at their own resolution.")
    parser.add_argument("config", help="the config the model was trained with")
    parser.add_argument("checkpoint", help="such as work_dirs/<config name>/latest.pth")
    add_run_arguments(parser)
    parser.add_argument("--out", metavar="DIR", help="where the results go (default: <work_dir>/test_<time>)")
    parser.add_argument("--show-dir", metavar="DIR", help="write an overlay of every image there, too")
    parser.add_argument("--tta", action="store_true", help="average over the image and its mirror images")
    parser.add_argument("--aug-test", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--eval", nargs="+", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.aug_test:
        hint("--aug-test", "--tta")
        args.tta = True
    if args.eval:
        hint("--eval " + " ".join(args.eval), "nothing: every metric of the config is always computed")
    return args


def main() -> None:
    args = parse_args()
    with exit_on_user_error():
        config = prepare_config(args, "model", "test_dataloader", "test_cfg", "test_evaluator")
        if not Path(args.checkpoint).is_file():
            raise UserError(f"{args.checkpoint}: no such checkpoint; tools/train.py writes latest.pth into its work_dir")
        out = Path(args.out or Path(config.work_dir, time.strftime("test_%Y%m%d_%H%M%S")))
        make_folder(out, "--out" if args.out else "--work-dir")
        config.load_from, config.resume = args.checkpoint, False
        evaluators = config.test_evaluator if isinstance(config.test_evaluator, list) else [config.test_evaluator]
        for evaluator in evaluators:
            if evaluator.type == "LesionMetric":
                evaluator.out_dir = str(out)
        config.merge_from_dict({"default_hooks.logger.interval": 5})
        if args.tta:
            config.model.setdefault("test_cfg", {})["flips"] = ["horizontal", "vertical", "diagonal"]
        if args.show_dir:
            make_folder(args.show_dir, "--show-dir")
            hooks = config.get("custom_hooks") or []
            config.custom_hooks = [*hooks, dict(type="OverlayHook", out_dir=args.show_dir)]

        from mmseg.apis import build_runner

        runner = build_runner(config)
        runner.test()
        if runner.rank == 0:
            print(f"metrics     {out / 'metrics.json'}\nper image   {out / 'per_image.csv'}")
            if args.show_dir:
                print(f"overlays    {args.show_dir}")


if __name__ == "__main__":
    main()
