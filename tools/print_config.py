"""Print a config as it is after merging: python tools/print_config.py CONFIG"""

from __future__ import annotations

import argparse

from _cli import exit_on_user_error, options


def main() -> None:
    parser = argparse.ArgumentParser(description="Print a config after its _base_ files and overrides are merged.")
    parser.add_argument("config")
    parser.add_argument("--cfg-options", nargs="+", metavar="KEY=VALUE", help="override config values")
    args = parser.parse_args()
    with exit_on_user_error():
        from mmseg.engine.config import load_config

        print(load_config(args.config, options(args.cfg_options)).pretty_text)


if __name__ == "__main__":
    main()
