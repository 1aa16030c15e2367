"""Make a synthetic fundus data set with masks of the four lesions, in IDRiD's tidy layout.

python tools/make_synthetic_dataset.py [--out DIR] [--train N] [--test N] [--size W H] [--seed S] [--workers N]
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from _cli import exit_on_user_error

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> None:
    """Make the data set, say how long it will take, and where it lies."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    out = Path("data/synthetic")
    parser.add_argument("--out", type=Path, default=out, metavar="DIR", help="folder to make (default: %(default)s)")
    parser.add_argument("--train", type=int, default=24, metavar="N", help="images in the train split (default: %(default)s)")
    parser.add_argument("--test", type=int, default=8, metavar="N", help="images in the test split (default: %(default)s)")
    parser.add_argument("--size", type=int, nargs=2, default=(1440, 960), metavar=("W", "H"), help="pixels (default: 1440 960)")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="another seed, another data set (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=2, metavar="N", help="threads (default: %(default)s)")
    options = parser.parse_args(arguments)

    began = time.monotonic()

    def progress(done: int, total: int) -> None:
        """Overwrite one line with what is done and how long the rest will take."""
        passed = time.monotonic() - began
        line = f"\r{done}/{total} images, {passed:.0f} s, {passed / done * (total - done):.0f} s to go  "
        print(line, end="\n" if done == total else "", file=sys.stderr, flush=True)

    with exit_on_user_error():
        from mmseg.datasets.synthetic import make_dataset

        size = (options.size[0], options.size[1])
        made = make_dataset(options.out, options.train, options.test, size, options.seed, options.workers, progress)
        print(f"{'wrote' if made else 'already complete, left alone:'} {options.out.absolute()}")


if __name__ == "__main__":
    main()
