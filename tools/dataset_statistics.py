"""Mean and standard deviation of a config's training images: python tools/dataset_statistics.py CONFIG"""

from __future__ import annotations

import argparse

from _cli import add_options, exit_on_user_error, options


def main() -> None:
    parser = argparse.ArgumentParser(description="Print data_preprocessor's mean and std, from all training images of a config.")
    parser.add_argument("config", help="such as configs/sdcnet/sdcnetplus_r18-d8_512x512_40k_FGADR.py")
    add_options(parser)
    args = parser.parse_args()
    with exit_on_user_error():
        from mmseg.apis.statistics import training_statistics
        from mmseg.engine.config import load_config

        config = load_config(args.config, options(args.cfg_options))
        mean, std = training_statistics(config)
    print(f"    mean=[{', '.join(f'{v:.3f}' for v in mean)}],\n    std=[{', '.join(f'{v:.3f}' for v in std)}],")


if __name__ == "__main__":
    main()
