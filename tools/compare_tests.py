"""Compare two tests of the same images: python tools/compare_tests.py work_dirs/a/test work_dirs/b/test"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from _cli import UserError, exit_on_user_error, make_folder


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="How much higher the second test scores, with 95 %% intervals.")
    parser.add_argument("first", help="folder that tools/test.py wrote (--out)")
    parser.add_argument("second", help="of another model, on the same images")
    parser.add_argument("--scores", nargs="+", metavar="SCORE", default=["AP", "Dice"], help="default: %(default)s")
    parser.add_argument("--samples", type=int, default=2000, help="how often images are drawn (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the draws (default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything there, too")
    return parser.parse_args()


def line(name: str, found: dict[str, Any] | None) -> str:
    if found is None:
        return f"{name:<14}{'n/a':>8}"
    scores = f"{name:<14}{100 * found['first']:>8.2f}{100 * found['second']:>9.2f}{100 * found['difference']:>+12.2f}"
    if found["interval"] is None:
        return f"{scores}   n/a: in one image only"
    low, high = found["interval"]
    return f"{scores}   {100 * low:>+7.2f} to {100 * high:>+7.2f}   {100 * found['better']:>6.1f} %"


def main() -> None:
    args = parse_args()
    with exit_on_user_error():
        from mmseg.evaluation import compare_tests
        from mmseg.utils.whole_files import holds_other_json

        if args.json:
            make_folder(args.json.parent, "--json")
            if args.json.is_dir():
                raise UserError(f"--json: got the folder {args.json}, expected a file")
            if holds_other_json(args.json, {"AP", "Dice"}):
                raise UserError(f"--json: {args.json}: is there and holds something else than a comparison; choose another file")
        found = compare_tests(args.first, args.second, args.samples, args.seed)
        if unknown := [score for score in args.scores if score not in found]:
            raise UserError(f"--scores: got {unknown[0]!r}, expected any of {', '.join(found)}")
        for score in args.scores:
            head = f"{'first':>8}{'second':>9}{'difference':>12}{'95 % of draws':>21}   second is better in"
            print(f"{score + ', percent':<14}{head}")
            print(*(line(name, of_it) for name, of_it in found[score].items()), sep="\n")
            if score in ("AP", "AUPR11") and found["Dice"]["mean"] and not found[score]["mean"]:
                print(f"{score} of masks, or of 8 bits, is not to be compared with that of probabilities: compare Dice")
            print()
        if args.json:
            args.json.write_text(json.dumps(found, indent=2) + "\n")
            print(f"written to {args.json}")


if __name__ == "__main__":
    main()
