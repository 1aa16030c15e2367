"""``benchmarks/demo_summary.py``: what it takes for a network that works."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

COLOUR = {"MA": 0.05, "HE": 0.14, "EX": 0.3, "SE": 0.13}


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch, repo: Path) -> ModuleType:
    monkeypatch.syspath_prepend(str(repo / "benchmarks"))
    import demo_summary

    return demo_summary


@pytest.mark.parametrize(("dice", "missed"), [
    ({"MA": 0.3, "HE": 0.5, "EX": 0.6, "SE": 0.5}, []),
    ({"MA": 0.29, "HE": 0.49, "EX": 0.59, "SE": None}, [
        "MA: got Dice 0.290, expected 0.3 and 2 x 0.050", "HE: got Dice 0.490, expected 0.5 and 2 x 0.140",
        "EX: got Dice 0.590, expected 0.5 and 2 x 0.300", "SE: got Dice 0.000, expected 0.5 and 2 x 0.130",
    ]),
])
def test_what_is_asked(
    benchmark: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    dice: dict[str, float | None], missed: list[str],
) -> None:
    (tmp_path / "test").mkdir()
    (tmp_path / "output_img").mkdir()
    (tmp_path / "output_img/eye_overlay.png").touch()
    scores = {lesion: {"Dice": value} for lesion, value in (dice | {"mean": 0.475}).items()}
    (tmp_path / "test/metrics.json").write_text(json.dumps(scores))
    (tmp_path / "test/colour_threshold.json").write_text(json.dumps({name: {"dice": value} for name, value in COLOUR.items()}))
    monkeypatch.setattr(sys, "argv", ["demo_summary.py", str(tmp_path)])
    if missed:
        with pytest.raises(SystemExit) as ended:
            benchmark.main()
        assert ended.value.code == 1
    else:
        benchmark.main()
    captured = capsys.readouterr()
    assert [line.strip() for line in captured.err.splitlines()[2:]] == missed
    table = [line.split() for line in captured.out.split("ratio\n")[1].splitlines()[:5]]
    assert table[0] == ["MA", f"{dice['MA']:.3f}", "0.050", f"{dice['MA'] / 0.05:.1f}"] and table[4] == ["mean", "0.475"]
    assert f"overlay     {tmp_path / 'output_img/eye_overlay.png'}" in captured.out
