"""Make a checkpoint ready to be given to others: python tools/publish_model.py CHECKPOINT TARGET.pth"""

from __future__ import annotations

import argparse

from _cli import exit_on_user_error, thresholds


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Write the weights of a checkpoint, without optimiser and without your paths.")
    parser.add_argument("checkpoint", help="such as work_dirs/<config name>/latest.pth")
    parser.add_argument("target", help="such as weights/name.pth; eight digits of its SHA-256 are put behind the name")
    parser.add_argument("--half", action="store_true", help="convolution kernels in float16: half the size")
    parser.add_argument("--threshold", metavar="T|MA=T,HE=T,...", help="0 to 1, stored in the file (default: the checkpoint's)")
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    with exit_on_user_error():
        from mmseg.engine.publishing import publish_checkpoint

        path, changes = publish_checkpoint(args.checkpoint, args.target, args.half, thresholds(args.threshold))
    print(*changes, f"{path}  {path.stat().st_size / 1e6:.1f} MB", sep="\n")


if __name__ == "__main__":
    main()
