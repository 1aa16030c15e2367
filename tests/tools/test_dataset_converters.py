"""The commands that convert data sets: quick help, exit codes, and where the output is."""

from __future__ import annotations

import json
import re
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from releases import write_ddr, write_fgadr, write_idrid

TOOLS = Path(__file__).resolve().parents[2] / "tools"
CONVERTERS = TOOLS / "dataset_converters"

Call = Callable[..., int]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch) -> Call:
    """Run a tool in this process; gives its exit code."""

    def run(tool: str, *arguments: str | Path) -> int:
        monkeypatch.setattr(sys, "argv", [tool, *map(str, arguments)])
        monkeypatch.setattr(sys, "path", [str((TOOLS / tool).parent), *sys.path])
        try:
            runpy.run_path(str(TOOLS / tool), run_name="__main__")
        except SystemExit as done:
            return int(done.code or 0)
        return 0

    return run


@pytest.mark.parametrize("tool", sorted(path.name for path in CONVERTERS.glob("*.py")))
def test_help_answers_without_importing_anything_heavy(tool: str, tmp_path: Path) -> None:
    command = [sys.executable, "-X", "importtime", str(CONVERTERS / tool), "--help"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and done.stdout.startswith(f"usage: {tool}")
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert "argparse" in imported and not imported & {"torch", "mmengine", "cv2", "numpy"}


def test_convert(call: Call, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_idrid(tmp_path / "A. Segmentation")
    out = tmp_path / "Dataset501_IDRiD"
    for told in ("10 files written and read back, 0 were there already", "0 files written and read back, 10 were there already"):
        assert call("dataset_converters/convert.py", "idrid", tmp_path, "--to", "nnunet", "--out", out) == 0
        text = capsys.readouterr().out
        assert f"3 train, 2 test images: {told}" in text
        assert text.endswith(f"\n{out}\n")
    assert json.loads((out / "dataset.json").read_text())["numTraining"] == 3


def test_stopped_by_ctrl_c(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    write_idrid(tmp_path / "A. Segmentation")
    arguments = ("dataset_converters/convert.py", "idrid", tmp_path, "--to", "tidy", "--out", tmp_path / "out")
    with monkeypatch.context() as patch:
        patch.setattr("mmseg.datasets.converters.convert.write_output", stop)
        assert call(*arguments) == 130
    assert f"stopped; the same command goes on from here: {tmp_path / 'out'}" in capsys.readouterr().err
    assert call(*arguments) == 0


def test_an_image_that_cannot_be_read_is_exit_code_1(call: Call, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_ddr(tmp_path / "ddr")
    bad = tmp_path / "ddr/valid/image/007-0001-100.jpg"
    bad.write_bytes(b"")
    assert call("dataset_converters/convert.py", "ddr", tmp_path / "ddr", "--to", "mmseg", "--out", tmp_path / "out") == 1
    told = capsys.readouterr()
    assert f"error: {bad}: " in told.err
    assert "12 files written" in told.out and "1 images could not be converted" in told.out


@pytest.mark.parametrize(("arguments", "message"), [
    (["idrid", "/none", "--to", "tidy"], "/none: no such folder or archive"),
    (["idrid", ".", "--to", "nnunet"], "expected a name that nnU-Net knows"),
    (["ddr", "/none", "--to", "tidy", "--split-seed", "1"], "the split of ddr is the official one"),
    (["ddr", "/none", "--to", "tidy", "--workers", "0"], "--workers: got 0, expected 1 or more"),
    (["drive", "/none", "--to", "tidy"], "invalid choice: 'drive'"),
])
def test_mistakes(
    arguments: list[str], message: str, call: Call, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("dataset_converters/convert.py", *arguments, "--out", tmp_path / "out") == 2
    told = capsys.readouterr().err
    assert message in told and "Traceback" not in told
    assert not (tmp_path / "out").exists()


def test_a_split_written_is_the_split_read(call: Call, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_fgadr(tmp_path / "Seg-set")
    splits = tmp_path / "splits"
    assert call("dataset_converters/split_fgadr.py", tmp_path, "--out", splits, "--seed", "7") == 0
    assert capsys.readouterr().out.splitlines()[-3:] == [
        f"{count:5d} {splits / name}.txt" for count, name in ((12, "train"), (2, "valid"), (6, "test"))
    ]
    for out, option in (("a", ("--split-dir", splits)), ("b", ("--split-seed", "7")), ("c", ())):
        assert call("dataset_converters/convert.py", "fgadr", tmp_path, "--to", "tidy", "--out", tmp_path / out, *option) == 0
    names = [sorted(p.name for p in (tmp_path / out / "images/test").iterdir()) for out in "abc"]
    assert names[0] == names[1] != names[2]
    assert call("dataset_converters/split_fgadr.py", tmp_path / "a", "--out", splits) == 2
    assert "nothing to split" in capsys.readouterr().err
    listed = (splits / "test.txt").read_text().splitlines()
    assert listed[0] == "# test, 6 images: of 20 of FGADR, seed 7, by image: the release tells no patient"
    assert [f"{name}.png" for name in listed[1:]] == names[0]


def test_statistics_of_the_training_images(
    call: Call, repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_ddr(tmp_path)
    monkeypatch.setenv("DDR_ROOT", str(tmp_path))
    assert call("dataset_statistics.py", repo / "configs/sdcnet/sdcnetplus_r18-d8_512x512_40k_DDR.py") == 0
    mean, std = (line for line in capsys.readouterr().out.splitlines() if re.match(r"    (mean|std)=\[", line))
    assert all(100 < float(v) < 155 for v in re.findall(r"[\d.]+", mean)), "noise from 0 to 255"
    assert len(re.findall(r"\d+\.\d{3}", std)) == 3
    assert call("dataset_statistics.py", repo / "configs/sdcnet/sdcnetplus_r18-d8_512x512_40k_IDRiD-DDR.py") == 2
    assert "no single data set" in capsys.readouterr().err
