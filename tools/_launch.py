"""Run a tool as several processes, on one machine or several: what dist_train.sh, dist_test.sh and dist_inference.sh call.

torchrun starts and watches the processes. What it lacks is here: it obeys ``nohup``; its errors are messages; a restart
resumes what this launch has written, never an older run; a user's mistake is not tried again. docs/scale.md says the rest.
"""

from __future__ import annotations

import argparse
import logging
import os
import re
import signal
import socket
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from _cli import PART_FAILED, UserError, exit_on_user_error, home_path, make_folder, work_dir

POSITIONAL = {"train": ("CONFIG",), "test": ("CONFIG", "CHECKPOINT"), "inference": ("FOLDER", "CHECKPOINT")}
TOOLS = Path(__file__).resolve().parent
NOTICED = 660
"""Seconds after which every machine has noticed that a process died on another: the network's own timeout, and the end of what is
left there."""

GRACE = 20
"""Seconds within which what the launcher ends, after the first process has failed, does not end by SIGKILL: it waits 30."""

BEGAN = "DIST_LAUNCH_BEGAN"
"""Environment variable that carries a launch over its restarts: how often it restarted, and latest.pth as it was before."""


@dataclass
class Job:
    """What the user typed.

    Attributes:
        tool: 'train', 'test' or 'inference'.
        positional: its arguments before the number of processes.
        processes: on this machine.
        rest: arguments after it, those of the launcher taken out.
        max_restarts: how often to start again after a failure.
        timeout: seconds that machines wait for each other at the start.
        restarts: how often this launch has started again.
        folder: where the logs go: the work_dir, or where inference writes.
    """

    tool: str
    positional: list[str]
    processes: int
    rest: list[str]
    max_restarts: int
    timeout: int
    restarts: int = 0
    folder: Path = field(default_factory=Path)


def parse(tool: str, arguments: list[str]) -> Job:
    """Read the command line of a ``dist_*.sh``.

    Raises:
        UserError: no number of processes where it belongs, or an option of the launcher has no number.
    """
    names = POSITIONAL[tool]
    at = len(names)
    if len(arguments) <= at or not arguments[at].isdecimal() or arguments[at].startswith("0"):
        raise UserError(f"got '{' '.join(arguments)}', expected: dist_{tool}.sh {' '.join(names)} GPUS [arguments]")
    own = argparse.ArgumentParser(prog=f"dist_{tool}.sh", allow_abbrev=False, add_help=False)
    own.add_argument("--max-restarts", type=int, default=0)
    own.add_argument("--rendezvous-timeout", type=int, default=600)
    mine, rest = own.parse_known_args(arguments[at + 1 :])
    if mine.max_restarts < 0 or mine.rendezvous_timeout < 1:
        raise UserError("--max-restarts: expected 0 or more, and --rendezvous-timeout: 1 second or more")
    job = Job(tool, arguments[:at], int(arguments[at]), rest, mine.max_restarts, mine.rendezvous_timeout)
    job.folder = result_folder(job)
    return job


def result_folder(job: Job) -> Path:
    """The folder that the tool will write to."""
    from mmengine.config import Config

    seen = argparse.ArgumentParser(allow_abbrev=False, add_help=False)
    seen.add_argument("--work-dir")
    seen.add_argument("--out-dir")
    named = seen.parse_known_args(job.rest)[0]
    if job.tool == "inference":
        return Path(named.out_dir or home_path("output_img"))
    try:
        config = Config.fromfile(job.positional[0])
    except Exception:  # the tool itself tells what is wrong with it
        config = Config()
    overrides = [word.removeprefix("work_dir=") for word in job.rest if word.startswith("work_dir=")]
    return Path(work_dir(named.work_dir or (overrides[-1] if overrides else None), config, job.positional[0]))


def number(environment: Mapping[str, str], name: str, default: int, least: int, most: int) -> int:
    """An environment variable as a number; an empty one counts as unset.

    Raises:
        UserError: it is none, or too small or large.
    """
    text = environment.get(name) or str(default)
    if not text.isdecimal() or not least <= int(text) <= most:
        raise UserError(f"{name}: got {text!r}, expected a number from {least} to {most}")
    return int(text)


def meeting_place(job: Job, environment: Mapping[str, str]) -> tuple[list[str], str]:
    """torchrun's arguments that say where the processes meet, and the place in words (empty on one machine).

    Raises:
        UserError: a variable is wrong or missing, or the port is taken.
    """
    machines = number(environment, "NNODES", 1, 1, 2**16)
    if machines == 1 and not environment.get("PORT"):
        return ["--standalone", "--local-addr", "localhost"], ""
    rank = number(environment, "NODE_RANK", 0, 0, machines - 1)
    port = number(environment, "PORT", 29500, 1, 2**16 - 1)
    address = environment.get("MASTER_ADDR") or ("127.0.0.1" if machines == 1 else "")
    if not address:
        raise UserError(
            f"MASTER_ADDR: got nothing with NNODES={machines}, expected the address of the machine with NODE_RANK=0, "
            "the same on all machines"
        )
    if rank == 0:
        with socket.socket() as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                trial.bind(("", port))
                trial.listen()
            except OSError as error:
                raise port_taken(port, error.strerror) from None
    where = ["--nnodes", str(machines), "--node-rank", str(rank), "--master-addr", address, "--master-port", str(port)]
    # A machine that starts again may find the store of the attempt before, which it must neither read nor give up for.
    waits = job.timeout + (NOTICED if job.restarts else 0)
    where += ["--rdzv-id", str(job.restarts), "--rdzv-conf", f"timeout={waits}"]
    return where, f"machine {rank} of {machines}, meeting at {address}:{port}"


def port_taken(port: int, reason: str) -> UserError:
    return UserError(
        f"PORT: {port} cannot be used here ({reason}); is another run going on? Choose another by PORT=NUMBER, the same on all "
        "machines"
    )


def torchrun_arguments(job: Job, where: list[str], logs: Path) -> list[str]:
    """torchrun's whole command line: every process has its log, the first one of a machine is on the console, too."""
    options = list(job.positional)
    # A training of one process has nobody to exchange gradients with, and may replay its steps (cuda_graph).
    launcher = "none" if job.tool == "train" and job.processes == 1 and "--standalone" in where else "pytorch"
    if job.tool == "inference":
        options.insert(1, "--checkpoint")
    return [
        *where, "--nproc-per-node", str(job.processes), "--log-dir", str(logs), "--redirects", "3", "--tee", "0:3", "--role", "",
        str(TOOLS / f"{job.tool}.py"), *options, "--launcher", launcher, *job.rest,
    ]


def run(job: Job, place: str, arguments: list[str]) -> int:
    """Start the processes and wait for them; tells what failed.

    Returns:
        0; 2 where the user must mend something; ``PART_FAILED``; 128 + signal where a signal stopped it; else 1.
    """
    os.environ["TORCHELASTIC_LOG_LINE_PREFIX_TEMPLATE"] = "${role_name}"  # and --role "": lines as they were written
    import torch
    from torch.distributed import run as torchrun
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.elastic.rendezvous import RendezvousError

    logging.disable(logging.CRITICAL)
    give_up = time.monotonic() + (NOTICED if job.restarts else 0)
    try:
        while True:
            try:
                torchrun.run(torchrun.parse_args(arguments))
                break
            except torch.distributed.DistError:  # the first machine's launcher of the attempt before has only now ended
                if time.monotonic() > give_up:
                    raise
                time.sleep(1)
    except ChildFailedError as error:
        code, lines = verdict(error.failures, Path(arguments[arguments.index("--log-dir") + 1]))
        if lines:
            print("\n  ".join([f"error: {job.tool} failed{f' ({place})' if place else ''}:", *lines]), file=sys.stderr)
        return code
    except SignalException as error:
        again = "begins again" if "--overwrite" in job.rest else "goes on"
        advice = {"train": "; go on by --resume", "inference": f"; the same command {again}", "test": ""}[job.tool]
        print(f"stopped by {error.sigval.name}{advice}", file=sys.stderr)
        return 128 + error.sigval
    except (torch.distributed.DistError, RendezvousError) as error:
        if "EADDRINUSE" in str(error):
            raise port_taken(number(os.environ, "PORT", 29500, 1, 2**16 - 1), "taken") from error
        raise UserError(
            f"the machines did not meet within {job.timeout} s ({place or 'one machine'}): "
            f"{str(error).splitlines()[0].rstrip('.')}. See that each was started, with the same NNODES, MASTER_ADDR and PORT "
            "and a NODE_RANK of its own, and that no firewall is between them; --rendezvous-timeout SECONDS waits longer"
        ) from error
    return 0


def verdict(failures: Mapping[int, Any], logs: Path) -> tuple[int, list[str]]:
    """An exit code for how processes ended, and a line for each that the console has not told of.

    Args:
        failures: torchrun's, by rank: ``exitcode`` (negative for a signal), ``local_rank`` and ``timestamp``, in seconds.
        logs: the folder of this launch's logs.
    """
    first = min((failure.timestamp for failure in failures.values()), default=0)
    failures = {rank: f for rank, f in failures.items() if f.exitcode != -signal.SIGKILL or f.timestamp < first + GRACE}
    codes = {failure.exitcode for failure in failures.values()}
    if PART_FAILED in codes:
        return PART_FAILED, []
    stopped = codes & {128 + signal.SIGHUP, 128 + signal.SIGINT, 128 + signal.SIGTERM}
    if 2 in codes:
        # The first process may have said it and been ended by torchrun before it could end by itself.
        told = any(f.local_rank == 0 and (f.exitcode == 2 or says_mistake(logs)) for f in failures.values())
        return 2, [] if told else [describe(rank, f, logs) for rank, f in failures.items() if f.exitcode == 2]
    if stopped and codes <= stopped | {-signal.SIGTERM}:
        return max(stopped), []
    return 1, [describe(rank, f, logs) for rank, f in failures.items() if f.exitcode != -signal.SIGTERM]


def says_mistake(logs: Path) -> bool:
    """Whether a user's mistake is in the log of a machine's first process, which is on the console."""
    log = stderr_log(logs, 0)
    return log is not None and re.search(r"(?m)^error: ", log.read_text(errors="replace")) is not None


def stderr_log(logs: Path, local_rank: int) -> Path | None:
    """Where a process of this machine wrote its errors."""
    return max(logs.glob(f"*/attempt_0/{local_rank}/stderr.log"), default=None)


def describe(rank: int, failure: Any, logs: Path) -> str:
    """How a process ended, in one line: the signal, or its code and the last line it wrote."""
    found = stderr_log(logs, failure.local_rank)
    log = found or logs
    if failure.exitcode < 0:
        reason = "; the system does so when memory runs out (see dmesg)" if failure.exitcode == -signal.SIGKILL else ""
        return f"process {rank} was ended by {signal.Signals(-failure.exitcode).name}{reason}; its log: {log}"
    lines = [re.sub(r"^\[rank\d+\]: ", "", line.strip()) for line in log.read_text(errors="replace").split("\n")] if found else []
    lines = [line for line in reversed(lines) if line]
    named = (line for line in lines if re.match(r"error: |[\w.]*(Error|Exception)\b", line))  # CUDA's go on for lines behind it
    last = next(named, lines[0] if lines else "no word on stderr")
    lost = "; another process ended before it, perhaps on another machine" if re.search("(losed|reset) by peer", last) else ""
    return f"process {rank} ended with code {failure.exitcode}: {last:.300}{lost}; its log: {log}"


def import_torch_quietly() -> None:
    """In this process torch's C++ part would repeat, with its stack, what is told here; it asks for its level once, at import."""
    level = os.environ.get("TORCH_CPP_LOG_LEVEL")
    os.environ["TORCH_CPP_LOG_LEVEL"] = "FATAL"
    import torch  # noqa: F401

    os.environ.pop("TORCH_CPP_LOG_LEVEL") if level is None else os.environ.update(TORCH_CPP_LOG_LEVEL=level)


def latest(job: Job) -> str:
    """What tells the newest checkpoint of a folder from another."""
    from mmseg.engine.resuming import resume_candidates

    try:
        found = resume_candidates(job.folder)[0].stat()
    except (OSError, IndexError):
        return "none"
    return f"{found.st_ino}-{found.st_mtime_ns}"


def main() -> None:
    with exit_on_user_error():
        job = parse(sys.argv[1], sys.argv[2:])
        job.restarts = int((os.environ.get(BEGAN) or "0").split()[0])
        if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:  # nohup; torchrun would take SIGHUP for a reason to end
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
        where, place = meeting_place(job, os.environ)
        make_folder(job.folder, "--out-dir" if job.tool == "inference" else "--work-dir")
        import_torch_quietly()
        before = (os.environ.get(BEGAN) or f"0 {latest(job)}").split()[1]
        if job.tool == "train" and latest(job) not in (before, "none"):  # none: an earlier run was removed, nothing written
            job.rest.append("--resume")
        # Processes on a CPU share its cores; without this each would take them all.
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        os.environ["OMP_NUM_THREADS"] = os.environ.get("OMP_NUM_THREADS") or str(-(-cores // job.processes))
        node = os.environ.get("NODE_RANK") or "0"
        logs = job.folder / "processes" / f"{time.strftime('%Y%m%d_%H%M%S')}_machine{node}_{job.restarts}"
        print(f"{job.processes} processes{f', {place}' if place else ''}; their logs: {logs}", file=sys.stderr, flush=True)
        code = run(job, place, torchrun_arguments(job, where, logs))
    if code != 1 or job.restarts >= job.max_restarts:
        sys.exit(1 if code == PART_FAILED else code)
    print(f"restart {job.restarts + 1} of {job.max_restarts}", file=sys.stderr, flush=True)
    os.environ[BEGAN] = f"{job.restarts + 1} {before}"
    os.closerange(3, 4096)
    os.execv(sys.executable, [sys.executable, *sys.argv])  # afresh: nothing of the failed attempt is left in this process


if __name__ == "__main__":
    main()
