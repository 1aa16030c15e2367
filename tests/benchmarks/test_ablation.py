"""The ablation: its rows name configs that exist, and what is done is not done again."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from matplotlib.axes import Axes

from mmseg.engine.checkpoint import read_checkpoint, write_checkpoint

ROOT = Path(__file__).parents[2]


def run(*options: str) -> str:
    command = [sys.executable, "benchmarks/ablation.py", *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def test_its_rows_are_commands_on_the_folds() -> None:
    lines = run("--list").splitlines()
    configs = {word for line in lines for word in line.split() if word.startswith("configs/")}
    assert len(lines) >= 12 and all((ROOT / config).is_file() for config in configs)
    assert all(config.endswith("_IDRiD_cv.py") for config in configs)  # the test images decide nothing


def test_a_row_with_scores_is_shown_and_not_trained(tmp_path: Path) -> None:
    scores = dict(AP=0.25, Dice=0.5, IoU=0.375)
    folder = tmp_path / "isdnet_seed0" / "test"
    folder.mkdir(parents=True)
    (folder / "metrics.json").write_text(json.dumps(dict.fromkeys(("MA", "HE", "EX", "SE", "mean"), scores)))
    lines = run("--rows", "isdnet", "--folder", str(tmp_path)).splitlines()
    assert "| isdnet | 0 | 25.0 | 25.0 | 25.0 | 25.0 | 25.0 | 50.0 | 37.5 |" in lines
    assert any(line.startswith("| sdcnetplus | 0 | not run") for line in lines)


def test_one_seed_of_a_row_can_be_named() -> None:
    trained = [line for line in run("--list", "--rows", "softmax_seed1", "isdnet").splitlines() if "tools/train.py" in line]
    assert [line.split("work_dirs/ablation/")[1].split()[0] for line in trained] == ["softmax_seed1", "isdnet_seed0"]


def test_courses_of_training_are_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import ablation

    drawn: dict[str, list[float]] = {}
    plot = Axes.plot
    monkeypatch.setattr(Axes, "plot", lambda axis, x, y, *args, **kwargs: (
        drawn.update({kwargs["label"]: [*x, *y]}), plot(axis, x, y, *args, **kwargs))[1])
    rows = {f"isdnet_seed{seed}": dict(validation_mAP={"1000": 0.25, "2000": 0.5}, trained=dict(parts=[dict(device=device)]))
            for seed, device in enumerate(("cpu", "NVIDIA"))}
    ablation.draw(rows | dict(nearest_seed0=dict(mean={}), softmax_seed0=None), tmp_path / "curves.png")
    assert drawn == {name: [1000, 2000, 25, 50] for name in ("isdnet, seed 0, CPU", "isdnet, seed 1")}
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_a_record_keeps_rows_of_other_machines_and_what_a_score_needs(tmp_path: Path) -> None:
    test = tmp_path / "nearest_seed0" / "test"
    test.mkdir(parents=True)
    scores = {name: dict(AP=0.25, Dice=0.5, IoU=0.375) for name in ("MA", "HE", "EX", "SE", "mean")}
    (test / "metrics.json").write_text(json.dumps(scores))
    (test / "details.json").write_text(json.dumps(dict(intervals_95={"mean": {"AP": [0.2, 0.3]}}, curves={}, checkpoint="a.pth")))
    (test.parent / "about.json").write_text(json.dumps(dict(parts=[dict(dtype="float32")])))
    log = tmp_path / "nearest_seed0/20260101/vis_data"
    log.mkdir(parents=True)
    (log / "scalars.json").write_text('{"step": 1, "loss": 2.0}\n{"step": 1000, "lesion/mAP": 0.2}\n{"step": 20')  # cut
    path = tmp_path / "record.json"
    path.write_text(json.dumps(dict(rows={"sdcnetplus_seed0": {"mean": {"AP": 0.6}}, "nearest_seed0": None})))
    run("--rows", "nearest", "--folder", str(tmp_path), "--json", str(path))
    rows = json.loads(path.read_text())["rows"]
    assert rows["sdcnetplus_seed0"] == {"mean": {"AP": 0.6}} and rows["softmax_seed0"] is None
    assert rows["nearest_seed0"] == scores | dict(
        intervals_95={"mean": {"AP": [0.2, 0.3]}}, checkpoint="a.pth", validation_mAP={"1000": 0.2},
        trained=dict(parts=[dict(dtype="float32")]))


def test_a_row_scored_in_another_way_has_no_curve_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That of its training was validated in the other way: single pass, or averaged weights."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import ablation

    flips = next(row for row in ablation.ROWS if row.name == "flips")
    for row in (flips.key, "stride4_seed0"):
        (tmp_path / row / "test").mkdir(parents=True)
        (tmp_path / row / "test/metrics.json").write_text("{}")
    log = tmp_path / "stride4_seed0/20260101/vis_data"
    log.mkdir(parents=True)
    (log / "scalars.json").write_text('{"step": 1000, "lesion/mAP": 0.2}\n')
    (tmp_path / "stride4_seed0/about.json").write_text('{"parts": [1, 2]}')
    assert ablation.record(flips, tmp_path) == dict(trained=dict(parts=[1, 2]))


def test_a_training_that_was_scored_is_only_scored_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once by the row that it belongs to, then by rows that test it in another way."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import ablation

    started: list[str] = []
    tested: list[torch.Tensor] = []
    averaged, trained = torch.zeros(1), torch.ones(1)

    def start(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        if command[0] != "git":
            started.append(command[1])
        if command[1] == "tools/train.py":
            path = Path(command[command.index("--work-dir") + 1], "latest.pth")
            path.parent.mkdir(exist_ok=True)
            write_checkpoint(dict(state_dict=dict(w=averaged), raw_state_dict=dict(w=trained), meta={}), path)
        if command[1] == "tools/test.py":
            tested.append(read_checkpoint(command[3])["state_dict"]["w"])
            out = Path(command[command.index("--out") + 1])
            out.mkdir(parents=True)
            scores = dict.fromkeys(("AP", "Dice", "IoU"), 0.5)
            (out / "metrics.json").write_text(json.dumps(dict.fromkeys(("MA", "HE", "EX", "SE", "mean"), scores)))
        return subprocess.CompletedProcess(command, 0, stdout="")

    monkeypatch.setattr(ablation.subprocess, "run", start)
    for row in ("flips", "stride4", "smaller", "sdcnetplus", "ema"):
        monkeypatch.setattr(sys, "argv", ["ablation.py", "--rows", row, "--folder", str(tmp_path)])
        ablation.main()
    # stride4 and smaller: what flips has trained; sdcnetplus: two seeds; ema: what the second of them has trained
    both = ["tools/train.py", "tools/test.py"]
    assert started == both + ["tools/test.py"] * 2 + both * 2 + ["tools/test.py"]
    assert tested == [averaged, averaged, averaged, averaged, trained, averaged]
    notes = json.loads((tmp_path / "ema_seed1/about.json").read_text())
    assert [sorted(part) for part in notes["parts"]] == [["commit", "date", "device", "dtype", "machine"]]


def test_a_training_that_goes_on_tells_both_its_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import ablation

    codes, started = [1, 0], []

    def start(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        started.append(command[1])
        if command[1] == "tools/train.py" and codes.pop(0):
            raise subprocess.CalledProcessError(1, command)
        return subprocess.CompletedProcess(command, 0, stdout="")

    monkeypatch.setattr(ablation.subprocess, "run", start)
    row = next(row for row in ablation.ROWS if row.key == "sigmoid_seed0")
    with pytest.raises(subprocess.CalledProcessError):
        ablation.run(row, tmp_path, None)
    assert not row.is_trained(tmp_path)
    ablation.run(row, tmp_path, None)
    assert row.is_trained(tmp_path) and started[-1] == "tools/test.py"
    notes = json.loads((tmp_path / "sigmoid_seed0/about.json").read_text())
    assert [sorted(part) for part in notes["parts"]] == [["commit", "date", "device", "dtype", "machine"]] * 2


def test_rows_at_once_train_first_and_print_into_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each training once, also where several rows score it."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import ablation

    started: list[tuple[str, str]] = []

    def start(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        if command[0] != "git":
            folder = Path(command[command.index("--work-dir") + 1])
            started.append((command[1], folder.name))
            options["stdout"].write("printed\n")
        if command[1] == "tools/test.py":
            (folder / "test").mkdir(parents=True)
            (folder / "test/metrics.json").write_text(
                json.dumps(dict.fromkeys(("MA", "HE", "EX", "SE", "mean"), dict.fromkeys(("AP", "Dice", "IoU"), 0.5))))
        return subprocess.CompletedProcess(command, 0, stdout="")

    monkeypatch.setattr(ablation.subprocess, "run", start)
    options = ["--rows", "flips", "softmax", "stride4", "smaller", "--jobs", "3", "--folder", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["ablation.py", *options])
    ablation.main()
    tools = ("tools/test.py", "tools/train.py")
    trained = ("softmax_seed0", "softmax_seed1", "stride4_seed0")
    assert sorted(started[:6]) == [(tool, name) for tool in tools for name in trained]
    assert sorted(started[6:]) == [("tools/test.py", "flips_seed0"), ("tools/test.py", "smaller_seed0")]
    assert (tmp_path / "softmax_seed1.log").read_text() == "printed\nprinted\n"
    started.clear()
    ablation.main()
    assert not started


def test_a_row_that_fails_keeps_no_other_from_being_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import ablation

    def start(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        if command[1] == "tools/train.py" and "softmax" in command[2]:
            raise subprocess.CalledProcessError(2, command)
        if command[1] == "tools/test.py":
            out = Path(command[command.index("--out") + 1])
            out.mkdir(parents=True)
            scores = dict.fromkeys(("MA", "HE", "EX", "SE", "mean"), dict.fromkeys(("AP", "Dice", "IoU"), 0.5))
            (out / "metrics.json").write_text(json.dumps(scores))
        return subprocess.CompletedProcess(command, 0, stdout="")

    monkeypatch.setattr(ablation.subprocess, "run", start)
    path = tmp_path / "record.json"
    options = ["--rows", "softmax", "stride4", "flips", "--folder", str(tmp_path), "--json", str(path)]
    monkeypatch.setattr(sys, "argv", ["ablation.py", *options])
    with pytest.raises(SystemExit, match="2 rows failed: softmax_seed0, softmax_seed1"):
        ablation.main()
    assert "softmax_seed1: failed" in capsys.readouterr().err
    rows = json.loads(path.read_text())["rows"]
    assert rows["flips_seed0"] and rows["stride4_seed0"] and rows["softmax_seed0"] is None
