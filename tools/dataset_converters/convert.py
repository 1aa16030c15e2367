"""Convert a data set: python tools/dataset_converters/convert.py {idrid,ddr,fgadr} RELEASE --to {tidy,mmseg,nnunet} --out DIR"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from _cli import exit_on_user_error

DATASETS = {"idrid": "IDRiDDataset", "ddr": "DDRDataset", "fgadr": "FGADRDataset"}


def main() -> None:
    parser = argparse.ArgumentParser(description="Convert a data set. Run the same command again to go on where it stopped.")
    parser.add_argument("dataset", choices=DATASETS)
    parser.add_argument("release", help="ZIP archive or folder, as it was downloaded or unzipped, or in the tidy layout")
    parser.add_argument("--to", required=True, choices=["tidy", "mmseg", "nnunet"],
                        help="images/ masks/; mmsegmentation's img_dir/ ann_dir/; or nnU-Net v2's raw data")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder to make; for nnU-Net such as Dataset501_IDRiD")
    parser.add_argument("--workers", type=int, default=2, metavar="N", help="photographs at a time (default: %(default)s)")
    parser.add_argument("--split-dir", metavar="DIR", help="FGADR: folder with train.txt, valid.txt, test.txt")
    parser.add_argument("--split-seed", type=int, metavar="S", help="FGADR: of the split that is drawn else (default: 0)")
    args = parser.parse_args()
    settings = {key: value for key in ("split_dir", "split_seed") if (value := getattr(args, key)) is not None}
    if settings and args.dataset != "fgadr":
        parser.error(f"--split-dir and --split-seed are for fgadr: the split of {args.dataset} is the official one")
    if args.workers < 1:
        parser.error(f"--workers: got {args.workers}, expected 1 or more")
    with exit_on_user_error():
        from mmseg import datasets
        from mmseg.datasets.converters import convert_dataset

        dataset = getattr(datasets, DATASETS[args.dataset])
        try:
            done = convert_dataset(dataset, args.release, args.out, args.to, args.workers, **settings)
        except KeyboardInterrupt:
            print(f"stopped; the same command goes on from here: {Path(args.out).absolute()}", file=sys.stderr)
            sys.exit(130)
    for problem in done.failed:
        print(f"error: {problem}", file=sys.stderr)
    counts = ", ".join(f"{count} {split}" for split, count in done.images.items())
    print(f"{counts} images: {done.written} files written and read back, {done.kept} were there already")
    if done.failed:
        print(f"{len(done.failed)} images could not be converted: mend or remove their files, then run the same command again")
    print(Path(args.out).absolute())
    sys.exit(1 if done.failed else 0)


if __name__ == "__main__":
    main()
