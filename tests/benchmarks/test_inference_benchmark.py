"""``benchmarks/inference.py``: in which layouts it finds its photograph, and that it runs."""

from __future__ import annotations

import json
import runpy
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import releases

from mmseg.structures import LESIONS


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch, repo: Path) -> ModuleType:
    monkeypatch.syspath_prepend(str(repo / "benchmarks"))
    import inference

    return inference


@pytest.mark.parametrize("write_release", [releases.write_idrid, releases.write_tidy, releases.write_label_maps])
def test_the_first_test_photograph_of_every_layout(
    benchmark: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write_release: Callable[[Path], None]
) -> None:
    write_release(tmp_path)
    monkeypatch.setenv("IDRID_ROOT", str(tmp_path))
    path, truth = benchmark.photograph(None)
    assert path.name == "IDRiD_55.jpg" and path.is_file() and tuple(truth) == LESIONS
    for lesion, mask in truth.items():
        np.testing.assert_array_equal(mask, releases.picture("test", 0)[1].get(lesion, np.zeros(releases.SHAPE)))


def test_another_photograph(benchmark: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    releases.write_tidy(tmp_path)
    given = tmp_path / "images/test/IDRiD_56.jpg"
    assert list(benchmark.photograph(given)[1]) == ["MA", "HE", "EX"]
    monkeypatch.chdir(given.parent)
    assert list(benchmark.photograph(Path(given.name))[1]) == ["MA", "HE", "EX"]
    shutil.copy(given, tmp_path / "alone.jpg")
    assert benchmark.photograph(tmp_path / "alone.jpg") == (tmp_path / "alone.jpg", {})


def test_it_runs(
    benchmark: ModuleType, run_config: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    releases.write_idrid(tmp_path / "data")
    run_config(tmp_path).dump(tmp_path / "tiny.py")
    monkeypatch.setenv("IDRID_ROOT", str(tmp_path / "data"))
    record = tmp_path / "record.json"
    words = ["inference.py", str(tmp_path / "tiny.py"), "--repeats", "1", "--device", "cpu", "--json", str(record)]
    monkeypatch.setattr(sys, "argv", words)
    benchmark.main()
    assert "file to masks" in capsys.readouterr().out
    assert list(json.loads(record.read_text())["network"]["seconds"]) == ["plain", "float32", "default"]


def test_a_data_set_that_is_not_there_is_told_in_one_line(
    benchmark: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("IDRID_ROOT", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["inference.py"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(benchmark.__file__), run_name="__main__")
    error = capsys.readouterr().err
    assert ended.value.code == 2 and error.startswith("error: IDRiD (test): no images") and "Traceback" not in error
