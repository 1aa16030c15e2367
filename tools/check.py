"""Check a config, its data and this machine before a run: python tools/check.py CONFIG | --machine | --requirements"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from _cli import add_run_arguments, exit_on_user_error, prepare_config


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Tell everything that would spoil a run, one line each: config, every image and mask, disk, memory, devices.",
        epilog="Exit code: 0 clean, 1 warnings, 2 errors.",
    )
    parser.add_argument("config", nargs="?", help="such as configs/sdcnet/sdcnetplus_r18-d8_512x512_40k_IDRiD.py")
    add_run_arguments(parser)
    parser.add_argument("--quick", action="store_true", help="read no image that was not read before, and train no step")
    parser.add_argument("--json", metavar="FILE", help="write the findings there, too")
    parser.add_argument("--machine", action="store_true", help="look at this machine or container only, in seconds")
    parser.add_argument("--requirements", action="store_true", help="compare what is installed with requirements/ instead")
    args = parser.parse_args()
    if [args.config is not None, args.machine, args.requirements].count(True) != 1:
        parser.error("expected a CONFIG, --machine or --requirements, one of them")
    with exit_on_user_error():
        if args.requirements:
            from mmseg.utils.requirements import compare_requirements

            differences = compare_requirements(Path(__file__).resolve().parents[1] / "requirements")
            print(differences)
            sys.exit(differences.exit_code)
        from mmseg.engine.preflight import check_report_file, exit_code, machine_findings, preflight, report

        if args.json:
            check_report_file(args.json)
        if args.machine:
            from mmseg.utils.paths import home_path

            findings = list(machine_findings(args.work_dir or home_path("work_dirs")))
        else:
            config = prepare_config(args)

            from mmseg.apis import register_all_modules

            register_all_modules()
            findings = preflight(config, args.quick)
        print(report(findings, args.json))
    sys.exit(exit_code(findings))


if __name__ == "__main__":
    main()
