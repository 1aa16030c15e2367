"""Segment photographs: python tools/inference.py fundus.jpg --checkpoint latest.pth"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from _cli import NOTICE, PART_FAILED, UserError, exit_on_user_error, home_path, thresholds


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Find lesions in a photograph, a folder of photographs, or a glob.")
    parser.add_argument("inputs", nargs="*", metavar="INPUT", help="default: $SDCNET_HOME/input_img/test.jpg")
    parser.add_argument("--checkpoint", metavar="FILE", help="default: $SDCNET_HOME/model/latest.pth")
    parser.add_argument("--config", metavar="FILE", help="default: the config inside the checkpoint")
    parser.add_argument("--out-dir", metavar="DIR", help="default: $SDCNET_HOME/output_img")
    parser.add_argument("--device", help="cpu, cuda:0, ... (default: a GPU where there is one)")
    parser.add_argument("--save-probabilities", action="store_true", help="write <name>.npz, float32 (4, H, W), too")
    parser.add_argument("--no-overlay", action="store_true", help="leave out <name>_overlay.png, nearly all of the disk")
    parser.add_argument("--threshold", metavar="T|MA=T,HE=T,...", help="0 to 1 (default: those in the checkpoint)")
    parser.add_argument("--batch-size", type=int, default=1, help="photographs that go through the network together")
    parser.add_argument("--overwrite", action="store_true", help="segment also what the same checkpoint and options have done")
    parser.add_argument("--launcher", choices=["none", "pytorch"], default="none", help="set by tools/dist_inference.sh")
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    with exit_on_user_error():
        from mmseg.apis.inputs import find_inputs, output_names

        files = find_inputs(args.inputs or [str(home_path("input_img", "test.jpg"))])
        if args.batch_size < 1:
            raise UserError(f"--batch-size: got {args.batch_size}, expected 1 or more")
        from mmseg.apis import LesionInferencer
        from mmseg.apis.folders import segment_files
        from mmseg.apis.results import TABLE, write_table
        from mmseg.apis.sharing import Share

        launched = args.launcher != "none"
        share = Share.of_torchrun() if launched else Share()
        files = share.agree_on(files)
        inferencer = LesionInferencer(
            args.checkpoint or home_path("model", "latest.pth"), args.config, args.device or share.device,
            thresholds(args.threshold),
            dtype="float32" if args.save_probabilities else "auto",  # what is scored is computed as test.py does
        )
        out_dir = args.out_dir or home_path("output_img")
        outcome = share.add_up(segment_files(
            inferencer, files, out_dir, args.save_probabilities, args.batch_size, args.overwrite, (share.rank, share.world),
            overlay=not args.no_overlay,
        ))
        table = None
        if share.rank == 0 and (len(files) > 1 or Path(out_dir, TABLE).exists()):
            names, failed = output_names(files), set(outcome.failed)
            table = write_table(out_dir, names, [name for file, name in zip(files, names, strict=True) if str(file) in failed])
            if table is None:
                print(f"note: {Path(out_dir, TABLE)}: is no table of this program any more, as when a spreadsheet has saved it, "
                      "and was left as it is; move it away, and the same command writes it anew", file=sys.stderr)
    if share.rank > 0:
        return
    if outcome.failed and (launched or len(files) > 10):  # where they have scrolled away
        print("\n  ".join(["these could not be read:", *outcome.failed]), file=sys.stderr)
    before = f", {outcome.kept} of them before" if outcome.kept else ""
    print(f"{outcome.segmented + outcome.kept} of {len(files)} photographs segmented{before}; results in {out_dir}"
          + (f", numbers of all in {table}" if table else "") + f" ({NOTICE})")
    sys.exit((PART_FAILED if launched else 1) if outcome.failed else 0)


if __name__ == "__main__":
    main()
