"""See what the network will see: python tools/browse_dataset.py CONFIG"""

from __future__ import annotations

import argparse
from pathlib import Path

from _cli import UserError, add_options, exit_on_user_error, home_path, options


def main() -> None:
    parser = argparse.ArgumentParser(description="Write training batches, after augmentation, as pictures with their masks.")
    parser.add_argument("config")
    parser.add_argument("--out-dir", metavar="DIR", help="default: $SDCNET_HOME/work_dirs/browse/<config name>")
    parser.add_argument("--number", type=int, default=16, help="pictures to write")
    add_options(parser)
    args = parser.parse_args()
    with exit_on_user_error():
        from mmseg.apis.browse import browse_dataset
        from mmseg.engine.config import load_config

        config = load_config(args.config, options(args.cfg_options))
        if args.number < 1:
            raise UserError(f"--number: got {args.number}, expected 1 or more")
        out_dir = args.out_dir or home_path("work_dirs", "browse", Path(args.config).stem)
        written = browse_dataset(config, out_dir, args.number)
    print(f"{len(written)} pictures in {out_dir}")


if __name__ == "__main__":
    main()
