"""The benchmarks of the data pipeline, at tiny sizes: they run, and say what they measured."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PEER = Path(tempfile.gettempdir()) / "stock_onedl-mmsegmentation-1.4.2"


def run(script: str, *options: str, **environment: str) -> str:
    command = [sys.executable, str(ROOT / "benchmarks" / script), *options]
    return subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | environment).stdout


@pytest.mark.slow
def test_scaling(tmp_path: Path) -> None:
    path = tmp_path / "scaling.json"
    printed = run("scaling.py", "--samples", "3", "5", "--rounds", "1", "--steps", "1",
                  "--folder", str(tmp_path), "--json", str(path))
    written = json.loads(path.read_text())
    assert list(written["data_seconds"]["batch"]) == ["1", "2", "4", "8", "16"]
    assert list(written["data_seconds"]["data set"]) == ["3", "5"]
    assert 0 < written["data_seconds"]["data set"]["5"] < written["training_step_seconds"]
    assert "whole step" in printed and sorted(tmp_path.iterdir()) == [path]


@pytest.mark.slow
@pytest.mark.idrid
@pytest.mark.skipif(not (PEER / "bin").is_dir(), reason="python benchmarks/pipeline.py makes the peer's environment")
def test_pipeline(idrid_root: Path, tmp_path: Path) -> None:
    path = tmp_path / "pipeline.json"
    printed = run("pipeline.py", "--images", "2", "--rounds", "1", "--json", str(path), IDRID_ROOT=str(idrid_root))
    written = json.loads(path.read_text())
    assert list(written["ways"]) == ["ours", "decoded", "stock"]
    assert all(row["crops_per_second"] > 0 for row in written["ways"].values())
    assert written["peer"] == "onedl-mmsegmentation==1.4.2" and "ratio" in printed
