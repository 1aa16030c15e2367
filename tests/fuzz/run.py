"""Try damaged input on every surface: python tests/fuzz/run.py --surface image --count 10000

It ends with one line a surface: inputs, how many were accepted and refused, the slowest, and, with --coverage, the lines reached.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
import warnings
from pathlib import Path

os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

__all__ = ["main"]


def main() -> None:
    """Parse, fuzz, report; exit code 1 where a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--surface", nargs="+", help="default: all")
    parser.add_argument("--count", type=int, default=1000, help="inputs a surface (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="another seed, other inputs")
    parser.add_argument("--coverage", action="store_true", help="measure the lines reached in the modules under test (slower)")
    args = parser.parse_args()
    measured = None
    if args.coverage:
        import coverage

        measured = coverage.Coverage(data_file=None, source_pkgs=["mmseg"])
        measured.start()

    from tests.fuzz import SURFACES, fuzz

    logging.disable(logging.ERROR)
    warnings.simplefilter("ignore")  # of libraries, about damaged files
    broken = 0
    for name in args.surface or SURFACES:
        with tempfile.TemporaryDirectory() as folder:
            surface = SURFACES[name](Path(folder))
            result = fuzz(surface, args.count, args.seed)
        outcomes = ", ".join(f"{count} {outcome}" for outcome, count in sorted(result.outcomes.items()))
        print(f"\n{name}: {result.tried} inputs ({outcomes}), slowest {result.slowest:.2f} s, {result.seconds:.0f} s", flush=True)
        for place, story in result.failures.items():
            print(f"BROKEN {name}: {place}\n{story}", flush=True)
        broken += len(result.failures)
        for module in surface.modules if measured else ():
            _, lines, _, missing, _ = measured.analysis2(sys.modules[module])
            print(f"    {module}: {len(lines) - len(missing)} of {len(lines)} lines; not {missing}", flush=True)
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
