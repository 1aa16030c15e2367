"""What `make demo` ends with: the network against one colour threshold, and where everything is.

    python benchmarks/demo_summary.py WORK_DIR

Reads ``test/metrics.json`` and ``test/colour_threshold.json``. Exit code 1 where the network does not visibly work: Dice below
0.5 (MA: 0.3), or below twice that of the colour threshold.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

__all__ = ["main", "summary"]

LEAST_DICE = {"MA": 0.3, "HE": 0.5, "EX": 0.5, "SE": 0.5}
LEAST_RATIO = 2.0


def summary(network: dict, colour: dict) -> tuple[str, list[str]]:
    """Set the two side by side.

    Args:
        network: of ``metrics.json``.
        colour: of ``colour_threshold.py --json``.

    Returns:
        a table, and one line for each lesion that misses what is asked.
    """
    lines = [f"{'lesion':<8}{'Dice':>8}{'one colour threshold':>24}{'ratio':>8}"]
    missed = []
    for lesion, least in LEAST_DICE.items():
        ours, theirs = network[lesion]["Dice"] or 0.0, colour[lesion]["dice"]
        lines.append(f"{lesion:<8}{ours:>8.3f}{theirs:>24.3f}{ours / max(theirs, 1e-9):>8.1f}")
        if ours < max(least, LEAST_RATIO * theirs):
            missed.append(f"{lesion}: got Dice {ours:.3f}, expected {least} and {LEAST_RATIO:g} x {theirs:.3f}")
    return "\n".join([*lines, f"{'mean':<8}{network['mean']['Dice']:>8.3f}"]), missed


def main() -> None:
    """Print the table and the paths."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work_dir", type=Path)
    folder = parser.parse_args().work_dir
    read = [json.loads((folder / "test" / name).read_text()) for name in ("metrics.json", "colour_threshold.json")]
    table, missed = summary(*read)
    print(f"\nSDC-Net+ on the synthetic test images\n\n{table}\n")
    for what, path in (
        ("checkpoint", folder / "latest.pth"),
        ("metrics", folder / "test" / "metrics.json"),
        ("curves", folder / "curves.png"),
        ("overlay", next((folder / "output_img").glob("*_overlay.png"), folder / "output_img")),
    ):
        print(f"{what:<12}{path}")
    if missed:
        print("\nthe network does not work as it should:\n  " + "\n  ".join(missed), file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
