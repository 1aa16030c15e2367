"""The launch scripts with real processes: restarts, a closed terminal, signals, two machines, a folder shared out."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from comparing import MakeConfig, state_differences

from mmseg.datasets.synthetic import make_dataset
from mmseg.engine.checkpoint import read_checkpoint

pytestmark = pytest.mark.slow

Start = Callable[..., "subprocess.Popen[str]"]
Machines = list[tuple[tuple[str, ...], dict[str, str]]]

FAULTS = '''
import os, signal
from pathlib import Path
from mmengine.hooks import Hook
from mmseg.registry import HOOKS

@HOOKS.register_module()
class DieOnceHook(Hook):
    def __init__(self, marker, rank):
        self.marker, self.rank = Path(marker), rank
    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == 3 and runner.rank == self.rank and not self.marker.exists():
            self.marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
'''


@pytest.fixture
def start(repo: Path, tmp_path: Path) -> Iterator[Start]:
    """A function that starts a launch script in a session of its own, both its outputs in one; what is left of it is killed."""
    started: list[subprocess.Popen[str]] = []
    (tmp_path / "faults.py").write_text(FAULTS)

    def launch(script: str, *arguments: str | Path, before: tuple[str, ...] = (), **variables: str) -> subprocess.Popen[str]:
        environment = {k: v for k, v in os.environ.items() if k not in ("PORT", "NNODES", "NODE_RANK", "LOCAL_RANK")}
        environment |= dict(PYTHON=sys.executable, OMP_NUM_THREADS="1", PYTHONPATH=str(tmp_path)) | variables
        command = [*before, "bash", str(repo / "tools" / script), *map(str, arguments)]
        started.append(subprocess.Popen(
            command, cwd=repo, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            start_new_session=True,
        ))
        return started[-1]

    yield launch
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=60)
            process.kill()


def end(process: subprocess.Popen[str], timeout: int = 280) -> tuple[int, str]:
    text = process.communicate(timeout=timeout)[0]
    return process.returncode, text


def wait_for(condition: Callable[[], object], seconds: int = 120) -> None:
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, "did not happen in time"
        time.sleep(0.05)


@pytest.fixture
def config(run_config: MakeConfig, tmp_path: Path) -> Callable[..., Path]:
    """A function that writes the tiny configuration with a checkpoint every second iteration; ``dies`` is a rank, once."""

    def write(name: str, dies: int | None = None, **overrides: object) -> Path:
        made = run_config(tmp_path / name, default_hooks__checkpoint__interval=2, **overrides)
        if dies is not None:
            made.custom_imports = dict(imports=["faults"])
            made.custom_hooks = [dict(type="DieOnceHook", marker=str(tmp_path / f"{name}.died"), rank=dies)]
        path = tmp_path / f"{name}.py"
        made.dump(path)
        return path

    return write


def test_a_killed_process_costs_nothing_but_time(start: Start, config: Callable[..., Path], tmp_path: Path) -> None:
    """With --max-restarts the run goes on from its last checkpoint by itself, and ends as if nothing had happened."""
    code, text = end(start("dist_train.sh", config("killed", dies=1, train_cfg__max_iters=6), 2, "--max-restarts", 1))
    assert code == 0, text[-3000:]
    assert (tmp_path / "killed.died").exists()
    assert "process 1 was ended by SIGKILL" in text
    assert "restart 1 of 1" in text
    assert "resumed at iteration 2 from" in text
    assert end(start("dist_train.sh", config("whole", train_cfg__max_iters=6), 2))[0] == 0
    assert state_differences(tmp_path / "killed/latest.pth", tmp_path / "whole/latest.pth") == []
    assert read_checkpoint(tmp_path / "killed/latest.pth")["meta"]["iter"] == 6


def test_a_mistake_of_the_user_is_not_tried_again(start: Start, config: Callable[..., Path], tmp_path: Path) -> None:
    wrong = config("wrong", train_dataloader__dataset__dataset__data_root=str(tmp_path / "nowhere"))
    code, text = end(start("dist_train.sh", wrong, 2, "--max-restarts", 3))
    assert code == 2
    assert text.count("error: ") == 1
    assert "Traceback" not in text
    assert "restart" not in text


@pytest.mark.parametrize("nohup", [True, False])
def test_a_terminal_that_closes(start: Start, config: Callable[..., Path], tmp_path: Path, nohup: bool) -> None:
    """Every process of the session gets SIGHUP then; a run that was started by nohup does not mind."""
    path = config("closed", train_cfg__max_iters=12)
    running = start("dist_train.sh", path, 2, before=("nohup",) if nohup else ())
    wait_for((tmp_path / "closed/iter_2.pth").exists)
    os.killpg(running.pid, signal.SIGHUP)
    code, text = end(running)
    assert code == (0 if nohup else 128 + signal.SIGHUP), text[-3000:]
    assert (tmp_path / "closed/iter_12.pth").exists() == nohup
    assert nohup or "SIGHUP: stopping after this step" in "".join(
        path.read_text() for path in (tmp_path / "closed").rglob("*.log"))


def test_sigterm_to_the_launcher_writes_a_checkpoint(start: Start, config: Callable[..., Path], tmp_path: Path) -> None:
    running = start("dist_train.sh", config("stopped", train_cfg__max_iters=200), 2, "--max-restarts", 2)
    wait_for((tmp_path / "stopped/iter_2.pth").exists)
    running.terminate()
    code, text = end(running)
    assert code == 143
    assert text.splitlines()[-1] == "stopped by SIGTERM; go on by --resume"
    steps = read_checkpoint(tmp_path / "stopped/latest.pth")["meta"]["iter"]
    assert f"stopped by SIGTERM after iteration {steps}" in text


@pytest.fixture
def two_machines() -> Iterator[Machines]:
    """Two network namespaces joined by a cable of their own: for each what stands before a command, and its variables."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("two network namespaces need root and the command ip (Debian package iproute2)")
    names = [f"sdc{os.getpid()}{end}" for end in "ab"]
    commands = [
        f"ip netns add {names[0]}", f"ip netns add {names[1]}",
        f"ip -n {names[0]} link add cable type veth peer name cable netns {names[1]}",
        *(f"ip -n {name} link set {link} up" for name in names for link in ("lo", "cable")),
        *(f"ip -n {name} addr add 10.77.0.{i + 1}/24 dev cable" for i, name in enumerate(names)),
    ]
    try:
        for command in commands:
            done = subprocess.run(command.split(), capture_output=True, text=True, check=False)
            if done.returncode:
                pytest.skip(f"network namespaces are not permitted here: {command}: {done.stderr.strip()}")
        common = dict(NNODES="2", MASTER_ADDR="10.77.0.1", PORT="29577", GLOO_SOCKET_IFNAME="cable")
        yield [(("ip", "netns", "exec", name), common | {"NODE_RANK": str(i)}) for i, name in enumerate(names)]
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)


def test_two_machines(
    start: Start, config: Callable[..., Path], tmp_path: Path, two_machines: Machines
) -> None:
    """A process of the second is killed: both end soon, say why, and resume when started again."""
    path = config("two", dies=1, train_cfg__max_iters=6)

    def both(*arguments: str) -> list[tuple[int, str]]:
        return [end(process) for process in [
            start("dist_train.sh", path, 1, *arguments, before=before, **variables) for before, variables in two_machines
        ]]

    began = time.monotonic()
    (code, text), (other_code, other) = both()
    assert (code, other_code) == (1, 1), text[-3000:] + other[-3000:]
    assert time.monotonic() - began < 150
    assert "error: train failed (machine 0 of 2, meeting at 10.77.0.1:29577):" in text
    assert "another process ended before it, perhaps on another machine" in text
    assert "process 1 was ended by SIGKILL" in other
    assert read_checkpoint(tmp_path / "two/latest.pth")["meta"]["iter"] == 2
    (code, text), (other_code, other) = both("--resume")
    assert (code, other_code) == (0, 0), text[-3000:] + other[-3000:]
    assert "resumed at iteration 2 from" in text
    assert "Iter(train)" not in other  # the console of the first machine has the numbers
    assert end(start("dist_train.sh", config("one", train_cfg__max_iters=6), 2))[0] == 0
    assert state_differences(tmp_path / "two/latest.pth", tmp_path / "one/latest.pth") == []


def test_two_machines_restart_by_themselves(
    start: Start, config: Callable[..., Path], tmp_path: Path, two_machines: Machines
) -> None:
    path = config("two", dies=1, train_cfg__max_iters=4)
    running = [
        start("dist_train.sh", path, 1, "--max-restarts", 2, before=before, **variables) for before, variables in two_machines
    ]
    assert [(code, "restart 1 of 2" in text) for code, text in map(end, running)] == [(0, True), (0, True)]
    assert read_checkpoint(tmp_path / "two/latest.pth")["meta"]["iter"] == 4


def test_the_second_machine_never_comes(start: Start, config: Callable[..., Path]) -> None:
    with socket.socket() as trial:
        trial.bind(("", 0))
        port = str(trial.getsockname()[1])
    for rank in "01":
        place = dict(NNODES="2", NODE_RANK=rank, MASTER_ADDR="127.0.0.1", PORT=port)
        code, text = end(start("dist_train.sh", config("alone"), 1, "--rendezvous-timeout", 2, **place))
        assert code == 2
        assert "error: the machines did not meet within 2 s (machine" in text
        assert "Traceback" not in text
        assert text.count("\n") == 2


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Thirty photographs of 960x640, and one that is none."""
    make_dataset(tmp_path / "data", 1, 1, (960, 640), 0, 1)
    source = cv2.imread(str(next((tmp_path / "data/images").rglob("*.jpg"))))
    photographs = tmp_path / "photographs"
    photographs.mkdir()
    for i in range(30):
        cv2.imwrite(str(photographs / f"eye_{i:02}.jpg"), np.roll(source, 7 * i, axis=1))
    (photographs / "broken.jpg").write_bytes(b"no picture")
    return photographs


def results(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def worker_of(launcher: int, rank: int) -> int | None:
    """The process number of a rank below a launcher."""
    for children in Path(f"/proc/{launcher}/task").glob("*/children"):
        for child in map(int, children.read_text().split()):
            with contextlib.suppress(OSError):
                if f"\0RANK={rank}\0".encode() in Path(f"/proc/{child}/environ").read_bytes():
                    return child
    return None


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks for processes in /proc")
def test_a_folder_is_shared_out_and_gone_on_with(
    start: Start, repo: Path, folder: Path, speckled: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "tools/inference.py", folder, "--checkpoint", speckled, "--out-dir", tmp_path / "one"]
    alone = subprocess.run([*map(str, command)], cwd=repo, capture_output=True, text=True, check=False,
                           env=os.environ | dict(OMP_NUM_THREADS="1"))
    assert alone.returncode == 1
    assert "30 of 31 photographs segmented" in alone.stdout

    running = start("dist_inference.sh", folder, speckled, 2, "--out-dir", tmp_path / "two")
    wait_for(lambda: len(list((tmp_path / "two").glob("*.json"))) >= 6)
    victim = worker_of(running.pid, 1)
    assert victim is not None
    os.kill(victim, signal.SIGKILL)
    code, text = end(running)
    assert code == 1
    assert "process 1 was ended by SIGKILL" in text
    done = len(list((tmp_path / "two").glob("*.json")))
    assert 6 <= done < 30

    code, text = end(start("dist_inference.sh", folder, speckled, 2, "--out-dir", tmp_path / "two", "--max-restarts", 1))
    assert code == 1
    assert "restart" not in text  # what cannot be read would not be read the next time
    assert f"30 of 31 photographs segmented, {done} of them before; results in" in text
    assert "these could not be read:\n" in text and f"  {folder}/broken.jpg\n" in text  # the two streams are mixed by lines
    assert "[1/" in text and " s left" in text
    assert results(tmp_path / "two") == results(tmp_path / "one")
    assert not list((tmp_path / "two").glob(".*.part"))
