"""Any program's predictions are scored as the model's own are, and what does not fit is told at once."""

from __future__ import annotations

import copy
import csv
import io
import json
import re
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image

from mmseg.apis import LesionInferencer, build_runner, score_predictions
from mmseg.apis.folders import segment_files
from mmseg.structures import LESIONS
from mmseg.utils.errors import UserError

pytestmark = pytest.mark.usefixtures("brief")


@pytest.fixture(scope="module")
def photographs(tiny_data: Path) -> list[Path]:
    return sorted((tiny_data / "images/test").iterdir())


@pytest.fixture(scope="module")
def config(run_config: Callable[..., Config], tmp_path_factory: pytest.TempPathFactory) -> Config:
    return run_config(tmp_path_factory.mktemp("w"))


@pytest.fixture(scope="module")
def archives(speckled: Path, photographs: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What ``inference.py --save-probabilities`` writes; read only."""
    folder = tmp_path_factory.mktemp("npz")
    inferencer = LesionInferencer(speckled, device="cpu", dtype="float32")
    assert segment_files(inferencer, photographs, folder, save_probabilities=True).failed == []
    return folder


def test_the_round_trip_gives_the_models_own_test(
    run_config: Callable[..., Config], speckled: Path, archives: Path, tmp_path: Path
) -> None:
    config = run_config(tmp_path / "w", load_from=str(speckled), test_evaluator__out_dir=str(tmp_path / "model"))
    build_runner(config).test()
    score_predictions(config, archives, tmp_path / "files")
    scores = json.loads((tmp_path / "files/metrics.json").read_text())
    assert scores["mean"]["AP"] > 0 and scores["mean"]["Dice"] > 0
    for name in ("metrics.json", "per_image.csv"):
        assert (tmp_path / "files" / name).read_text() == (tmp_path / "model" / name).read_text()
    of_files, of_model = (json.loads((tmp_path / name / "details.json").read_text()) for name in ("files", "model"))
    assert of_files.pop("test_set") == dict(type="SyntheticFundusDataset", split="test")
    assert of_files == of_model
    assert of_files["tuned"] is None  # files have no model
    page = (tmp_path / "files/report.html").read_text()
    assert "best for these images" in page and "of the model" not in page


def test_one_data_set_whose_images_have_names(config: Config, archives: Path, tmp_path: Path) -> None:
    mixed = copy.deepcopy(config)
    mixed.test_dataloader.dataset = dict(type="ConcatDataset", datasets=[config.test_dataloader.dataset] * 2)
    with pytest.raises(UserError, match=r"test_dataloader.dataset: got a ConcatDataset, expected one data set of lesions"):
        score_predictions(mixed, archives, tmp_path)


def write_maps(archives: Path, photographs: list[Path], folder: Path) -> None:
    """8-bit pictures of the probabilities."""
    for photograph in photographs:
        probabilities = np.load(archives / f"{photograph.stem}.npz")["probabilities"]
        for lesion, probability in zip(LESIONS, probabilities, strict=True):
            (folder / lesion).mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.round(255 * probability).astype(np.uint8)).save(folder / lesion / f"{photograph.stem}.png")


def test_8_bit_maps_have_no_aupr11(
    config: Config, archives: Path, photographs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_maps(archives, photographs, tmp_path / "maps")
    score_predictions(config, tmp_path / "maps", tmp_path / "8 bit")
    assert re.search("(?m)^AUPR11 n/a: .*8-bit PNGs", capsys.readouterr().out)
    score_predictions(config, archives, tmp_path / "32 bit")
    assert "AUPR11 n/a" not in capsys.readouterr().out
    coarse, fine = (json.loads((tmp_path / name / "metrics.json").read_text()) for name in ("8 bit", "32 bit"))
    for lesion in LESIONS:
        assert coarse[lesion]["AUPR11"] is None
        assert coarse[lesion]["AP"] == pytest.approx(fine[lesion]["AP"], abs=0.02)
        assert coarse[lesion]["sensitivity"] == pytest.approx(fine[lesion]["sensitivity"], abs=0.02)
    assert "8-bit" in json.loads((tmp_path / "8 bit/details.json").read_text())["null"]["AUPR11"]
    assert "8-bit PNGs" in (tmp_path / "8 bit/report.html").read_text()


def test_every_problem_of_archives_is_told_at_once(
    config: Config, archives: Path, photographs: list[Path], tmp_path: Path
) -> None:
    names = [photograph.stem for photograph in photographs]
    shutil.copy(archives / f"{names[0]}.npz", tmp_path / "other.npz")
    np.savez(tmp_path / f"{names[1]}.npz", probabilities=np.zeros((4, 7, 9), np.float32))
    np.savez(tmp_path / f"{names[2]}.npz", probabilities=np.zeros((4, 160, 240), np.float16))
    with pytest.raises(UserError) as told:
        score_predictions(config, tmp_path, tmp_path / "out")
    text = str(told.value)
    assert "do not fit the 3 images of the set" in text
    assert f"1 missing: {names[0]}.npz" in text
    assert "1 of no image of the set: other.npz" in text
    assert f"{names[1]}.npz: got float32 (4, 7, 9), expected probabilities float32 (4, 160, 240)" in text
    assert f"{names[2]}.npz: got float16 (4, 160, 240), expected" in text
    assert not (tmp_path / "out").exists()


def test_every_problem_of_maps_is_told_at_once(config: Config, archives: Path, photographs: list[Path], tmp_path: Path) -> None:
    write_maps(archives, photographs, tmp_path)
    names = [photograph.stem for photograph in photographs]
    shutil.rmtree(tmp_path / "SE")
    Image.new("L", (5, 6)).save(tmp_path / f"MA/{names[0]}.png")
    Image.new("RGB", (240, 160)).save(tmp_path / f"HE/{names[1]}.png")
    (tmp_path / f"EX/{names[2]}.png").write_bytes(b"no picture")
    with pytest.raises(UserError) as told:
        score_predictions(config, tmp_path, tmp_path / "out")
    text = str(told.value)
    assert f"3 missing: SE/{names[0]}.png; SE/{names[1]}.png; SE/{names[2]}.png" in text
    assert f"3 unfit: MA/{names[0]}.png: got mode L of 5x6, expected 8-bit grey of 240x160" in text
    assert f"HE/{names[1]}.png: got mode RGB of 240x160" in text
    assert f"EX/{names[2]}.png: cannot be read" in text


def test_archives_that_would_fill_the_memory(
    config: Config, archives: Path, photographs: list[Path], tmp_path: Path
) -> None:
    """numpy reads a member named as the array before the one that a program would look at."""
    for photograph in photographs:
        shutil.copy(archives / f"{photograph.stem}.npz", tmp_path)
    with zipfile.ZipFile(tmp_path / f"{photographs[0].stem}.npz", "a") as archive:
        archive.writestr("probabilities", b"anything")
    whole = (archives / f"{photographs[1].stem}.npz").read_bytes()
    with zipfile.ZipFile(tmp_path / f"{photographs[1].stem}.npz", "w") as archive, zipfile.ZipFile(io.BytesIO(whole)) as sound:
        archive.writestr("probabilities.npy", sound.read("probabilities.npy") + bytes(2**17))
    with pytest.raises(UserError) as caught:
        score_predictions(config, tmp_path, tmp_path / "out")
    assert f"{photographs[0].stem}.npz: got probabilities, probabilities" in str(caught.value)
    assert f"{photographs[1].stem}.npz: got {4 * 4 * 160 * 240 + 128 + 2**17} bytes" in str(caught.value)


def test_other_mistakes(
    config: Config, archives: Path, photographs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UserError, match=r"no such folder, expected <image>\.npz"):
        score_predictions(config, tmp_path / "none", tmp_path / "out")
    with pytest.raises(UserError, match="got neither, expected"):
        score_predictions(config, tmp_path, tmp_path / "out")
    mixed = tmp_path / "mixed"
    write_maps(archives, photographs, mixed)
    shutil.copy(archives / f"{photographs[0].stem}.npz", mixed)
    with pytest.raises(UserError, match="got both"):
        score_predictions(config, mixed, tmp_path / "out")
    bad = tmp_path / "bad"
    bad.mkdir()
    for photograph in photographs:
        np.savez(bad / f"{photograph.stem}.npz", probabilities=np.full((4, 160, 240), 1.5, np.float32))
    with pytest.raises(UserError, match=r"the prediction of .*\.jpg: got a probability that is negative, above 1"):
        score_predictions(config, bad, tmp_path / "out")
    for number, photograph in enumerate(photographs):
        np.savez(bad / f"{photograph.stem}.npz", probabilities=np.full((4, 160, 240), 0.5, np.float32))
        (bad / f"{photograph.stem}.json").write_text(json.dumps(dict(made_from=dict(settings=["ab"[number > 0], False]))))
    score_predictions(config, bad, tmp_path / "out")
    assert f"warning: {bad}: these are results of 2 checkpoints or settings, as their .json files say" in capsys.readouterr().err
    ones = tmp_path / "ones"
    for lesion in LESIONS:
        (ones / lesion).mkdir(parents=True)
        for photograph in photographs:
            Image.fromarray(np.eye(160, 240, dtype=np.uint8)).save(ones / lesion / f"{photograph.stem}.png")
    with pytest.raises(UserError, match="got the values 0 and 1 alone, expected 0 to 255: write 255 where a lesion is"):
        score_predictions(config, ones, tmp_path / "out")
    for photograph in photographs:
        np.savez(bad / f"{photograph.stem}.npz", logits=np.zeros(3))
    with pytest.raises(UserError, match="got logits, expected probabilities"):
        score_predictions(config, bad, tmp_path / "out")


@pytest.mark.idrid
@pytest.mark.slow
def test_the_truth_itself_scores_1(idrid_root: Path, repo: Path, tmp_path: Path) -> None:
    """Real images at full resolution, two of them."""
    from mmseg.apis import register_all_modules
    from mmseg.engine import load_config
    from mmseg.registry import DATASETS

    config = load_config(
        repo / "configs/sdcnet/sdcnetplus_r18-d8_512x512_40k_IDRiD.py",
        {"test_dataloader.dataset.indices": 2, "test_dataloader.dataset.data_root": str(idrid_root)},
    )
    register_all_modules()
    dataset = DATASETS.build(config.test_dataloader.dataset)
    for i in range(2):
        sample = dataset[i]["data_samples"]
        np.savez_compressed(
            tmp_path / f"{Path(sample.img_path).stem}.npz", probabilities=sample.gt_sem_seg.data.numpy().astype(np.float32)
        )
    score_predictions(config, tmp_path, tmp_path / "out")
    scores = json.loads((tmp_path / "out/metrics.json").read_text())
    assert scores["mean"] == dict.fromkeys(scores["mean"], 1.0)
    with (tmp_path / "out/per_image.csv").open() as file:
        assert all(row["regions"] == row["regions_found"] and row["false_alarms"] == "0" for row in csv.DictReader(file))
    assert (tmp_path / "out/report.html").stat().st_size < 20e6
