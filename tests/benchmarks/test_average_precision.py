"""The benchmark's comparison, on a small image."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest


def test_both_sides_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[2] / "benchmarks"))
    from average_precision import KINDS, compare, make_image

    assert "_record" in sys.modules
    for kind in KINDS.values():
        probabilities, truth = make_image(*kind, size=(180, 270))
        assert 0.005 < truth.float().mean() < 0.02
        found = compare(probabilities, truth, repeats=1)
        assert found["error"] <= found["computed_bound"] + 1e-9
        assert found["computed_bound"] < 1e-3
        assert found["seconds"] > 0 and found["average_precision"] > 0
