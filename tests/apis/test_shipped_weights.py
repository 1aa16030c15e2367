"""The trained network that comes with the repository."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest

from mmseg.apis import LesionInferencer
from mmseg.engine.checkpoint import read_checkpoint
from mmseg.structures import LESIONS

ROOT = Path(__file__).resolve().parents[2]
WEIGHTS = sorted((ROOT / "weights").glob("*.pth"))


@pytest.mark.parametrize("path", WEIGHTS, ids=lambda path: path.stem)
class TestWeights:
    def test_the_name_is_that_of_the_bytes(self, path: Path) -> None:
        assert path.stem.rpartition("-")[2] == hashlib.sha256(path.read_bytes()).hexdigest()[:8]

    def test_they_hold_what_is_said_and_no_folder_of_a_machine(self, path: Path) -> None:
        checkpoint = read_checkpoint(path)
        meta = checkpoint["meta"]
        assert checkpoint.keys() == {"state_dict", "meta"}
        assert (meta["config_name"], meta["iter"], meta["init"]) == ("sdcnetplus_r18-d8_512x512_40k_IDRiD", 10000, "scratch")
        assert meta["thresholds"] == pytest.approx({"MA": 0.15, "HE": 0.3, "EX": 0.16, "SE": 0.48})
        assert '"/' not in meta["config_json"]

    def test_they_segment(self, path: Path, tiny_data: Path) -> None:
        found = LesionInferencer(path, device="cpu")(next((tiny_data / "images/test").iterdir()))
        assert found.classes == LESIONS and found.masks.shape == (4, 160, 240)

    def test_the_scores_in_the_documents_are_those_that_were_recorded(self, path: Path) -> None:
        record = json.loads((ROOT / "benchmarks/results/idrid_test_sdcnetplus_10k.json").read_text())
        assert f"weights/{path.name}" in record["command"]
        scores = record["metrics"]
        shown = [f"{100 * scores['mean']['AP']:.1f}"]
        shown += [f"{100 * scores[lesion]['AUPR11']:.1f}" for lesion in ("mean", "MA", "HE", "EX", "SE")]
        shown += [f"{100 * scores['mean'][name]:.1f}" for name in ("Dice", "IoU")]
        for name in ("README.md", "README_zh-CN.md"):
            (row,) = re.findall(r"(?m)^\| \*\*SDC-Net\+\*\*.*$", (ROOT / name).read_text(encoding="utf-8"))
            assert [cell.strip(" *") for cell in row.strip("|").split("|")][3:] == shown


def test_there_is_one() -> None:
    assert len(WEIGHTS) == 1
