"""Print a config as it is after merging: python tools/print_config.py CONFIG

One of mmsegmentation 0.x is translated; with --upgrade the new form is written, its _base_ files kept apart.
"""

from __future__ import annotations

import argparse

from _cli import UserError, add_options, exit_on_user_error, options


def main() -> None:
    parser = argparse.ArgumentParser(description="Print a config after its _base_ files and overrides are merged.")
    parser.add_argument("config")
    add_options(parser)
    parser.add_argument("--upgrade", nargs="?", const="upgraded", metavar="DIR",
                        help="write a config of mmsegmentation 0.x in the new form into DIR (default: upgraded)")
    args = parser.parse_args()
    with exit_on_user_error():
        if args.upgrade and args.cfg_options:
            raise UserError("--cfg-options: got it with --upgrade, expected one of the two: edit the new files instead")
        if args.upgrade:
            from mmseg.compat.upgrade_files import upgrade_files

            written, notes = upgrade_files(args.config, args.upgrade)
            print(notes, *(f"wrote {path}" for path in written), sep="\n")
            return
        from mmseg.engine.config import load_config

        config = load_config(args.config, options(args.cfg_options))
        try:
            print(config.pretty_text)
        except (SyntaxError, UnicodeEncodeError) as error:  # a key or a value that Python has no spelling for
            raise UserError(f"{args.config}: cannot be written as a config: {error}") from error


if __name__ == "__main__":
    main()
