"""A checkpoint for others: the same model, and nothing of the machine it was trained on."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mmseg.apis import LesionInferencer
from mmseg.engine.checkpoint import read_checkpoint, write_checkpoint
from mmseg.engine.publishing import publish_checkpoint
from mmseg.engine.resuming import check_resumable
from mmseg.utils.errors import UserError


def probabilities(checkpoint: Path) -> np.ndarray:
    picture = np.random.default_rng(0).integers(0, 256, (96, 128, 3), np.uint8)
    return LesionInferencer(checkpoint, device="cpu", dtype="float32")(picture).probabilities


def test_the_model_is_the_same(speckled: Path, tmp_path: Path) -> None:
    path, _ = publish_checkpoint(speckled, tmp_path / "weights" / "net.pth")
    assert path.name == f"net-{hashlib.sha256(path.read_bytes()).hexdigest()[:8]}.pth"
    assert list(path.parent.iterdir()) == [path]
    np.testing.assert_array_equal(probabilities(path), probabilities(speckled))


def test_half_is_half_the_size_and_nearly_the_same(speckled: Path, tmp_path: Path) -> None:
    whole, _ = publish_checkpoint(speckled, tmp_path / "whole.pth")
    path, _ = publish_checkpoint(speckled, tmp_path / "half.pth", half=True)
    weights = read_checkpoint(path)["state_dict"]
    assert {t.dtype for t in weights.values() if t.ndim > 1} == {torch.float16}
    assert torch.float16 not in {t.dtype for t in weights.values() if t.ndim < 2}
    assert path.stat().st_size < 0.7 * whole.stat().st_size  # of a narrow network much is names and configuration
    difference = np.abs(probabilities(path) - probabilities(speckled))
    assert 0 < difference.max() < 0.02


def test_thresholds_that_were_chosen_afterwards(speckled: Path, tmp_path: Path) -> None:
    """They go before those of the configuration inside, whatever that names."""
    checkpoint = read_checkpoint(speckled)
    config = json.loads(checkpoint["meta"]["config_json"])
    config["model"]["test_cfg"] = dict(thresholds=[0.5, 0.5, 0.5, 0.75])
    checkpoint["meta"] |= dict(config_json=json.dumps(config), thresholds=dict(MA=0.5, HE=0.5, EX=0.5, SE=0.75))
    write_checkpoint(checkpoint, tmp_path / "a.pth")
    path, lines = publish_checkpoint(tmp_path / "a.pth", tmp_path / "net.pth", thresholds={"MA": 0.25})
    expected = dict(MA=0.25, HE=0.5, EX=0.5, SE=0.75)
    assert read_checkpoint(path)["meta"]["thresholds"] == LesionInferencer(path, device="cpu").thresholds == expected
    assert "thresholds: MA 0.25, HE 0.5, EX 0.5, SE 0.75" in lines
    path, _ = publish_checkpoint(speckled, tmp_path / "net.pth", thresholds=0.125)
    assert LesionInferencer(path, device="cpu").thresholds == dict.fromkeys(expected, 0.125)


@pytest.mark.parametrize(("given", "told"), [
    ({"MAA": 0.5}, "thresholds: got 'MAA', expected one of MA, HE, EX, SE; did you mean 'MA'"),
    ({"MA": 1.5}, "thresholds: got MA=1.5, expected a probability from 0 to 1"),
])
def test_thresholds_that_are_none(speckled: Path, tmp_path: Path, given: dict[str, float], told: str) -> None:
    with pytest.raises(UserError, match=told):
        publish_checkpoint(speckled, tmp_path / "net.pth", thresholds=given)
    checkpoint = read_checkpoint(speckled)
    del checkpoint["meta"]["thresholds"]
    write_checkpoint(checkpoint, tmp_path / "a.pth")
    with pytest.raises(UserError, match=r"a.pth: holds no thresholds to be changed"):
        publish_checkpoint(tmp_path / "a.pth", tmp_path / "net.pth", thresholds=0.5)


def test_it_cannot_be_resumed_from(speckled: Path, tmp_path: Path) -> None:
    path, _ = publish_checkpoint(speckled, tmp_path / "net.pth")
    checkpoint = read_checkpoint(path)
    assert checkpoint.keys() == {"state_dict", "meta"}
    with pytest.raises(UserError, match="cannot be resumed; start from its weights by --load-from"):
        check_resumable(checkpoint, path)


def test_no_folder_of_the_machine_is_left(speckled: Path, tmp_path: Path) -> None:
    checkpoint = read_checkpoint(speckled)
    config: dict[str, Any] = json.loads(checkpoint["meta"]["config_json"])
    config |= dict(data_root="/home/zoe/IDRID", other=[r"C:\Users\zoe\DDR", "a/b"], work_dir="w", load_from=None)
    checkpoint["meta"]["config_json"] = json.dumps(config)
    write_checkpoint(checkpoint, tmp_path / "private.pth")
    path, lines = publish_checkpoint(tmp_path / "private.pth", tmp_path / "net.pth")
    text = read_checkpoint(path)["meta"]["config_json"]
    found = json.loads(text)
    assert (found["data_root"], found["other"]) == ("IDRID", ["DDR", "a/b"])
    assert "work_dir" not in found and "zoe" not in text and '"/' not in text
    assert {"config.data_root: /home/zoe/IDRID became IDRID", "config.work_dir: left out"} <= set(lines)
    assert r"config.other.0: C:\Users\zoe\DDR became DDR" in lines


def test_what_float16_cannot_hold_is_told(speckled: Path, tmp_path: Path) -> None:
    checkpoint = read_checkpoint(speckled)
    name = next(name for name, tensor in checkpoint["state_dict"].items() if tensor.ndim == 4)
    checkpoint["state_dict"][name].fill_(1e5)
    write_checkpoint(checkpoint, tmp_path / "large.pth")
    with pytest.raises(UserError, match=f"large.pth: {name} holds numbers up to 1e.05, which float16 cannot; leave out half"):
        publish_checkpoint(tmp_path / "large.pth", tmp_path / "net.pth", half=True)
    assert not list(tmp_path.glob("net*"))


def test_another_ending_is_told(speckled: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"net.zip: got a name that ends in '.zip', expected one that ends in '.pth'"):
        publish_checkpoint(speckled, tmp_path / "net.zip")
