"""What the command-line tools share. Imports nothing heavy: ``--help`` must answer at once."""

from __future__ import annotations

import argparse
import gc
import io
import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run from a checkout without installing it

from mmseg.utils.errors import UserError, exit_on_user_error
from mmseg.utils.paths import home_path, make_folder
from mmseg.version import NOTICE

if isinstance(sys.stdout, io.TextIOWrapper):
    sys.stdout.reconfigure(errors="backslashreplace")  # a file name that cannot be shown stops no work

__all__ = [
    "NOTICE", "PART_FAILED", "UserError", "add_options", "add_run_arguments", "exit_on_user_error", "hint", "home_path",
    "is_first_process", "leave_processes", "local_processes", "make_folder", "options", "prepare_config", "thresholds",
    "work_dir",
]


PART_FAILED = 3
"""How the first of several processes tells the launcher that part of the work failed, which another attempt would not mend."""


_RANKS = {"pytorch": "RANK", "slurm": "SLURM_PROCID", "mpi": "OMPI_COMM_WORLD_RANK"}
"""Where a process finds which one it is, by what has started it."""

_LOCAL_RANKS = {"pytorch": "LOCAL_RANK", "slurm": "SLURM_LOCALID", "mpi": "OMPI_COMM_WORLD_LOCAL_RANK"}
"""And which one of its machine."""

_LOCAL_COUNTS = {"pytorch": "LOCAL_WORLD_SIZE", "slurm": "SLURM_NTASKS_PER_NODE", "mpi": "OMPI_COMM_WORLD_LOCAL_SIZE"}
"""And how many there are on its machine."""

_KINDS = (
    ("work_dir", str, "str"), ("load_from", (str, Path), "str"),
    *((key, dict, "a dictionary") for key in ("randomness", "default_hooks", "optim_wrapper", "model")),
    ("resume", bool, "True or False; a file is named by --resume FILE"),
)
"""Keys that the tools look at before the check of the configuration, and what they hold."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--cfg-options``, for :func:`options`."""
    parser.add_argument("--cfg-options", nargs="+", action="extend", metavar="KEY=VALUE",
                        help="override config values: a.b=1 a.0.c=[1,2]")


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what ``train.py`` and ``test.py`` have in common."""
    parser.add_argument("--work-dir", help="where logs and checkpoints go (default: $SDCNET_HOME/work_dirs/<config name>)")
    add_options(parser)
    parser.add_argument("--options", nargs="+", action="extend", metavar="KEY=VALUE", help=argparse.SUPPRESS)
    parser.add_argument("--launcher", choices=["none", "pytorch", "slurm", "mpi"], default="none", help="how processes start")
    parser.add_argument("--local-rank", "--local_rank", type=int, default=0, help=argparse.SUPPRESS)


def options(pairs: list[str] | None) -> dict[str, Any]:
    """Parse ``KEY=VALUE`` pairs by mmengine's rules: numbers, booleans, ``[lists]`` and ``(tuples)``.

    Raises:
        UserError: a pair without '=' or a value that cannot be read.
    """
    from mmengine.config import DictAction

    wrong = [pair for pair in pairs or [] if not re.match(r"\w+(\.\w+)*=", pair)]
    if wrong:
        raise UserError(f"--cfg-options: got {wrong[0]!r}, expected KEY=VALUE such as train_dataloader.batch_size=2")
    parser = argparse.ArgumentParser(prog="--cfg-options")
    parser.add_argument("--pairs", nargs="+", action=DictAction, default={})
    try:
        parsed = parser.parse_args(["--pairs", *pairs] if pairs else []).pairs
    except (ValueError, AssertionError, IndexError, RecursionError) as error:
        raise UserError(f"--cfg-options: {' '.join(pairs or [])!r:.200} cannot be read: {error}") from error
    for key, text in dict(pair.split("=", 1) for pair in pairs or []).items():  # of a key that is given twice the last
        if isinstance(parsed[key], str) and " " in text:  # which mmengine takes out, of paths, too
            parsed[key] = text.strip().strip("'\"")
    return parsed


def thresholds(text: str | None) -> float | dict[str, float] | None:
    """Parse ``0.4`` or ``MA=0.3,HE=0.5``."""
    try:
        if text is None or "=" not in text:
            return None if text is None else float(text)
        return {name.strip(): float(value) for name, value in (pair.split("=") for pair in text.split(","))}
    except ValueError:
        raise UserError(f"--threshold: got {text!r}, expected a number from 0 to 1 or LESION=NUMBER,LESION=NUMBER") from None


def leave_processes() -> None:
    """Say goodbye to the other processes of a run that has ended well; NCCL warns where nobody does.

    The caller must have let go of its runner: a model that gloo still serves keeps its threads, and one that frees a tensor while
    the interpreter ends aborts the process.
    """
    import torch.distributed

    if torch.distributed.is_available() and torch.distributed.is_initialized():
        gc.collect()
        torch.distributed.destroy_process_group()


def hint(old: str, new: str) -> None:
    """Accept an old spelling with one line that tells the new one."""
    print(f"note: {old} is the old spelling of {new}", file=sys.stderr)


def is_first_process(launcher: str) -> bool:
    """Whether this is the first process of a job, however it was started (torchrun, Slurm, MPI), or the only one.

    Args:
        launcher: of the command line; by 'none' every process is a run of its own, whatever a cluster has set.
    """
    return launcher == "none" or (os.environ.get(_RANKS[launcher]) or "0") == "0"


def local_processes(launcher: str) -> int:
    """How many processes of a job share this machine, as far as its launcher tells."""
    told = "" if launcher == "none" else os.environ.get(_LOCAL_COUNTS[launcher], "")
    return int(told) if told.isdecimal() else 1


def prepare_config(args: argparse.Namespace, *needs: str) -> Any:
    """The configuration with what the command line says of it: overrides, launcher, ``work_dir``; ``needs`` are its keys."""
    from mmseg.engine.config import load_config, require

    if args.options:
        hint("--options", "--cfg-options")
        args.cfg_options = [*args.options, *(args.cfg_options or [])]
    config = load_config(args.config, options(args.cfg_options), tell=is_first_process(args.launcher))
    require(config, *needs)
    for key, kind, right in _KINDS:
        if not isinstance(config.get(key), (kind, type(None))):
            raise UserError(f"{key}: got {config[key]!r} ({type(config[key]).__name__}), expected {right}")
    if args.launcher != "none" and _RANKS[args.launcher] not in os.environ:
        raise UserError(f"--launcher {args.launcher}: {_RANKS[args.launcher]} is not set, so that this process was not started "
                        "by it; use tools/dist_train.sh or tools/slurm_train.sh, which give the option themselves")
    config.launcher = args.launcher
    own = "" if args.launcher == "none" else os.environ.get(_LOCAL_RANKS[args.launcher], "")  # a job of one may lie in another's
    os.environ.setdefault("LOCAL_RANK", own or str(args.local_rank))
    if args.launcher == "slurm" and "MASTER_ADDR" not in os.environ and shutil.which("scontrol") is None:
        raise UserError("--launcher slurm: got neither MASTER_ADDR nor scontrol, which tells the first machine's name; expected "
                        "one, in a container, too: before srun, export "
                        'MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)')
    config.work_dir = work_dir(args.work_dir, config, args.config)
    return config


def work_dir(named: str | None, config: Any, path: str) -> str:
    """The folder of a run: the one named, else the configuration's, else one named after the configuration's file."""
    return named or config.get("work_dir") or str(home_path("work_dirs", Path(path).stem))
