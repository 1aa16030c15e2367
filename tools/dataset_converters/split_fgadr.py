"""Write a split of FGADR as text files: python tools/dataset_converters/split_fgadr.py RELEASE --out DIR"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from _cli import UserError, exit_on_user_error


def main() -> None:
    parser = argparse.ArgumentParser(description="Draw train, valid and test from FGADR's image names, and write them as text.")
    parser.add_argument("release", help="Seg-set, or a folder above it")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for train.txt, valid.txt, test.txt")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="another seed, another split (default: %(default)s)")
    args = parser.parse_args()
    with exit_on_user_error():
        from mmseg.datasets.layouts import FGADR, find_records
        from mmseg.datasets.splits import draw_splits, write_splits

        records, _ = find_records(Path(args.release), "", FGADR)
        if not records:
            raise UserError(f"{args.release}: nothing to split: expected Seg-set of the official release, or a folder above it")
        splits = draw_splits([record["image_id"] for record in records], args.seed)
        origin = f"of {len(records)} of FGADR, seed {args.seed}, by image: the release tells no patient"
        paths = write_splits(args.out, splits, origin)
    print("\n".join(f"{len(found):5d} {path}" for found, path in zip(splits.values(), paths, strict=True)))


if __name__ == "__main__":
    main()
