"""What tools/_launch.py makes of command lines, variables and ends of processes; tests/engine/test_launching.py runs it."""

from __future__ import annotations

import importlib
import os
import signal
import socket
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

TOOLS = Path(__file__).resolve().parents[2] / "tools"


@pytest.fixture
def launch(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(TOOLS))
    return importlib.import_module("_launch")


@pytest.fixture
def free_port() -> int:
    with socket.socket() as trial:
        trial.bind(("", 0))
        return trial.getsockname()[1]


class TestCommandLine:
    def test_options_of_the_launcher_are_taken_out(self, launch: ModuleType) -> None:
        job = launch.parse("train", ["a.py", "2", "--amp", "--max-restarts", "3", "--work-dir", "w x", "--rendezvous-timeout=5"])
        assert (job.processes, job.max_restarts, job.timeout) == (2, 3, 5)
        assert job.rest == ["--amp", "--work-dir", "w x"]
        assert job.folder == Path("w x")

    def test_the_folder_is_the_one_that_the_tool_takes(
        self, launch: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SDCNET_HOME", str(tmp_path))
        (tmp_path / "with.py").write_text("work_dir = 'elsewhere'")
        (tmp_path / "without.py").write_text("model = dict()")
        assert launch.parse("train", [str(tmp_path / "with.py"), "2"]).folder == Path("elsewhere")
        options = [str(tmp_path / "with.py"), "2", "--cfg-options", "work_dir=there", "randomness.seed=1"]
        assert launch.parse("train", options).folder == Path("there")
        assert launch.parse("train", [*options, "--work-dir", "here"]).folder == Path("here")
        assert launch.parse("test", [str(tmp_path / "without.py"), "x.pth", "2"]).folder == tmp_path / "work_dirs/without"
        assert launch.parse("inference", ["photos", "x.pth", "2"]).folder == tmp_path / "output_img"
        assert launch.parse("inference", ["photos", "x.pth", "2", "--out-dir", "o"]).folder == Path("o")

    def test_arguments_of_torchrun(self, launch: ModuleType, tmp_path: Path) -> None:
        job = launch.parse("inference", ["photos", "x.pth", "4", "--out-dir", "o"])
        words = launch.torchrun_arguments(job, ["--standalone"], tmp_path)
        assert words[:5] == ["--standalone", "--nproc-per-node", "4", "--log-dir", str(tmp_path)]
        assert words[-8:] == [
            str(TOOLS / "inference.py"), "photos", "--checkpoint", "x.pth", "--launcher", "pytorch", "--out-dir", "o",
        ]

    @pytest.mark.parametrize(("tool", "processes", "where", "launcher"), [
        ("train", 1, ["--standalone"], "none"), ("train", 2, ["--standalone"], "pytorch"),
        ("train", 1, ["--nnodes", "2"], "pytorch"), ("test", 1, ["--standalone"], "pytorch"),
    ])
    def test_a_training_of_one_process_is_no_distributed_one(
        self, launch: ModuleType, tmp_path: Path, tool: str, processes: int, where: list[str], launcher: str
    ) -> None:
        """It may replay its steps."""
        config = tmp_path / "a.py"
        config.write_text("model = dict()")
        job = launch.parse(tool, [str(config), *(["x.pth"] if tool == "test" else []), str(processes)])
        words = launch.torchrun_arguments(job, where, tmp_path)
        assert words[words.index("--launcher") + 1] == launcher


class TestMeeting:
    def where(self, launch: ModuleType, **environment: str) -> tuple[list[str], str]:
        return launch.meeting_place(launch.parse("train", ["a.py", "2", "--rendezvous-timeout", "7"]), environment)

    def test_on_one_machine(self, launch: ModuleType) -> None:
        assert self.where(launch) == (["--standalone", "--local-addr", "localhost"], "")
        assert self.where(launch, NNODES="", PORT="")[1] == ""

    def test_on_two(self, launch: ModuleType) -> None:
        words, place = self.where(launch, NNODES="2", NODE_RANK="1", MASTER_ADDR="10.0.0.1", PORT="29511")
        assert words == [
            "--nnodes", "2", "--node-rank", "1", "--master-addr", "10.0.0.1", "--master-port", "29511",
            "--rdzv-id", "0", "--rdzv-conf", "timeout=7",
        ]
        assert place == "machine 1 of 2, meeting at 10.0.0.1:29511"

    def test_a_machine_that_starts_again_reads_nothing_of_the_attempt_before(self, launch: ModuleType) -> None:
        """And waits until the others have noticed that it was over."""
        job = launch.parse("train", ["a.py", "2", "--rendezvous-timeout", "7"])
        job.restarts = 2
        words, _ = launch.meeting_place(job, dict(NNODES="2", NODE_RANK="1", MASTER_ADDR="10.0.0.1"))
        assert words[-4:] == ["--rdzv-id", "2", "--rdzv-conf", f"timeout={7 + launch.NOTICED}"]

    def test_a_store_that_goes_is_waited_for(
        self, launch: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As that of the attempt before, whose launcher ends only when its machine has noticed."""
        tries: list[list[str]] = []

        def run(arguments: list[str]) -> None:
            tries.append(arguments)
            if len(tries) < 3:
                raise torch.distributed.DistStoreError("Connection was reset")

        monkeypatch.setattr("torch.distributed.run.run", run)
        monkeypatch.setattr("torch.distributed.run.parse_args", list)
        monkeypatch.setattr(launch.logging, "disable", lambda level: None)
        monkeypatch.setattr(launch.time, "sleep", lambda seconds: None)
        monkeypatch.setattr(launch.os, "environ", {**os.environ})
        job = launch.parse("train", ["a.py", "2"])
        with pytest.raises(launch.UserError, match="did not meet"):
            launch.run(job, "machine 1 of 2", ["--log-dir", str(tmp_path)])
        tries.clear()
        job.restarts = 1
        assert launch.run(job, "machine 1 of 2", ["--log-dir", str(tmp_path)]) == 0 and len(tries) == 3

    @pytest.mark.parametrize(("environment", "message"), [
        (dict(NNODES="two"), "NNODES: got 'two', expected a number from 1"),
        (dict(NNODES="2", NODE_RANK="2", MASTER_ADDR="a"), "NODE_RANK: got '2', expected a number from 0 to 1"),
        (dict(NNODES="2"), "MASTER_ADDR: got nothing with NNODES=2"),
        (dict(PORT="70000"), "PORT: got '70000', expected a number from 1 to 65535"),
    ])
    def test_wrong_variables(self, launch: ModuleType, environment: dict[str, str], message: str) -> None:
        with pytest.raises(launch.UserError, match=message):
            self.where(launch, **environment)

    def test_a_port_that_is_taken(self, launch: ModuleType) -> None:
        with socket.socket() as other:
            other.bind(("", 0))
            other.listen()
            port = other.getsockname()[1]
            with pytest.raises(launch.UserError, match=f"PORT: {port} cannot be used here .* Choose another"):
                self.where(launch, PORT=str(port))
        assert self.where(launch, PORT=str(port))[1]

    def test_machines_that_do_not_meet_in_time(self, launch: ModuleType, tmp_path: Path, free_port: int) -> None:
        job = launch.parse("train", ["a.py", "2", "--rendezvous-timeout", "3"])
        where, place = launch.meeting_place(job, dict(NNODES="2", MASTER_ADDR="127.0.0.1", PORT=str(free_port)))
        with pytest.MonkeyPatch.context() as patch:  # for the tests that follow in this process
            patch.setattr(launch.logging, "disable", lambda level: None)
            patch.setattr(launch.os, "environ", {**os.environ})
            told = r"did not meet within 3 s \(machine 0 of 2.*1/2 clients joined\. See that"
            with pytest.raises(launch.UserError, match=told):
                launch.run(job, place, launch.torchrun_arguments(job, where, tmp_path))


class TestVerdict:
    def verdict(
        self, launch: ModuleType, logs: Path, *codes: int, after: tuple[int, ...] = (), said: str | None = None
    ) -> tuple[int, list[str]]:
        seconds = after or (0,) * len(codes)
        failures: dict[int, Any] = {
            i: SimpleNamespace(exitcode=c, local_rank=i, timestamp=1_790_000_000 + seconds[i]) for i, c in enumerate(codes) if c}
        for rank in failures:
            folder = logs / f"job_x/attempt_0/{rank}"
            folder.mkdir(parents=True)
            lost = f"Traceback\n[rank{rank}]: RuntimeError: Connection closed by peer [10.0.0.2]:5\n"
            (folder / "stderr.log").write_text(said or lost)
        return launch.verdict(failures, logs)

    def test_a_killed_process_is_named_with_its_log(self, launch: ModuleType, tmp_path: Path) -> None:
        code, lines = self.verdict(launch, tmp_path, 1, -signal.SIGKILL, -signal.SIGTERM)
        assert code == 1
        assert lines == [
            "process 0 ended with code 1: RuntimeError: Connection closed by peer [10.0.0.2]:5; another process ended before it, "
            f"perhaps on another machine; its log: {tmp_path}/job_x/attempt_0/0/stderr.log",
            "process 1 was ended by SIGKILL; the system does so when memory runs out (see dmesg); its log: "
            f"{tmp_path}/job_x/attempt_0/1/stderr.log",
        ]

    @pytest.mark.parametrize(("last", "told"), [
        ("Connection closed by peer [10.0.0.2]:5", True), ("Read error [10.0.0.2]:5: Connection reset by peer. This is", True),
        ("CUDA error: an illegal memory access", False),
    ])
    def test_a_connection_that_breaks_is_another_processs_end(
        self, launch: ModuleType, tmp_path: Path, last: str, told: bool
    ) -> None:
        """gloo says it in one way or the other."""
        (tmp_path / "job_x/attempt_0/0").mkdir(parents=True)
        (tmp_path / "job_x/attempt_0/0/stderr.log").write_text(f"[rank0]: RuntimeError: {last}\n")
        line = launch.describe(0, SimpleNamespace(exitcode=1, local_rank=0), tmp_path)
        assert ("; another process ended before it, perhaps on another machine;" in line) == told

    def test_what_the_launcher_kills_did_not_run_out_of_memory(self, launch: ModuleType, tmp_path: Path) -> None:
        """Processes that stand in NCCL do not hear SIGTERM; torchrun kills them 30 s after the first has failed."""
        code, lines = self.verdict(launch, tmp_path / "a", -signal.SIGKILL, 1, -signal.SIGKILL, after=(31, 0, 31))
        assert code == 1
        assert [line.partition(":")[0] for line in lines] == ["process 1 ended with code 1"]
        assert self.verdict(launch, tmp_path / "b", 143, -signal.SIGKILL, after=(0, 31)) == (143, [])

    def test_a_mistake_of_the_user_wins_and_is_told_once(self, launch: ModuleType, tmp_path: Path) -> None:
        assert self.verdict(launch, tmp_path / "a", 2, 2) == (2, [])  # the first process said it on the console
        code, lines = self.verdict(launch, tmp_path / "b", 1, 2)
        assert code == 2
        assert [line[:27] for line in lines] == ["process 1 ended with code 2"]

    def test_a_mistake_is_told_once_where_the_first_process_was_ended_while_it_ended(
        self, launch: ModuleType, tmp_path: Path
    ) -> None:
        said = "iteration 1\nerror: iteration 2: not finite\n"
        assert self.verdict(launch, tmp_path / "a", -signal.SIGTERM, 2, said=said) == (2, [])
        assert len(self.verdict(launch, tmp_path / "b", -signal.SIGTERM, 2)[1]) == 1

    def test_a_stop_by_a_signal(self, launch: ModuleType, tmp_path: Path) -> None:
        assert self.verdict(launch, tmp_path / "a", 143, 143) == (143, [])
        assert self.verdict(launch, tmp_path / "b", 130, -signal.SIGTERM) == (130, [])
        assert self.verdict(launch, tmp_path / "c", 143, -signal.SIGKILL)[0] == 1

    def test_unreadable_photographs_are_no_reason_for_another_attempt(self, launch: ModuleType, tmp_path: Path) -> None:
        assert self.verdict(launch, tmp_path, launch.PART_FAILED) == (launch.PART_FAILED, [])


def test_only_a_checkpoint_of_this_launch_is_resumed_from(
    launch: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a failure main() becomes itself again; --resume is added where latest.pth is another than before the launch."""
    (tmp_path / "latest.pth").write_text("of an older run")
    began: list[list[str]] = []

    def run(job: Any, place: str, arguments: list[str]) -> int:
        began.append(job.rest)
        if len(began) == 1:
            (tmp_path / "latest.pth").unlink()  # as --overwrite does
        if len(began) == 2:
            (tmp_path / "new").write_text("of this launch")
            (tmp_path / "new").replace(tmp_path / "latest.pth")
        return 1

    monkeypatch.setattr(launch, "run", run)
    monkeypatch.setattr(launch.os, "execv", lambda *_: launch.main())
    monkeypatch.setattr(launch.os, "closerange", lambda *_: None)
    monkeypatch.setattr(launch.signal, "pthread_sigmask", lambda *_: None)
    for name in (launch.BEGAN, "OMP_NUM_THREADS", "PORT", "NNODES", "NODE_RANK"):
        monkeypatch.setenv(name, "")
    monkeypatch.setattr(sys, "argv", ["_launch.py", "train", "a.py", "2", "--work-dir", str(tmp_path), "--max-restarts", "3"])
    with pytest.raises(SystemExit) as ended:
        launch.main()
    assert ended.value.code == 1
    own = ["--work-dir", str(tmp_path)]
    assert began == [own, own, [*own, "--resume"], [*own, "--resume"]]
