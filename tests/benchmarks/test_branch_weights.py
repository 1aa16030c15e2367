"""Where DSWM's weights lie, against NumPy, and what a network scores without them."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.structures import PixelData

from mmseg.apis import init_model
from mmseg.structures import SegDataSample


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch, repo: Path) -> ModuleType:
    monkeypatch.syspath_prepend(str(repo / "benchmarks"))
    import branch_weights

    return branch_weights


@pytest.fixture
def model(run_config: Callable[..., Any], trained: Path, tmp_path: Path) -> Any:
    """With weights that differ from pixel to pixel."""
    model = init_model(run_config(tmp_path), trained, device="cpu").eval()
    torch.manual_seed(0)
    for stage in model.refine_head.stages:
        torch.nn.init.normal_(stage.spatial[1].weight, std=0.3)
    return model


@torch.no_grad()
def test_where_they_lie(benchmark: ModuleType, model: Any) -> None:
    image, truth = torch.randn(1, 3, 64, 96), (torch.rand(2, 128, 192) < 0.2).to(torch.uint8)
    truth[1] = 0  # a lesion that is nowhere
    expected = [pair[0] for pair in model.branch_weights(image)]
    histogram = benchmark.WeightHistogram(model.refine_head.stages, ("MA", "SE"))
    model(image)
    histogram.after_test_iter(None, 0, outputs=[SegDataSample(gt_sem_seg=PixelData(data=truth))])
    found = histogram.quantiles().numpy()
    for stage, weight in enumerate(expected):
        enlarged = F.interpolate(weight, size=(128, 192))[0, 0].numpy()
        assert float(histogram.sums[stage] / histogram.pixels[stage]) == pytest.approx(float(weight.mean()), abs=1e-6)
        for region, where in ((0, truth[0] == 1), (2, truth[0] == 0)):
            literal = np.quantile(enlarged[where.numpy()], benchmark.SHARES)
            np.testing.assert_allclose(found[stage, region], literal, atol=2 / benchmark.BINS)
            assert literal[2] - literal[0] > 0.05  # the comparison can fail
    assert np.isnan(found[:, 1]).all()


@torch.no_grad()
def test_fixed_ones_are_the_same_everywhere(benchmark: ModuleType, model: Any) -> None:
    image = torch.randn(1, 3, 64, 96)
    learnt = model(image)
    benchmark.fix_weights(model.refine_head.stages, [0.25, 0.5, 0.875])
    for (shallow, deep), weight in zip(model.branch_weights(image), (0.25, 0.5, 0.875), strict=True):
        torch.testing.assert_close(shallow, torch.full_like(shallow, weight))
        torch.testing.assert_close(deep, torch.full_like(deep, 1 - weight))
    assert not torch.allclose(model(image), learnt, atol=1e-3)


def test_a_checkpoint_is_scored_in_three_ways(
    benchmark: ModuleType, run_config: Callable[..., Any], speckled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str], briefly: None,
) -> None:
    run_config(tmp_path).dump(tmp_path / "tiny.py")
    arguments = [tmp_path / "tiny.py", speckled, "--out", tmp_path / "out", "--json", tmp_path / "record.json"]
    monkeypatch.setattr(sys, "argv", ["branch_weights.py", *map(str, arguments)])
    benchmark.main()
    record = json.loads((tmp_path / "record.json").read_text())
    assert list(record["scores"]) == ["learnt", "mean", "half"] and list(record["w_s"]) == ["stride 16", "stride 8", "stride 4"]
    assert record["scores"]["learnt"] == json.loads((tmp_path / "out/learnt/metrics.json").read_text())
    assert "| learnt | " in capsys.readouterr().out


def test_a_network_without_stages_is_told(
    benchmark: ModuleType, run_config: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run_config(tmp_path).dump(tmp_path / "tiny.py")
    model = SimpleNamespace(refine_head=None)
    monkeypatch.setattr(benchmark, "build_tester", lambda *_: SimpleNamespace(bare_model=model))
    monkeypatch.setattr(sys, "argv", ["branch_weights.py", str(tmp_path / "tiny.py"), "x.pth", "--out", str(tmp_path)])
    with pytest.raises(SystemExit):
        benchmark.main()
    assert "expected an SDCNet" in capsys.readouterr().err
