"""``benchmarks/gpu.sh`` with a stand-in for Python: what it would run, and that a part that fails ends alone."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

STAND_IN = '#!/bin/sh\necho "$@" >> "{log}"\ncase "$*" in *"{fails}"*) echo broken; exit 3;; esac\n'


def run(repo: Path, folder: Path, *parts: str, fails: str = "nothing", **variables: str) -> tuple[int, list[list[str]], str]:
    """Exit code, the commands and what was printed."""
    log, python = folder / "commands", folder / "python"
    python.write_text(STAND_IN.format(log=log, fails=fails))
    python.chmod(0o755)
    done = subprocess.run(
        ["bash", str(repo / "benchmarks/gpu.sh"), str(folder / "out"), *parts], capture_output=True, text=True, cwd=folder,
        env={"PATH": "/usr/bin:/bin", "PYTHON": str(python), **variables}, check=False)
    commands = [line.split() for line in log.read_text().splitlines()] if log.exists() else []
    return done.returncode, commands, done.stdout + done.stderr


def test_every_part_runs_files_that_are_there(repo: Path, tmp_path: Path) -> None:
    code, commands, text = run(repo, tmp_path, ITERATIONS="7")
    assert code == 0 and len(commands) == 1 + 4 + 2 + 2 + 4
    for command in commands:
        for word in command:
            if word.startswith(("benchmarks/", "tools/", "configs/")):
                assert (repo / word).is_file(), word
    assert sum("train_cfg.max_iters=7" in command for command in commands) == 2
    assert text.count("exit code 0") == len(commands)
    assert len(list((tmp_path / "out").glob("*.log"))) == len(commands)


def test_the_ablation_is_asked_for(repo: Path, tmp_path: Path) -> None:
    code, commands, _ = run(repo, tmp_path, "ablation", JOBS="3")
    out = f"{tmp_path}/out/ablation"
    assert code == 0 and commands == [["benchmarks/ablation.py", "--jobs", "3", "--folder", out, "--json", f"{out}.json"]]


@pytest.mark.parametrize(("fails", "left"), [("compile=True", 4), ("tools/train.py", 2)])
def test_a_part_that_fails_ends_alone(repo: Path, tmp_path: Path, fails: str, left: int) -> None:
    """A training that failed is not tested, the next one is trained."""
    code, commands, text = run(repo, tmp_path, "step" if "compile" in fails else "train", fails=fails)
    assert code == 1 and len(commands) == left
    assert "exit code 3" in text and "broken" in text


def test_an_unknown_part(repo: Path, tmp_path: Path) -> None:
    code, commands, text = run(repo, tmp_path, "everything")
    assert code == 2 and not commands and "got part 'everything', expected tests, step" in text
