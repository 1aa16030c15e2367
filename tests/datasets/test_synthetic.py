"""The synthetic data set: the same every time, written whole or not at all, and as IDRiD in layout and shares."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

import mmseg.datasets.synthetic.dataset as dataset_module
from mmseg.datasets.synthetic import contents, generate_image, make_dataset
from mmseg.datasets.synthetic.canvas import fill, outline, smooth_noise
from mmseg.datasets.synthetic.dataset import SETTINGS_FILE
from mmseg.structures import LESIONS
from mmseg.utils.errors import UserError

ROOT = Path(__file__).parents[2]
SMALL = (240, 160)
MEDIUM = (720, 480)


def snapshot(root: Path) -> dict[str, bytes]:
    """Every file below a folder, by its relative path."""
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small data set: five images in train, eight in test."""
    root = tmp_path_factory.mktemp("synthetic") / "data"
    assert make_dataset(root, 5, 8, SMALL, seed=3, workers=1)
    return root


@pytest.fixture(scope="module")
def eyes() -> list[tuple[np.ndarray, dict[str, np.ndarray]]]:
    """Eight images of a middle size."""
    return [generate_image(0, "train", index, MEDIUM) for index in range(8)]


def test_layout_is_idrids(made: Path) -> None:
    names = {path.stem for path in (made / "images/train").iterdir()}
    assert names == {f"synthetic_{number:02d}" for number in range(1, 6)}
    names = {path.stem for path in (made / "images/test").iterdir()}
    assert names == {f"synthetic_{number:02d}" for number in range(6, 14)}
    assert {path.name for path in (made / "masks/test").iterdir()} == {*LESIONS, "OD"}
    assert not [path for path in made.parent.iterdir() if path != made], "the folder it was made in is still there"


def test_files_hold_what_was_generated(made: Path) -> None:
    for split, index, number in (("train", 0, 1), ("train", 3, 4), ("test", 7, 13)):
        image, masks = generate_image(3, split, index, SMALL)
        read = cv2.imread(str(made / f"images/{split}/synthetic_{number:02d}.jpg"), cv2.IMREAD_COLOR_RGB)
        assert read.shape == image.shape == (160, 240, 3)
        assert np.abs(read.astype(int) - image).mean() < 3, "not the picture, or not RGB"
        files = {path.parent.name: path for path in made.glob(f"masks/{split}/*/synthetic_{number:02d}_*.png")}
        assert set(files) == set(masks)
        for kind, path in files.items():
            assert path.name == f"synthetic_{number:02d}_{kind}.png"
            mask = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
            assert mask.dtype == np.uint8 and set(np.unique(mask)) == {0, 255}
            assert np.array_equal(mask == 255, masks[kind])


def test_pixels_depend_on_the_settings_alone(made: Path, tmp_path: Path) -> None:
    make_dataset(tmp_path / "again", 5, 8, SMALL, seed=3, workers=3)
    assert snapshot(tmp_path / "again") == snapshot(made)


def test_every_key_makes_another_image() -> None:
    keys = [(0, "train", 0), (0, "train", 1), (0, "test", 0), (1, "train", 0)]
    images = [generate_image(*key, SMALL)[0] for key in keys]
    assert len({image.tobytes() for image in images}) == len(keys)


def test_a_complete_data_set_is_left_alone(made: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in made.rglob("*")}
    assert make_dataset(made, 5, 8, SMALL, seed=3) is False
    assert {path: path.stat().st_mtime_ns for path in made.rglob("*")} == before


def test_an_interrupted_run_leaves_nothing_and_is_done_again(tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    root = tmp_path / "data"
    with pytest.raises(KeyboardInterrupt):
        make_dataset(root, 4, 0, SMALL, progress=stop)
    assert list(tmp_path.iterdir()) == []
    seen: list[tuple[int, int]] = []
    assert make_dataset(root, 4, 0, SMALL, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert json.loads((root / SETTINGS_FILE).read_text())["num_train"] == 4


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    assert make_dataset(tmp_path / "deep" / "empty", 1, 0, SMALL)
    (tmp_path / "there").mkdir()
    assert make_dataset(tmp_path / "there", 1, 0, SMALL)


def test_other_settings_are_refused(made: Path) -> None:
    before = snapshot(made)
    with pytest.raises(UserError, match=r"other settings.*'seed': 3.*expected.*'seed': 4.*--out"):
        make_dataset(made, 5, 8, SMALL, seed=4)
    assert snapshot(made) == before


def test_a_foreign_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(UserError, match="no synthetic data set"):
        make_dataset(tmp_path, 1, 0, SMALL)
    assert snapshot(tmp_path) == {"thesis.tex": b"x"}


@pytest.mark.parametrize("damaged", ["", "[1]", "{"])
def test_a_damaged_settings_file_is_refused(tmp_path: Path, damaged: str) -> None:
    (tmp_path / SETTINGS_FILE).write_text(damaged)
    with pytest.raises(UserError, match="already holds"):
        make_dataset(tmp_path, 1, 0, SMALL)


def test_a_file_in_the_way_is_a_user_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for root in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(UserError, match=r"file.*--out"):
            make_dataset(root, 1, 0, SMALL)


def test_no_permission_is_a_user_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(dataset_module, "_write", refuse)
    with pytest.raises(UserError, match=r"cannot write .*data: Permission denied.*--out DIR"):
        make_dataset(tmp_path / "data", 1, 0, SMALL)
    assert list(tmp_path.iterdir()) == []


def test_settings_out_of_range_are_named_all_at_once(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"num_test = -1.*width = 10.*seed = -2.*workers = 0"):
        make_dataset(tmp_path / "data", 3, -1, (10, 200), seed=-2, workers=0)
    with pytest.raises(UserError, match=r"num_train \+ num_test = 0, expected at least 1"):
        make_dataset(tmp_path / "data", 0, 0)


def test_lesions_are_present_as_often_as_in_idrid() -> None:
    held = [contents(index) for index in range(16)]
    assert [index for index, kinds in enumerate(held) if not kinds] == [7, 15]
    assert sum("SE" in kinds for kinds in held) == 8
    assert sum("HE" not in kinds for kinds in held) == 3, "one without, and the two healthy eyes"
    assert all(list(kinds) == [name for name in LESIONS if name in kinds] for kinds in held)


def test_masks_are_those_of_the_contents(eyes: list) -> None:
    for index, (_, masks) in enumerate(eyes):
        assert set(masks) == {*contents(index), "OD"}
        assert all(mask.dtype == bool and mask.shape == (480, 720) and mask.any() for mask in masks.values())


@pytest.mark.slow
def test_lesion_sizes_and_shares_are_those_of_idrid() -> None:
    shares: dict[str, list[float]] = {kind: [] for kind in LESIONS}
    widths: dict[str, list[float]] = {kind: [] for kind in LESIONS}
    for index in range(8):
        _, masks = generate_image(1, "train", index, (1440, 960))
        for kind in LESIONS:
            mask = masks.get(kind, np.zeros((960, 1440), bool))
            shares[kind].append(100 * mask.mean())
            areas = cv2.connectedComponentsWithStats(mask.astype(np.uint8))[2][1:, cv2.CC_STAT_AREA]
            widths[kind] += list(2 * np.sqrt(areas / np.pi))
    for kind, low, high in (("MA", 0.05, 0.25), ("HE", 0.4, 2.0), ("EX", 0.4, 2.0), ("SE", 0.1, 0.6)):
        assert low < np.mean(shares[kind]) < high, kind
    for kind, expected in (("MA", 5.7), ("HE", 15), ("EX", 5.7), ("SE", 34)):
        assert 0.7 * expected < np.median(widths[kind]) < 1.4 * expected, kind


def test_lesions_differ_from_what_lies_round_them_in_the_right_direction(eyes: list) -> None:
    for kind, lowest, highest in (("MA", 0.4, 0.85), ("HE", 0.4, 0.85), ("EX", 1.25, 2.2), ("SE", 1.07, 2.0)):
        ratios = []
        for image, masks in eyes:
            if kind in masks:
                mask = masks[kind].astype(np.uint8)
                ring = cv2.dilate(mask, np.ones((9, 9))) > cv2.dilate(mask, np.ones((3, 3)))
                ratios.append(np.median(image[..., 1][masks[kind]]) / np.median(image[..., 1][ring]))
        assert lowest < np.median(ratios) < highest, (kind, ratios)


def test_the_field_of_view_is_a_disc_cut_at_top_and_bottom(eyes: list) -> None:
    for image, masks in eyes:
        bright = image[..., 0] > 25
        assert 0.66 < bright.mean() < 0.72
        assert bright[0].any() and bright[-1].any() and not bright[:, 0].any() and not bright[:, -1].any()
        assert image[~bright].max() <= 25
        assert all(image[mask].max(1).min() > 10 for mask in masks.values()), "a lesion outside the field"


def test_images_differ_in_brightness_and_colour(eyes: list) -> None:
    medians = np.array([np.median(image[image[..., 0] > 25], axis=0) for image, _ in eyes])
    assert (np.diff(medians, axis=1) < 0).all(), "a fundus has R > G > B"
    assert np.ptp(medians[:, 1]) > 20 and np.ptp(medians[:, 0]) > 40


@pytest.mark.parametrize("radius", [2.5, 6.0, 20.0])
def test_outline_keeps_its_area(radius: float) -> None:
    rng = np.random.default_rng(0)
    areas = []
    for _ in range(40):
        canvas = np.zeros((120, 120), np.uint8)
        fill(canvas, outline(rng, 60 + 60j + rng.uniform(), radius, 1.5, 0.7, 0.06))
        areas.append((canvas > 127).sum())
    assert np.mean(areas) == pytest.approx(np.pi * radius**2, rel=0.1)


def test_smooth_noise_is_standard_and_smooth() -> None:
    noise = smooth_noise(np.random.default_rng(0), (600, 800), 12)
    assert noise.dtype == np.float32 and abs(noise.mean()) < 0.1 and 0.8 < noise.std() < 1.3
    assert np.abs(np.diff(noise, axis=0)).mean() < 0.2


def run_tool(*arguments: str, python: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *python, str(ROOT / "tools/make_synthetic_dataset.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, check=False)


def test_tool_writes_reports_and_refuses(
    call: Callable[..., int], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "made"
    arguments = ("--out", str(out), "--train", "1", "--test", "1", "--size", "240", "160")
    assert call("make_synthetic_dataset.py", *arguments) == 0
    first = capfd.readouterr()
    assert first.out == f"wrote {out}\n" and "2/2 images" in first.err
    assert call("make_synthetic_dataset.py", *arguments, "--seed", "5") == 2
    refused = capfd.readouterr()
    assert refused.err.startswith("error: ") and "Traceback" not in refused.err


def test_tool_help_loads_nothing_heavy() -> None:
    shown = run_tool("--help", python=("-X", "importtime"))
    assert "--out DIR" in shown.stdout and "argparse" in shown.stderr
    assert not [name for name in ("numpy", "cv2", "torch", "mmengine") if f" {name}\n" in shown.stderr]
