"""The colour baseline against a brute-force loop over every rule."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest

from mmseg.datasets.synthetic import make_dataset
from mmseg.structures import LESIONS, retina_mask

PATH = Path(__file__).parents[2] / "benchmarks/colour_threshold.py"


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    """The script as a module, wherever pytest is started."""
    spec = importlib.util.spec_from_file_location("colour_threshold", PATH)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["colour_threshold"] = module
    spec.loader.exec_module(module)
    return module


def brute_force(values: np.ndarray, lesion: np.ndarray) -> list[tuple[float, str, str, int]]:
    """Dice of every rule, by its definition; ``values`` is ``(N, 3)``, ``lesion`` is bool ``(N,)``."""
    rules = []
    for channel, name in enumerate("RGB"):
        for threshold in range(256):
            for side in (">=", "<="):
                found = values[:, channel] >= threshold if side == ">=" else values[:, channel] <= threshold
                rules.append((2 * (found & lesion).sum() / (found.sum() + lesion.sum()), name, side, threshold))
    return rules


@pytest.mark.parametrize(("direction", "channel"), [(1, 0), (-1, 1), (1, 2), (-1, 2), (0, 0)])
def test_best_threshold_equals_brute_force(benchmark: ModuleType, direction: int, channel: int) -> None:
    rng = np.random.default_rng(10 * direction + channel + 50)
    values = np.clip(rng.normal(120, 40, (900, 3)), 0, 255).astype(np.uint8)
    lesion = direction * values[:, channel].astype(float) + rng.normal(0, 25, 900) > direction * 120 + 30
    image, mask = values.reshape(30, 30, 3), lesion.reshape(30, 30)
    everywhere = np.ones((30, 30), bool)
    best = benchmark.best_threshold(benchmark.count_values(image, mask), benchmark.count_values(image, everywhere))
    rules = brute_force(values, lesion)
    highest = max(rule[0] for rule in rules)
    assert best.dice == pytest.approx(highest, abs=1e-15)
    assert (best.channel, best.side, best.threshold) in {rule[1:] for rule in rules if rule[0] == highest}
    assert best.percent == pytest.approx(100 * lesion.mean())


@pytest.mark.parametrize("value", [0, 255])
def test_extreme_values_are_found(benchmark: ModuleType, value: int) -> None:
    image = np.full((20, 20, 3), 100, np.uint8)
    mask = np.zeros((20, 20), bool)
    mask[3:6, 3:6] = True
    image[mask] = value
    best = benchmark.best_threshold(benchmark.count_values(image, mask), benchmark.count_values(image, ~mask | mask))
    assert best.dice == 1.0 and best.side == ("<=" if value == 0 else ">=")


def test_split_is_pooled_and_counts_only_the_field_of_view(benchmark: ModuleType) -> None:
    rng = np.random.default_rng(5)
    samples, values, lesions = [], [], []
    for level in (60, 150):
        disc = np.zeros((90, 120), np.uint8)
        cv2.circle(disc, (60, 45), 42, 1, -1)
        image = (disc[..., None] * np.clip(rng.normal(level, 9, (90, 120, 3)), 30, 255)).astype(np.uint8)
        mask = np.zeros((90, 120), bool)
        mask[40:46, 50:70] = True
        image[mask] = np.minimum(image[mask] + 25, 255)
        mask[0:3, 0:3] = True
        samples.append((image, {"EX": mask}))
        values.append(image[disc > 0])
        lesions.append(mask[disc > 0])
    best = benchmark.score_split(samples)
    expected = max(rule[0] for rule in brute_force(np.concatenate(values), np.concatenate(lesions)))
    assert best["EX"].dice == pytest.approx(expected, abs=1e-12)
    assert list(best) == list(LESIONS) and np.isnan(best["MA"].dice)


def test_field_of_view_is_the_disc_with_its_dark_spots(benchmark: ModuleType) -> None:
    disc = np.zeros((200, 300), np.uint8)
    cv2.circle(disc, (150, 100), 120, 1, -1)
    image = np.full((200, 300, 3), 4, np.uint8)
    image[disc > 0] = (170, 80, 20)
    cv2.circle(image, (150, 100), 25, (3, 3, 3), -1)
    image[5:9, 3:7] = 200
    field = retina_mask(image)
    assert np.count_nonzero(field != (disc > 0)) < 0.01 * disc.sum()
    assert field[100, 150] and not field[:10, :10].any()
    assert not retina_mask(np.zeros_like(image)).any()


def test_command_line(benchmark: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_dataset(tmp_path / "data", 0, 3, (360, 240))
    benchmark.main([str(tmp_path / "data"), "--json", str(tmp_path / "new" / "out.json")])
    printed = capsys.readouterr().out
    written = json.loads((tmp_path / "new" / "out.json").read_text())
    assert list(written) == list(LESIONS)
    for name in LESIONS:
        assert f"{name:<8}{written[name]['dice']:>8.4f}" in printed


@pytest.mark.slow
def test_colour_alone_does_badly_on_the_default_data(benchmark: ModuleType, tmp_path: Path) -> None:
    make_dataset(tmp_path / "data", 0, 8)
    best = benchmark.score_split(benchmark._read(tmp_path / "data", "test"))
    assert best["MA"].dice < 0.15
    assert max(rule.dice for rule in best.values()) < 0.25


@pytest.mark.parametrize("broken", [False, True])
def test_missing_or_broken_images_are_user_errors(
    benchmark: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str], broken: bool
) -> None:
    if broken:
        (tmp_path / "images/test").mkdir(parents=True)
        (tmp_path / "images/test/a.jpg").write_bytes(b"no picture")
    with pytest.raises(SystemExit) as caught:
        benchmark.main([str(tmp_path)])
    assert caught.value.code == 2
    assert ("a.jpg" if broken else "make_synthetic_dataset.py") in capsys.readouterr().err
