"""From photographs and a checkpoint to files: what is written, what the numbers mean, and what happens to bad input."""

from __future__ import annotations

import copy
import csv
import dataclasses
import errno
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image
from scipy import ndimage

from mmseg.apis import LesionInferencer, inference_model, init_model, write_results
from mmseg.apis.browse import browse_dataset
from mmseg.apis.folders import fingerprint, segment_files
from mmseg.apis.inputs import find_inputs, output_names
from mmseg.apis.predictions import score_predictions
from mmseg.apis.results import summarise, write_table
from mmseg.apis.sharing import Share
from mmseg.apis.statistics import training_statistics
from mmseg.datasets.reading import count_pages, read_image
from mmseg.engine import load_config
from mmseg.engine.checkpoint import read_checkpoint, write_checkpoint
from mmseg.structures import LESIONS, retina_mask
from mmseg.utils.errors import UserError

PALETTE = [(255, 64, 64), (64, 160, 255), (255, 220, 0), (0, 230, 150)]
SUFFIXES = ("_overlay.png", "_mask.png", "_MA.png", "_HE.png", "_EX.png", "_SE.png", ".json", ".npz")


@pytest.fixture(scope="module")
def photographs(tiny_data: Path) -> list[Path]:
    return sorted((tiny_data / "images/test").iterdir())


@pytest.fixture(scope="module")
def inferencer(speckled: Path) -> LesionInferencer:
    return LesionInferencer(speckled, device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def written(inferencer: LesionInferencer, photographs: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of all test photographs, two at a time; read only."""
    folder = tmp_path_factory.mktemp("out")
    assert segment_files(inferencer, photographs, folder, save_probabilities=True, batch_size=2).failed == []
    return folder


class TestResults:
    def test_all_files_and_no_others(self, written: Path, photographs: list[Path]) -> None:
        expected = {photograph.stem + suffix for photograph in photographs for suffix in SUFFIXES}
        assert {path.name for path in written.iterdir()} == expected

    def test_probabilities(self, written: Path, photographs: list[Path], inferencer: LesionInferencer) -> None:
        for photograph in photographs:
            with np.load(written / f"{photograph.stem}.npz") as file:
                assert file.files == ["probabilities"]
                probabilities = file["probabilities"]
            height, width = read_image(photograph).shape[:2]
            assert (probabilities.dtype, probabilities.shape) == (np.float32, (4, height, width))
            assert 0 <= probabilities.min() < 0.5 < probabilities.max() <= 1
            alone = next(iter(inferencer([photograph])))
            np.testing.assert_allclose(alone.probabilities, probabilities, atol=1e-5)

    def test_lesion_masks(self, written: Path, photographs: list[Path]) -> None:
        for photograph in photographs:
            probabilities = np.load(written / f"{photograph.stem}.npz")["probabilities"]
            for lesion, probability in zip(LESIONS, probabilities, strict=True):
                mask = np.array(Image.open(written / f"{photograph.stem}_{lesion}.png"))
                assert mask.dtype == np.uint8
                np.testing.assert_array_equal(mask, np.where(probability > 0.5, 255, 0))

    def test_index_map_is_a_palette_image(self, written: Path, photographs: list[Path]) -> None:
        for photograph in photographs:
            picture = Image.open(written / f"{photograph.stem}_mask.png")
            assert picture.mode == "P"
            assert picture.getpalette()[:15] == [0, 0, 0, *(value for colour in PALETTE for value in colour)]
            probabilities = np.load(written / f"{photograph.stem}.npz")["probabilities"]
            likeliest = probabilities.argmax(0) + 1
            expected = np.where(probabilities.max(0) > 0.5, likeliest, 0)
            np.testing.assert_array_equal(np.array(picture), expected)
        assert expected.any()

    def test_overlay_is_the_photograph_with_a_legend(self, written: Path, photographs: list[Path]) -> None:
        image, overlay = read_image(photographs[0]), read_image(written / f"{photographs[0].stem}_overlay.png")
        assert overlay.shape[0] > image.shape[0]
        assert overlay.shape[1] == image.shape[1]
        masks = np.stack([np.array(Image.open(written / f"{photographs[0].stem}_{lesion}.png")) for lesion in LESIONS])
        untouched = ~ndimage.binary_dilation(masks.any(0), iterations=3)
        np.testing.assert_array_equal(overlay[: image.shape[0]][untouched], image[untouched])

    def test_numbers(self, written: Path, photographs: list[Path], speckled: Path) -> None:
        for photograph in photographs:
            report = json.loads((written / f"{photograph.stem}.json").read_text())
            assert set(report) == {"image", "size", "lesions", "thresholds", "classes", "checkpoint", "made_from", "notice"}
            image = read_image(photograph)
            assert report["image"] == str(photograph)
            assert report["size"] == [image.shape[1], image.shape[0]]
            assert report["classes"] == list(LESIONS)
            assert report["thresholds"] == dict.fromkeys(LESIONS, 0.5)
            meta = read_checkpoint(speckled)["meta"]
            assert report["checkpoint"] == {key: meta[key] for key in ("iter", "init", "metrics", "versions")}
            for lesion in LESIONS:
                mask = np.array(Image.open(written / f"{photograph.stem}_{lesion}.png")) > 0
                numbers = report["lesions"][lesion]
                assert numbers["pixels"] == mask.sum()
                retina = retina_mask(image)
                assert numbers["retina_share"] == pytest.approx((mask & retina).sum() / retina.sum())
                assert numbers["regions"] == ndimage.label(mask, np.ones((3, 3)))[1]

    def test_the_share_of_a_photograph_without_a_retina(self, speckled: Path, tmp_path: Path) -> None:
        found = LesionInferencer(speckled, device="cpu", thresholds=0.0)(np.zeros((160, 240, 3), np.uint8))
        assert found.masks.all()
        assert {tuple(of_it.values()) for of_it in summarise(found).values()} == {(160 * 240, None, 1)}
        write_results(found, tmp_path, "black", {})
        table = write_table(tmp_path, ["black"])
        assert table is not None
        assert table.read_text(encoding="utf-8-sig").splitlines()[1] == f"black,MA,1,{160 * 240},,0.0,"

    def test_a_table_where_nothing_could_be_read(self, tmp_path: Path) -> None:
        table = write_table(tmp_path / "new/results", ["a", "b"])
        assert table is not None and len(table.read_text().splitlines()) == 1

    def test_a_table_of_an_earlier_version_goes_on(self, inferencer: LesionInferencer, tmp_path: Path) -> None:
        found = inferencer(np.zeros((160, 240, 3), np.uint8))
        write_results(found, tmp_path, "eye", {}, made_from=dict(settings=["0123456789", False]))
        (tmp_path / "summary.csv").write_text("photograph,lesion,regions,pixels,retina_share\neye,MA,1,2,0.5\n")
        assert write_table(tmp_path, []) is not None
        with (tmp_path / "summary.csv").open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == 4 and {row["settings"] for row in rows} == {"01234567"}

    def test_names_that_a_spreadsheet_would_calculate(self, inferencer: LesionInferencer, tmp_path: Path) -> None:
        for name in ("=1+1", "eye"):
            write_results(inferencer(np.zeros((160, 240, 3), np.uint8)), tmp_path, name, {})
            assert write_table(tmp_path, [name]) is not None  # the second time beside what an earlier table holds
        with (tmp_path / "summary.csv").open(encoding="utf-8-sig", newline="") as file:
            assert [row["photograph"] for row in csv.DictReader(file)] == ["'=1+1"] * 4 + ["eye"] * 4

    def test_the_photographs_own_resolution_counts(self, inferencer: LesionInferencer, photographs: list[Path]) -> None:
        large = cv2.resize(read_image(photographs[0]), (501, 333))
        found = next(iter(inferencer([large])))
        assert found.path is None
        assert found.probabilities.shape == (4, 333, 501)
        assert found.index_map.shape == (333, 501)


    def test_masks_of_another_model_go_with_its_report(self, inferencer: LesionInferencer, tmp_path: Path) -> None:
        """A model of fewer lesions leaves none of the others' masks beside its report."""
        found = inferencer(np.zeros((160, 240, 3), np.uint8))
        write_results(found, tmp_path, "eye", {})
        fewer = dataclasses.replace(found, classes=found.classes[:2], masks=found.masks[:2], palette=found.palette[:2])
        (tmp_path / "eye_notes.png").touch()
        write_results(fewer, tmp_path, "eye", {})
        assert {path.name for path in tmp_path.iterdir()} == {
            "eye.json", "eye_MA.png", "eye_HE.png", "eye_mask.png", "eye_overlay.png", "eye_notes.png"}

    def test_a_photograph_that_has_got_another_name_is_counted_once(self, inferencer: LesionInferencer, tmp_path: Path) -> None:
        found = inferencer(np.zeros((160, 240, 3), np.uint8))
        for name, photograph in (("left", "p1/left.jpg"), ("p1_left", "p1/left.jpg"), ("p2_left", "p2/left.jpg")):
            write_results(found, tmp_path, name, {}, made_from=dict(photograph=[photograph], settings=["0", False]))
        write_table(tmp_path, ["left"])
        write_table(tmp_path, ["p1_left", "p2_left"])
        with (tmp_path / "summary.csv").open(encoding="utf-8-sig", newline="") as file:
            assert [row["photograph"] for row in csv.DictReader(file)][::4] == ["p1_left", "p2_left"]

    def test_what_comes_before_a_file_that_cannot_be_read_is_given(
        self, inferencer: LesionInferencer, photographs: list[Path], tmp_path: Path
    ) -> None:
        (tmp_path / "bad.jpg").write_bytes(b"bad")
        results = inferencer([*photographs[:2], tmp_path / "bad.jpg", photographs[2]], batch_size=4)
        assert [next(results).path, next(results).path] == photographs[:2]
        with pytest.raises(UserError, match=r"bad\.jpg"):
            next(results)

    @pytest.mark.parametrize(("width", "told"), [(100, True), (130, False)])
    def test_a_preview_is_told(
        self, inferencer: LesionInferencer, capsys: pytest.CaptureFixture[str], width: int, told: bool
    ) -> None:
        """It is enlarged to the working size, 240x160 here, and nothing else would show it."""
        inferencer(np.full((width * 2 // 3, width, 3), 90, np.uint8))
        note = f"note: the image: has {width}x{width * 2 // 3} pixels and is enlarged to 2"
        assert (note in capsys.readouterr().err) is told

    def test_of_several_pages_the_first_is_taken_and_said(
        self, inferencer: LesionInferencer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        pages = [Image.fromarray(np.full((160, 240, 3), value, np.uint8)) for value in (90, 10)]
        pages[0].save(tmp_path / "two.tif", save_all=True, append_images=pages[1:])
        pages[0].save(tmp_path / "one.tif")
        assert inferencer(tmp_path / "two.tif").image[0, 0, 0] == 90
        assert f"note: {tmp_path / 'two.tif'}: has 2 pages, of which the first is taken" in capsys.readouterr().err
        odd = tmp_path / os.fsdecode(b"M\xfcller")  # a folder of an old archive, whose name is no UTF-8
        odd.mkdir()
        shutil.copy(tmp_path / "two.tif", odd / "two.tif")
        assert count_pages(odd / "two.tif") == 2 and count_pages(tmp_path / "one.tif") == 1
        inferencer(tmp_path / "one.tif")
        assert "pages" not in capsys.readouterr().err


class TestInputs:
    def test_file_folder_and_glob(self, tiny_data: Path, photographs: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
        folder = photographs[0].parent
        assert find_inputs([str(photographs[1])]) == [photographs[1]]
        assert find_inputs([str(folder)]) == photographs
        assert find_inputs([f"{folder}/*{photographs[0].stem[-1]}.jpg"]) == [photographs[0]]
        assert find_inputs([str(photographs[2]), str(folder)]) == [photographs[2], *photographs[:2]]  # none twice
        monkeypatch.chdir(folder)
        assert find_inputs(["*.jpg"]) == [Path(p.name) for p in photographs]

    def test_a_file_whose_name_looks_like_a_glob(self, tmp_path: Path, photographs: list[Path]) -> None:
        path = tmp_path / "left [1].jpg"
        shutil.copy(photographs[0], path)
        assert find_inputs([str(path)]) == [path]

    def test_what_lies_beside_the_photographs_is_counted(
        self, tmp_path: Path, photographs: list[Path], capsys: pytest.CaptureFixture[str]
    ) -> None:
        for folder in ("a", "b"):
            (tmp_path / folder).mkdir()
            shutil.copy(photographs[0], tmp_path / folder / "eye.jpg")
        (tmp_path / "scan.dcm").touch()
        with pytest.raises(UserError, match="no photographs in this folder, but 2 sub-folders and 1 other files; name"):
            find_inputs([str(tmp_path)])
        shutil.copy(photographs[0], tmp_path / "loose.jpg")
        assert find_inputs([str(tmp_path)]) == [tmp_path / "loose.jpg"]
        assert "2 sub-folders and 1 other files are passed over" in capsys.readouterr().err
        inside = [tmp_path / "a/eye.jpg", tmp_path / "b/eye.jpg"]
        assert find_inputs([f"{tmp_path}/*/"]) == find_inputs([str(tmp_path / "a"), str(tmp_path / "b")]) == inside
        assert capsys.readouterr().err == ""

    def test_a_patient_without_photographs_among_others(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        for name in ("a/eye.jpg", "b/report.pdf"):
            (tmp_path / name).parent.mkdir()
            (tmp_path / name).touch()
        assert find_inputs([str(tmp_path / "a"), str(tmp_path / "b")]) == [tmp_path / "a/eye.jpg"]
        assert capsys.readouterr().err == f"note: {tmp_path / 'b'}: no photographs in this folder, but 1 other files\n"
        with pytest.raises(UserError, match=r"none: no such file"):
            find_inputs([str(tmp_path / "a"), str(tmp_path / "none")])

    def test_photographs_at_any_depth(self, tmp_path: Path) -> None:
        inside = [tmp_path / name for name in ("a.jpg", "b/c.jpg", "b/d/e.jpg")]
        for path in inside:
            path.parent.mkdir(exist_ok=True)
            path.touch()
        assert find_inputs([f"{tmp_path}/**/*.jpg"]) == inside

    def test_nothing_there(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match=r"none\.jpg: no such file, folder or match"):
            find_inputs([str(tmp_path / "none.jpg")])
        with pytest.raises(UserError, match="no photographs in this folder"):
            find_inputs([str(tmp_path)])

    @pytest.mark.parametrize(("files", "names"), [
        (["a/x.jpg", "a/y.jpg"], ["x", "y"]),
        (["a/x.jpg", "a/x.png", "a/y.jpg"], ["x.jpg", "x.png", "y"]),
        (["a/IMG_1.JPG", "a/img_1.tif"], ["IMG_1.JPG", "img_1.tif"]),  # one name to Windows and macOS
        (["a/x.jpg", "b/x.jpg"], ["a_x.jpg", "b_x.jpg"]),
    ])
    def test_names_of_results(self, files: list[str], names: list[str]) -> None:
        assert output_names([Path(file) for file in files]) == names

    @pytest.mark.parametrize("files", [
        ["p/a/x.jpg", "q/a/x.jpg"], ["/p/a/x.jpg", "/q/a/x.jpg", "/q/x.jpg"], ["a/x.jpg", "a_x.jpg", "x.jpg/x.jpg"],
        ["x.jpg", "x.png", "x.jpg.png"], ["p/1/1_left.jpg", "p/1_1/left.jpg", "q/left.jpg", "q/1_left.jpg"],
    ])
    def test_no_result_overwrites_another(self, files: list[str]) -> None:
        names = output_names([Path(file) for file in files])
        assert len(set(names)) == len(files)
        assert not any("/" in name for name in names)

    def test_files_of_one_stem_keep_their_suffix(
        self, inferencer: LesionInferencer, tmp_path: Path, photographs: list[Path]
    ) -> None:
        shutil.copy(photographs[0], tmp_path / "eye.jpg")
        cv2.imwrite(str(tmp_path / "eye.png"), cv2.imread(str(photographs[1])))
        assert segment_files(inferencer, find_inputs([str(tmp_path)]), tmp_path / "out").failed == []
        assert {"eye.jpg.json", "eye.png.json"} <= {path.name for path in (tmp_path / "out").iterdir()}
        assert not (tmp_path / "out/eye.json").exists()

    def test_a_file_that_cannot_be_read_spoils_nothing(
        self, inferencer: LesionInferencer, tmp_path: Path, photographs: list[Path], capsys: pytest.CaptureFixture[str]
    ) -> None:
        files = [tmp_path / "a.jpg", tmp_path / "b.jpg", photographs[0]]
        files[0].write_bytes(b"not a picture")
        files[1].write_bytes(photographs[1].read_bytes()[:3000])
        assert segment_files(inferencer, files, tmp_path / "out", batch_size=2).failed == [str(file) for file in files[:2]]
        lines = capsys.readouterr().err.splitlines()
        assert [line.split(": ")[:2] for line in lines] == [["error", str(files[0])], ["error", str(files[1])]]
        assert (tmp_path / f"out/{photographs[0].stem}.json").is_file()
        assert len(list((tmp_path / "out").iterdir())) == len(SUFFIXES) - 1

    def test_a_strip_is_told_like_a_file_that_cannot_be_read(
        self, inferencer: LesionInferencer, tmp_path: Path, photographs: list[Path], capsys: pytest.CaptureFixture[str]
    ) -> None:
        cv2.imwrite(str(tmp_path / "line.png"), np.zeros((1, 400, 3), np.uint8))
        outcome = segment_files(inferencer, [tmp_path / "line.png", photographs[0]], tmp_path / "out")
        assert (outcome.failed, outcome.segmented) == ([str(tmp_path / "line.png")], 1)
        assert "line.png: got 400x1 pixels" in capsys.readouterr().err

    def test_results_do_not_stand_among_the_photographs(
        self, inferencer: LesionInferencer, tmp_path: Path, photographs: list[Path]
    ) -> None:
        shutil.copy(photographs[0], tmp_path / "eye.jpg")
        before = contents(tmp_path)
        with pytest.raises(UserError, match="expected another folder than that of the photographs"):
            segment_files(inferencer, [tmp_path / "eye.jpg"], tmp_path / "x" / "..", overwrite=True)
        assert contents(tmp_path) == before

    def test_results_of_another_photograph_are_not_replaced_unasked(
        self, inferencer: LesionInferencer, tmp_path: Path, photographs: list[Path]
    ) -> None:
        for folder, photograph in zip("ab", photographs, strict=False):
            (tmp_path / folder).mkdir()
            shutil.copy(photograph, tmp_path / folder / "eye.jpg")
        segment_files(inferencer, [tmp_path / "a/eye.jpg"], tmp_path / "out")
        before = contents(tmp_path / "out")
        told = r"results of other photographs, or other files, of the same name.*\n  eye: of .*/a/eye\.jpg, now .*/b/eye"
        with pytest.raises(UserError, match=told):
            segment_files(inferencer, [tmp_path / "b/eye.jpg"], tmp_path / "out")
        assert contents(tmp_path / "out") == before
        assert segment_files(inferencer, [tmp_path / "b/eye.jpg"], tmp_path / "out", overwrite=True).segmented == 1

    def test_a_file_of_another_program_is_not_replaced(
        self, inferencer: LesionInferencer, tmp_path: Path, photographs: list[Path]
    ) -> None:
        (tmp_path / f"{photographs[0].stem}.json").write_text('{"shapes": []}')
        before = contents(tmp_path)
        with pytest.raises(UserError, match="is no result of this program and would be replaced"):
            segment_files(inferencer, photographs[:1], tmp_path)
        assert contents(tmp_path) == before

    @pytest.mark.parametrize("ending", [".npz", "_MA.png"])
    def test_probabilities_and_masks_of_another_program_neither(
        self, inferencer: LesionInferencer, tmp_path: Path, photographs: list[Path], ending: str
    ) -> None:
        (tmp_path / f"{photographs[0].stem}{ending}").write_bytes(b"hours of work")
        before = contents(tmp_path)
        with pytest.raises(UserError, match=f"{photographs[0].stem}{ending}, which no .*json says to be a result"):
            segment_files(inferencer, photographs[:2], tmp_path)
        assert contents(tmp_path) == before

    def test_results_written_from_python_are_not_replaced_unasked(
        self, inferencer: LesionInferencer, tmp_path: Path, photographs: list[Path]
    ) -> None:
        for given in (photographs[1], read_image(photographs[1])):
            write_results(inferencer(given), tmp_path, photographs[0].stem, {})
            with pytest.raises(UserError, match=r": of (.*\.jpg|an array), now "):
                segment_files(inferencer, photographs[:1], tmp_path)

    def test_names_that_are_no_characters_and_names_that_are_too_long(
        self, inferencer: LesionInferencer, tmp_path: Path, photographs: list[Path], capsys: pytest.CaptureFixture[str]
    ) -> None:
        """A name of an old archive, in no encoding of today, spoils nothing; nor does one that leaves no room for an ending."""
        odd, long = tmp_path / os.fsdecode(b"\xe4.jpg"), tmp_path / f"{'x' * 245}.jpg"
        try:
            shutil.copy(photographs[0], odd)
        except OSError:
            pytest.skip("this file system takes only names of UTF-8")
        shutil.copy(photographs[0], long)
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # as the tool does
        outcome = segment_files(inferencer, [odd, long, photographs[1]], tmp_path / "out")
        assert (outcome.segmented, outcome.failed) == (2, [str(long)])
        assert "would have 257 bytes, at most 255 are possible" in capsys.readouterr().err
        assert json.loads((tmp_path / "out" / f"{odd.stem}.json").read_bytes())["image"] == str(odd)
        assert segment_files(inferencer, [odd, photographs[1]], tmp_path / "out").kept == 2
        for names in ([odd.stem], [photographs[1].stem]):  # the second time beside what the first has written
            table = write_table(tmp_path / "out", names)
        assert table is not None
        assert [line.split(b",")[0] for line in table.read_bytes().splitlines()[1:]] == [b"\xe4"] * 4 + [
            os.fsencode(photographs[1].stem)] * 4

    def test_links_in_the_folder_are_not_followed(
        self, inferencer: LesionInferencer, tmp_path: Path, photographs: list[Path]
    ) -> None:
        name = photographs[0].stem
        victim = tmp_path / "victim"
        victim.write_text("keep")
        out = tmp_path / "out"
        (out / f".{name}.part").mkdir(parents=True)
        for link in (f".{name}.part/{name}.json", f".{name}.part/{name}_MA.png", ".summary.csv.part"):
            (out / link).symlink_to(victim)
        assert segment_files(inferencer, photographs[:1], out).segmented == 1
        write_table(out, [name])
        assert victim.read_text() == "keep"
        folder = tmp_path / "elsewhere"
        folder.mkdir()
        (out / f".{photographs[1].stem}.part").symlink_to(folder)
        assert segment_files(inferencer, photographs[1:2], out).segmented == 1
        assert folder.is_dir() and not list(folder.iterdir())

    def test_an_unwritable_folder(self, inferencer: LesionInferencer, tmp_path: Path, photographs: list[Path]) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(UserError, match="cannot be written"):
            segment_files(inferencer, photographs[:1], tmp_path / "file" / "out")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_float32_is_exact_where_a_gpu_would_round(
    inferencer: LesionInferencer, photographs: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    cudnn, seen = torch.backends.cudnn, []
    monkeypatch.setattr(cudnn, "allow_tf32", True)
    monkeypatch.setattr(cudnn, "benchmark", True)
    hook = inferencer.model.backbone.register_forward_hook(lambda *_: seen.append((cudnn.allow_tf32, cudnn.benchmark)))
    inferencer(photographs[0])
    inference_model(inferencer.model, photographs[0])
    hook.remove()
    assert seen == [(False, False)] * 2
    assert (cudnn.allow_tf32, cudnn.benchmark) == (True, True)


class TestGoingOn:
    """A folder that is segmented again: what is done, whole and made in the same way is kept, nothing else."""

    @pytest.fixture(scope="class")
    def segmented(self, inferencer: LesionInferencer, photographs: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
        folder = tmp_path_factory.mktemp("segmented")
        assert segment_files(inferencer, photographs, folder).segmented == 3
        return folder

    @pytest.fixture
    def done(self, segmented: Path, tmp_path: Path) -> Path:
        return Path(shutil.copytree(segmented, tmp_path / "done"))

    def again(self, inferencer: LesionInferencer, files: list[Path], folder: Path, **options: Any) -> tuple[int, int]:
        outcome = segment_files(inferencer, files, folder, **options)
        assert outcome.failed == []
        return outcome.segmented, outcome.kept

    def test_what_is_done_is_kept(self, inferencer: LesionInferencer, photographs: list[Path], done: Path) -> None:
        before = contents(done)
        assert self.again(inferencer, photographs, done) == (0, 3)
        assert self.again(inferencer, photographs, done, overwrite=True) == (3, 0)
        assert contents(done) == before
        link = done.with_name("link")
        link.symlink_to(photographs[0].parent)
        assert self.again(inferencer, [link / photographs[0].name], done) == (1, 0)  # by another way to the same photograph

    def test_a_drive_that_has_gone_fails_no_photograph(
        self, inferencer: LesionInferencer, photographs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """All that are left would be called unreadable; the tool ends with a code that asks for another attempt."""

        def read(model: Any, path: Path) -> np.ndarray:
            raise UserError(f"{path}: cannot be read") from OSError(errno.EIO, "Input/output error")

        monkeypatch.setattr("mmseg.apis.folders.load_photograph", read)
        with pytest.raises(UserError, match="cannot be read"):
            segment_files(inferencer, photographs, tmp_path)

    @pytest.mark.parametrize("suffix", ["_EX.png", "_overlay.png", ".json"])
    def test_what_is_not_whole_is_done_again(
        self, inferencer: LesionInferencer, photographs: list[Path], done: Path, suffix: str
    ) -> None:
        before = contents(done)
        (done / f"{photographs[1].stem}{suffix}").unlink()
        if suffix == ".json":  # as a process leaves it that is killed while it moves results
            (done / f".{photographs[1].stem}.part").mkdir()
        assert self.again(inferencer, photographs, done) == (1, 2)
        assert contents(done) == before

    def test_without_overlays(self, inferencer: LesionInferencer, photographs: list[Path], done: Path) -> None:
        before = contents(done)
        pictures = list(done.glob("*_overlay.png"))
        assert self.again(inferencer, photographs, done, overlay=False) == (0, 3)
        assert contents(done) == before  # one too many does no harm
        assert self.again(inferencer, photographs, done, overlay=False, overwrite=True) == (3, 0)
        assert {path: before[path] for path in before if not path.endswith("_overlay.png")} == contents(done)
        assert self.again(inferencer, photographs, done, overlay=False) == (0, 3)
        (done / f"{photographs[0].stem}.npz").write_bytes(b"of another checkpoint")
        assert self.again(inferencer, photographs[:1], done, overwrite=True, overlay=False) == (1, 0)
        assert not list(done.glob("*.npz"))
        assert len(pictures) == 3 and not any(path.exists() for path in pictures)
        assert self.again(inferencer, photographs, done) == (3, 0)
        assert contents(done) == before

    def test_half_a_report_is_none(self, inferencer: LesionInferencer, photographs: list[Path], done: Path) -> None:
        report = done / f"{photographs[0].stem}.json"
        for text in (report.read_text()[:40], '{"lesions": {}, "checkpoint": {}}', ""):
            report.write_text(text)
            assert self.again(inferencer, photographs, done) == (1, 2)

    def test_other_settings_do_not_count_as_done(
        self, inferencer: LesionInferencer, photographs: list[Path], done: Path
    ) -> None:
        strict = LesionInferencer(inferencer.model, thresholds={"MA": 0.9}, dtype="float32")
        assert self.again(strict, photographs, done) == (3, 0)
        rough = LesionInferencer(inferencer.model, thresholds={"MA": 0.9}, dtype="bfloat16")
        assert self.again(rough, photographs[:1], done) == (1, 0)

    def test_probabilities_are_not_lost_unasked(
        self, inferencer: LesionInferencer, photographs: list[Path], done: Path
    ) -> None:
        assert self.again(inferencer, photographs, done, save_probabilities=True) == (3, 0)
        before = contents(done)
        assert self.again(inferencer, photographs, done) == (0, 3)  # more than was asked for does no harm
        rough = LesionInferencer(inferencer.model, dtype="bfloat16")  # as the tool computes without probabilities, where it can
        assert self.again(rough, photographs, done) == (0, 3)
        strict = LesionInferencer(inferencer.model, thresholds={"MA": 0.9}, dtype="float32")
        with pytest.raises(UserError, match=r"\.npz, the probabilities of an earlier run, which would go"):
            segment_files(strict, photographs, done)
        assert contents(done) == before
        assert self.again(strict, photographs, done, save_probabilities=True) == (3, 0)
        assert self.again(inferencer, photographs, done, overwrite=True) == (3, 0)
        assert not list(done.glob("*.npz"))

    def test_other_weights_do_not_count_as_done(
        self, inferencer: LesionInferencer, trained: Path, photographs: list[Path], done: Path
    ) -> None:
        with pytest.MonkeyPatch.context() as patch:
            before = fingerprint(inferencer)
            patch.setattr("mmseg.apis.folders.__version__", "another")
            assert fingerprint(inferencer) != before
        other = LesionInferencer(trained, device="cpu", dtype="float32")
        assert fingerprint(other) != fingerprint(inferencer)
        assert self.again(other, photographs, done) == (3, 0)

    def test_another_photograph_of_that_name_does_not_count(
        self, inferencer: LesionInferencer, photographs: list[Path], tmp_path: Path
    ) -> None:
        eye = tmp_path / "eye.jpg"
        for photograph in photographs[:2]:
            shutil.copy(photograph, eye)
            assert self.again(inferencer, [eye], tmp_path / "out") == (1, 0)
        assert self.again(inferencer, [eye], tmp_path / "out") == (0, 1)

    @pytest.mark.parametrize("fails", ["_write_mask", "_write_indexed", "json.dumps", "Path.replace"])
    def test_a_writing_that_breaks_off_leaves_no_report(
        self, inferencer: LesionInferencer, photographs: list[Path], done: Path, fails: str
    ) -> None:
        before = contents(done)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(f"mmseg.apis.results.{fails}", lambda *_, **__: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                segment_files(inferencer, photographs[:1], done, overwrite=True)
        if fails == "Path.replace":
            assert not (done / f"{photographs[0].stem}.json").exists()
        else:
            assert before.items() <= {p.name: p.read_bytes() for p in done.iterdir() if p.is_file()}.items()
        assert self.again(inferencer, photographs, done, overwrite=True) == (3, 0)
        assert contents(done) == before

    def test_the_first_process_lists_for_all(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Another that lists the folder a moment later may find one more, and every second file would be another."""
        group: Any = object()

        def broadcast(listed: list[list[Path]], src: int, group: Any) -> None:
            assert src == 0 and group is not None
            listed[0] = [Path("n.jpg"), Path("a.jpg")]

        monkeypatch.setattr(torch.distributed, "broadcast_object_list", broadcast)
        assert Share(1, 2, group=group).agree_on([Path("a.jpg")]) == [Path("n.jpg"), Path("a.jpg")]
        assert Share().agree_on([Path("a.jpg")]) == [Path("a.jpg")]

    def test_processes_share_without_gap_or_overlap(
        self, inferencer: LesionInferencer, photographs: list[Path], done: Path, tmp_path: Path
    ) -> None:
        whole, folder = contents(done), tmp_path / "shared"
        assert [self.again(inferencer, photographs, folder, share=(i, 2)) for i in range(2)] == [(2, 0), (1, 0)]
        assert contents(folder) == whole


@pytest.mark.parametrize("options", [
    {"test_dataloader.dataset.size": (120, 80)}, {"model.test_cfg.flips": ["horizontal"]}, {"data_preprocessor.mean": [0.0] * 3},
])
def test_what_changes_results_changes_the_fingerprint(
    inferencer: LesionInferencer, speckled: Path, options: dict[str, Any]
) -> None:
    other = LesionInferencer(init_model(None, speckled, "cpu", options), dtype="float32")
    assert fingerprint(other) != fingerprint(inferencer)


@pytest.mark.parametrize(("dtype", "native", "computed"), [
    ("auto", True, torch.bfloat16), ("auto", False, torch.float32), ("bfloat16", False, torch.bfloat16),
    ("float32", True, torch.float32),
])
def test_in_which_type_the_network_computes(
    inferencer: LesionInferencer, photographs: list[Path], monkeypatch: pytest.MonkeyPatch, dtype: str, native: bool,
    computed: torch.dtype,
) -> None:
    monkeypatch.setattr("mmseg.apis.inferencer.has_native_bfloat16", lambda kind: native)
    seen = set()
    hook = inferencer.model.backbone.layer1[0].conv1.register_forward_hook(lambda *given: seen.add(given[2].dtype))
    try:
        LesionInferencer(inferencer.model, dtype=dtype)(photographs[0])
    finally:
        hook.remove()
    assert seen == {computed}


class TestThresholds:
    def test_by_lesion(self, speckled: Path, photographs: list[Path]) -> None:
        inferencer = LesionInferencer(speckled, thresholds={"MA": 0.3, "HE": 1.0})
        found = next(iter(inferencer(photographs[:1])))
        assert found.thresholds == {"MA": 0.3, "HE": 1.0, "EX": 0.5, "SE": 0.5}
        limits = np.float32([0.3, 1.0, 0.5, 0.5])[:, None, None]
        np.testing.assert_array_equal(found.masks, found.probabilities > limits)
        assert not found.masks[1].any()
        seen = np.where(found.probabilities > limits, found.probabilities, -1)
        np.testing.assert_array_equal(found.index_map, np.where(seen.max(0) >= 0, seen.argmax(0) + 1, 0))
        assert 2 not in found.index_map

    def test_the_checkpoints_count_where_none_are_given(self, speckled: Path, tmp_path: Path) -> None:
        checkpoint = read_checkpoint(speckled)
        checkpoint["meta"]["thresholds"] = {"MA": 0.2}
        write_checkpoint(checkpoint, tmp_path / "a.pth")
        assert LesionInferencer(tmp_path / "a.pth", thresholds={"SE": 0.7}).thresholds == {
            "MA": 0.2, "HE": 0.5, "EX": 0.5, "SE": 0.7,
        }

    @pytest.mark.parametrize(("thresholds", "message"), [
        ({"MAA": 0.3}, "got 'MAA', expected one of MA, HE, EX, SE; did you mean 'MA'"),
        ({"MA": 1.5}, "got MA=1.5, expected a probability from 0 to 1"),
        ({"MA": float("nan")}, "expected a probability"),
        ([0.1, 0.2, 0.3, 0.4], r"got MA=\[0.1, 0.2, 0.3, 0.4\], expected a probability from 0 to 1"),
        ("0.4", "got MA='0.4', expected a probability from 0 to 1"),
    ])
    def test_mistakes(self, speckled: Path, thresholds: Any, message: str) -> None:
        with pytest.raises(UserError, match=message):
            LesionInferencer(speckled, thresholds=thresholds)


    @pytest.mark.parametrize("value", [np.float32(0.25), torch.tensor(0.25), 1])
    def test_numbers_of_any_kind(self, speckled: Path, value: Any) -> None:
        assert LesionInferencer(speckled, device="cpu", thresholds={"MA": value}).thresholds["MA"] == float(value)


class TestInitModel:
    def test_without_a_config(self, speckled: Path, inferencer: LesionInferencer) -> None:
        model = init_model(checkpoint=speckled, device="cpu")
        assert not model.training
        assert model.dataset_meta == dict(classes=LESIONS, palette=PALETTE)
        assert model.checkpoint_meta["iter"] == 4
        assert model.cfg.model.type == "SDCNet"
        weights = read_checkpoint(speckled)["state_dict"]
        assert all(torch.equal(tensor, weights[name]) for name, tensor in model.state_dict().items())

    def test_with_a_config_alone(self, run_config: Callable[..., Config], tmp_path: Path) -> None:
        model = init_model(run_config(tmp_path), device="cpu", cfg_options={"model.test_cfg.thresholds": 0.3})
        assert model.checkpoint_meta == {}
        assert model.test_cfg["thresholds"] == 0.3
        assert model.dataset_meta["classes"] == LESIONS

    def test_mistakes(self, speckled: Path, demo_config: Path) -> None:
        with pytest.raises(ValueError, match="neither config nor checkpoint"):
            init_model()
        with pytest.raises(UserError, match="device: got 'tpu'"):
            init_model(checkpoint=speckled, device="tpu")
        with pytest.raises(UserError, match="does not fit the model"):
            init_model(demo_config, speckled, device="cpu")

    def test_inference_model(self, inferencer: LesionInferencer, photographs: list[Path]) -> None:
        """mmsegmentation's form: a path, an array, or several, giving data samples."""
        model = inferencer.model
        one = inference_model(model, photographs[0])
        array = inference_model(model, read_image(photographs[0]))
        several = inference_model(model, [str(photographs[0]), photographs[1]])
        expected = next(iter(inferencer(photographs[:1]))).probabilities
        assert len(several) == 2
        for sample in (one, array, several[0]):
            np.testing.assert_allclose(sample.probabilities.data.numpy(), expected, atol=1e-5)
        sizes: list[int] = []
        handle = model.backbone.register_forward_pre_hook(lambda _, given: sizes.append(len(given[0])))
        inference_model(model, [photographs[0]] * 3)
        handle.remove()
        assert sizes == [1, 1, 1]  # of thirty at once nothing would have room
        assert one.pred_sem_seg.data.dtype == torch.uint8
        assert one.pred_sem_seg.data.shape == (1, *expected.shape[1:])


class TestBrowse:
    def test_pictures_of_the_training_crops(self, run_config: Callable[..., Config], tmp_path: Path) -> None:
        written = browse_dataset(run_config(tmp_path), tmp_path / "out", 5)
        assert len(written) == 5
        assert sorted((tmp_path / "out").iterdir()) == sorted(written)
        assert [path.name[:7] for path in written] == ["0000_0_", "0000_1_", "0001_0_", "0001_1_", "0002_0_"]
        picture = read_image(written[0])
        assert picture.shape[0] > 64
        assert picture.shape[1] == 64
        assert len({path.read_bytes() for path in written}) == 5

    def test_mistakes(self, run_config: Callable[..., Config], tmp_path: Path, demo_config: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(UserError, match="cannot be written"):
            browse_dataset(run_config(tmp_path), tmp_path / "file" / "out", 1)
        with pytest.raises(UserError, match=r"model\.type"):
            browse_dataset(load_config(demo_config, {"model.type": "SDCNett"}), tmp_path, 1)
        config = run_config(tmp_path)
        config.model.data_preprocessor = dict(type="SegDataPreProcessor")
        config.pop("data_preprocessor")
        with pytest.raises(UserError, match="data_preprocessor: got 'SegDataPreProcessor', expected a LesionDataPreprocessor"):
            browse_dataset(config, tmp_path, 1)

    def test_a_preprocessor_may_stand_in_the_model(self, run_config: Callable[..., Config], tmp_path: Path) -> None:
        config = run_config(tmp_path)
        config.model.data_preprocessor = config.data_preprocessor
        config.pop("data_preprocessor")
        assert len(browse_dataset(config, tmp_path / "out", 1)) == 1

    def test_of_two_preprocessors_that_of_the_model_counts(self, run_config: Callable[..., Config], tmp_path: Path) -> None:
        config = run_config(tmp_path)
        config.model.data_preprocessor = copy.deepcopy(config.data_preprocessor)
        config.model.data_preprocessor.train_transforms[0].crop_size = (96, 96)
        (written,) = browse_dataset(config, tmp_path / "out", 1)
        assert read_image(written).shape[1] == 96

    @pytest.mark.parametrize("use", [
        lambda config, folder: browse_dataset(config, folder, 1), lambda config, _: training_statistics(config),
        lambda config, folder: score_predictions(config, folder, folder),
    ])
    def test_a_part_of_a_config_is_none(
        self, use: Callable[..., Any], run_config: Callable[..., Config], tmp_path: Path
    ) -> None:
        config = run_config(tmp_path)
        for key in [key for key in config if key.endswith(("_dataloader", "_cfg", "_evaluator")) or key == "optim_wrapper"]:
            config.pop(key)
        with pytest.raises(UserError, match=r"got no (train|test)_dataloader.*, expected a whole config"):
            use(config, tmp_path)
