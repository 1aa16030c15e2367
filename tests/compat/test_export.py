"""Exported files say what the network says, at sizes it was not traced at, and run where PyTorch is not."""

from __future__ import annotations

import copy
import json
import runpy
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from mmseg.apis import LesionInferencer, init_model
from mmseg.compat.export import FORMATS, OPSET, check_packages, export_model
from mmseg.compat.export_check import Expected, check_sizes, compare, open_onnx, open_torch
from mmseg.compat.export_network import ExportNetwork, reduce_by_area, trace
from mmseg.datasets.reading import read_image
from mmseg.engine.checkpoint import write_checkpoint
from mmseg.models.segmentors.base import BaseSegmentor
from mmseg.structures import LESIONS
from mmseg.utils.errors import UserError

onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: ONNX export is not tested")
pytest.importorskip("onnxscript", reason="onnxscript is not installed: ONNX export is not tested")

SHALLOW = {
    "model__backbone__num_stages": 2, "model__backbone__strides": (1, 2), "model__backbone__dilations": (1, 2),
    "model__backbone__out_indices": (0, 1), "model__decode_head__0__in_index": 1, "model__decode_head__0__in_channels": 16,
    "model__decode_head__1__fuse_channels": (16,), "model__auxiliary_head": None,
}
"""Two stages of the backbone and one fusion: every kind of layer, and an export in seconds."""

SIZES = [(1, 160, 240), (1, 161, 239), (3, 101, 94), (2, 64, 64), (1, 37, 50), (1, 40, 403)]
"""None of them is the traced one."""


def shake(model: BaseSegmentor) -> BaseSegmentor:
    """Let every branch matter, also those that start at zero, and the probabilities spread."""
    torch.manual_seed(0)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
            torch.nn.init.uniform_(module.weight, 0.5, 1)
    for name, parameter in model.named_parameters():
        if "gain" in name or name.endswith(("g1", "g2")):
            torch.nn.init.constant_(parameter, 0.5)
        elif "spatial.1.weight" in name:
            torch.nn.init.normal_(parameter, std=0.3)
        elif name.endswith("conv_seg.conv_out.weight"):
            torch.nn.init.normal_(parameter, std=1.0)
        elif name.endswith("conv_seg.conv_out.bias"):
            torch.nn.init.zeros_(parameter)
    return model.eval()


@pytest.fixture(scope="module")
def checkpoint(run_config: Callable[..., Any], tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small network that sees every lesion in about half of the photographs' pixels."""
    folder = tmp_path_factory.mktemp("small")
    config = run_config(folder, **SHALLOW)
    model: Any = shake(init_model(config, device="cpu"))
    photograph = torch.from_numpy(read_image(next((tiny_data / "images/test").iterdir()))).permute(2, 0, 1)
    with torch.no_grad():
        logits = model(model.data_preprocessor(dict(inputs=[photograph]))["inputs"])
        model.refine_head.conv_seg.conv_out.bias -= logits.flatten(2).median(2).values[0]
    meta = dict(
        iter=7, seed=3, init="scratch", config_name="small_config", config_json=json.dumps(config.to_dict()),
        classes=list(LESIONS), palette=[[255, 0, 0]] * 4,
        thresholds={"MA": 0.45, "HE": 0.5, "EX": 0.52, "SE": 0.55}, versions={"torch": "x"})
    write_checkpoint(dict(state_dict=model.state_dict(), meta=meta), folder / "small.pth")
    return folder / "small.pth"


@pytest.fixture(scope="module")
def model(checkpoint: Path) -> BaseSegmentor:
    return init_model(checkpoint=checkpoint, device="cpu")


@pytest.fixture(scope="module")
def program(model: BaseSegmentor) -> torch.export.ExportedProgram:
    return trace(ExportNetwork(model))


@pytest.fixture(scope="module")
def traced_once(model: BaseSegmentor, program: torch.export.ExportedProgram) -> Iterator[None]:
    """Tracing takes seconds, and gives the same program for this model every time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mmseg.compat.export.trace", lambda network: program if network.model is model else trace(network))
        yield


@pytest.fixture(scope="module")
def exported(model: BaseSegmentor, traced_once: None, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return export_model(model, tmp_path_factory.mktemp("exported"), "small", ["onnx"], sizes=[(1, 96, 131)])["onnx"]


def random_image(batch: int, height: int, width: int) -> torch.Tensor:
    """Smooth enough for the deep branch, rough enough for the shallow one."""
    generator = torch.Generator().manual_seed(height * width)
    coarse = F.interpolate(torch.rand(batch, 3, 8, 8, generator=generator), size=(height, width), mode="bicubic")
    noise = 0.2 * torch.rand(batch, 3, height, width, generator=generator)
    return (255 * (0.8 * coarse + noise)).clamp(0, 255).to(torch.uint8)


@torch.no_grad()
def difference(model: BaseSegmentor, run: Callable[[torch.Tensor], torch.Tensor], size: tuple[int, int, int]) -> float:
    image = random_image(*size)
    expected = model.lesion_probabilities(model(model.data_preprocessor(dict(inputs=list(image)))["inputs"]))
    assert expected.max() - expected.min() > 0.3
    return float((run(image) - expected).abs().max())


class TestGraphs:
    @pytest.fixture(scope="class")
    def by_onnxruntime(self, exported: dict[str, Any]) -> Callable[[torch.Tensor], torch.Tensor]:
        return open_onnx(Path(exported["path"]))

    @pytest.mark.parametrize("size", SIZES)
    def test_onnx_is_right_at_sizes_other_than_the_traced_one(
        self, model: BaseSegmentor, by_onnxruntime: Callable[[torch.Tensor], torch.Tensor], size: tuple[int, int, int]
    ) -> None:
        assert difference(model, by_onnxruntime, size) < 1e-4

    def test_so_is_the_traced_program(self, model: BaseSegmentor, program: torch.export.ExportedProgram) -> None:
        module = program.module()
        assert max(difference(model, module, size) for size in SIZES) < 1e-4

    @pytest.mark.slow
    def test_archive(self, model: BaseSegmentor, exported: dict[str, Any], tmp_path: Path) -> None:
        written = export_model(model, tmp_path, "small", ["torch"], sizes=[(1, 96, 131)])["torch"]
        assert written["path"] == str(tmp_path / "small.pt2")
        for size in SIZES:
            assert difference(model, open_torch(tmp_path / "small.pt2"), size) < 1e-4
        files = {"metadata.json": ""}
        torch.export.load(tmp_path / "small.pt2", extra_files=files)
        assert json.loads(files["metadata.json"]) == exported["metadata"]

    def test_report(self, exported: dict[str, Any]) -> None:
        path = Path(exported["path"])
        assert (path.name, path.stat().st_size, exported["opset"]) == ("small.onnx", exported["bytes"], OPSET)
        (check,) = exported["checks"]
        assert check["size"] == [1, 96, 131]
        assert 0 <= check["mean_difference"] <= check["max_difference"] < 1e-4
        assert check["seconds"] > 0 and check["torch_seconds"] > 0
        assert [p.name for p in path.parent.iterdir()] == ["small.onnx"]

    def test_onnx_says_what_it_takes_and_gives(self, exported: dict[str, Any]) -> None:
        import onnx

        graph = onnx.load(exported["path"])
        onnx.checker.check_model(graph, full_check=True)
        assert {entry.domain: entry.version for entry in graph.opset_import} == {"": OPSET}
        session = onnxruntime.InferenceSession(exported["path"], providers=["CPUExecutionProvider"])
        (image,), (probabilities,) = session.get_inputs(), session.get_outputs()
        assert (image.name, image.type, image.shape) == ("image", "tensor(uint8)", ["batch", 3, "height", "width"])
        assert (probabilities.name, probabilities.type) == ("probabilities", "tensor(float)")
        assert probabilities.shape == ["batch", 4, "height", "width"]

    def test_metadata_travel_inside(self, exported: dict[str, Any]) -> None:
        session = onnxruntime.InferenceSession(exported["path"], providers=["CPUExecutionProvider"])
        onnx_says = {key: json.loads(value) for key, value in session.get_modelmeta().custom_metadata_map.items()}
        assert onnx_says == exported["metadata"]
        assert onnx_says["thresholds"] == {"MA": 0.45, "HE": 0.5, "EX": 0.52, "SE": 0.55}
        assert (onnx_says["size"], onnx_says["classes"]) == ([240, 160], list(LESIONS))

    def test_without_preprocessing(self, model: BaseSegmentor) -> None:
        image = random_image(1, 64, 96)
        inside, outside = ExportNetwork(model), ExportNetwork(model, preprocessing=False)
        assert outside.example().dtype == torch.float32
        normalised = model.data_preprocessor(dict(inputs=list(image)))["inputs"]
        with torch.no_grad():
            torch.testing.assert_close(outside(normalised), inside(image))

    @pytest.mark.slow
    @pytest.mark.parametrize("leaf", [
        "isdnet/isdnet_r18-d8_512x512_40k_IDRiD", "sdcnet/sdcnet_r18-d8_512x512_40k_IDRiD",
        "sdcnet/sdcnetplus_r18-d8_512x512_40k_IDRiD",
    ])
    def test_published_configs(self, repo: Path, leaf: str, tmp_path: Path) -> None:
        model = shake(init_model(repo / f"configs/{leaf}.py", device="cpu"))
        sizes = [(1, 160, 240), (1, 161, 239), (2, 101, 94)]
        written = export_model(model, tmp_path, "model", preprocessing=leaf.startswith("sdc"), sizes=sizes)
        assert [check["size"] for check in written["onnx"]["checks"]] == [list(size) for size in sizes]


class TestReduceByArea:
    @pytest.mark.parametrize(("pixels", "cells"), [
        ((96, 128), (24, 32)), ((97, 131), (24, 32)), ((37, 50), (9, 12)), ((30, 20), (9, 9)), ((40, 31), (1, 1)),
        ((5, 4), (9, 9)),
    ])
    def test_is_adaptive_average_pooling(self, pixels: tuple[int, int], cells: tuple[int, int]) -> None:
        image = torch.rand(2, 3, *pixels, dtype=torch.float64)
        torch.testing.assert_close(reduce_by_area(image, cells), F.adaptive_avg_pool2d(image, cells), rtol=1e-12, atol=1e-12)


class TestChecks:
    @pytest.mark.parametrize(("wrong", "message"), [
        (lambda image: image[:, :1].float() + 0.01, r"differs from PyTorch by 0\.01 at 1x3x8x8"),
        (lambda image: image[:, :1].float() * float("nan"), "differs from PyTorch by nan"),
        (lambda image: 1 / 0, "fails at 1x3x8x8: division by zero"),
    ])
    def test_a_wrong_graph_is_refused(self, wrong: Callable[[torch.Tensor], torch.Tensor], message: str) -> None:
        image = torch.zeros(1, 3, 8, 8, dtype=torch.uint8)
        expected = [Expected(image, image[:, :1].float(), 0.0)]
        with pytest.raises(UserError, match=message):
            compare(wrong, expected)
        assert compare(lambda x: x[:, :1].float(), expected)[0]["max_difference"] == 0

    def test_nothing_of_a_wrong_graph_is_left(
        self, model: BaseSegmentor, traced_once: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("mmseg.compat.export.open_torch", lambda path: lambda image: torch.zeros(1))
        (tmp_path / "x.pt2").write_text("an earlier one")
        with pytest.raises(UserError, match=r"x\.pt2: not written: the exported graph differs"):
            export_model(model, tmp_path, "x", ["torch"], sizes=[(1, 64, 64)])
        assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"x.pt2": "an earlier one"}

    def test_sizes(self) -> None:
        assert check_sizes((1440, 960)) == check_sizes(None) == [(1, 960, 1440), (1, 719, 1079), (2, 480, 720)]


class TestMistakes:
    @pytest.mark.parametrize("test_cfg", [dict(mode="slide", crop_size=(64, 64), stride=(32, 32)), dict(flips=["horizontal"])])
    def test_several_passes(self, run_config: Callable[..., Any], tmp_path: Path, test_cfg: dict[str, Any]) -> None:
        model = init_model(run_config(tmp_path, model__test_cfg=test_cfg, **SHALLOW), device="cpu")
        with pytest.raises(UserError, match=r"the whole image at once.*model\.test_cfg\.mode=whole"):
            export_model(model, tmp_path, "x")

    def test_no_thresholds(self, run_config: Callable[..., Any], tmp_path: Path) -> None:
        model = init_model(run_config(tmp_path, **SHALLOW), device="cpu")
        model.test_cfg = {**model.test_cfg, "thresholds": None}
        with pytest.raises(UserError, match=r"thresholds=None .* Fix, .*: model\.test_cfg\.thresholds=0\.5"):
            export_model(model, tmp_path, "x")

    def test_a_module_that_branches_on_the_size(self, model: BaseSegmentor) -> None:
        class Branching(ExportNetwork):
            def forward(self, image: torch.Tensor) -> torch.Tensor:
                return image.float().sum().log() if float(image.sum()) > 3 else image.float()

        with pytest.raises(UserError, match="cannot be exported with open sizes"):
            trace(Branching(model))

    def test_formats_opset_and_packages(self, model: BaseSegmentor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        with pytest.raises(UserError, match="format: got 'tflite', expected onnx or torch"):
            check_packages(["onnx", "tflite"])
        with pytest.raises(UserError, match=r"export: got a model on meta, expected one on the CPU: init_model\(\.\.\., device="):
            export_model(copy.deepcopy(model).to("meta"), tmp_path, "x", ["torch"])
        with pytest.raises(UserError, match="opset: got 17, expected 18 to"):
            export_model(model, tmp_path, "x", opset=17)
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "onnxscript" else object())
        with pytest.raises(UserError, match=r"onnxscript is not installed\. Fix: pip install -c \S+ onnxscript"):
            check_packages(["onnx"])
        check_packages(["torch"])


class TestTools:
    @pytest.fixture(scope="class")
    def photograph(self, tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
        """Larger than the working size, and of another shape."""
        image = read_image(next((tiny_data / "images/test").iterdir()))
        path = tmp_path_factory.mktemp("photograph") / "eye.png"
        Image.fromarray(cv2.resize(image, (501, 353), interpolation=cv2.INTER_CUBIC)).save(path)
        return path

    def test_onnx_inference_agrees_with_the_inferencer_without_torch(
        self, repo: Path, checkpoint: Path, exported: dict[str, Any], photograph: Path, tmp_path: Path
    ) -> None:
        code = ("import runpy, sys; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__'); "
                "sys.exit(f'imported {m}' if (m := {'torch', 'mmseg', 'mmengine'} & set(sys.modules)) else 0)")
        tool = repo / "tools/onnx_inference.py"
        command = [sys.executable, "-c", code, tool, exported["path"], photograph, "--out-dir", tmp_path]
        done = subprocess.run(list(map(str, command)), cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        found = next(iter(LesionInferencer(checkpoint, device="cpu", dtype="float32")([photograph])))
        assert {path.name for path in tmp_path.iterdir()} == {f"eye_{name}.png" for name in (*LESIONS, "mask")}
        limits = np.float32([found.thresholds[name] for name in LESIONS])[:, None, None]
        sure = np.abs(found.probabilities - limits) > 1e-4
        assert sure.mean() > 0.99
        for lesion, mask, certain in zip(LESIONS, found.masks, sure, strict=True):
            assert 0.01 < mask.mean() < 0.99
            got = cv2.imread(str(tmp_path / f"eye_{lesion}.png"), cv2.IMREAD_UNCHANGED)
            np.testing.assert_array_equal(got[certain], 255 * mask[certain])
        index_map = cv2.imread(str(tmp_path / "eye_mask.png"), cv2.IMREAD_UNCHANGED)
        assert (index_map == found.index_map).mean() > 0.999
        assert len((repo / "tools/onnx_inference.py").read_text().splitlines()) <= 60

    @pytest.mark.parametrize(("name", "spoil"), [
        ("eye.png", lambda data: data[: len(data) // 2]), ("eye.jpg", lambda data: data[: len(data) // 2]),
        ("deep.png", lambda data: data), ("none.png", None),
    ])
    def test_onnx_inference_refuses_what_inference_refuses(
        self, repo: Path, exported: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str,
        spoil: Callable[[bytes], bytes] | None,
    ) -> None:
        """Half of a file, which OpenCV makes grey, and 16 bits of which only the lower ones are used."""
        path = tmp_path / name
        if spoil is not None:
            pixels = np.random.RandomState(0).randint(0, 256, (160, 240, 3)).astype(np.uint16 if "deep" in name else np.uint8)
            path.write_bytes(spoil(cv2.imencode(path.suffix, pixels)[1].tobytes()))
        with pytest.raises(UserError):
            read_image(path)
        monkeypatch.setattr(sys, "argv", ["onnx_inference.py", exported["path"], str(path), "--out-dir", str(tmp_path / "out")])
        with pytest.raises(SystemExit, match=f"{name}: expected a whole photograph of 8 bits"):
            runpy.run_path(str(repo / "tools/onnx_inference.py"), run_name="__main__")
        assert not list((tmp_path / "out").iterdir())

    def test_onnx_inference_keeps_photographs_of_one_name_apart(
        self, repo: Path, exported: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setattr(sys, "argv", ["x", exported["path"], "a/eye.png", "b/eye.png", "--out-dir", str(tmp_path)])
        with pytest.raises(SystemExit, match="whose names differ"):
            runpy.run_path(str(repo / "tools/onnx_inference.py"), run_name="__main__")

    def test_onnx_inference_refuses_other_files(
        self, repo: Path, photograph: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        """One that is not there, a photograph in its place, and a graph of somebody else's."""
        import onnx

        value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
        graph = onnx.helper.make_graph([onnx.helper.make_node("Identity", ["x"], ["y"])], "graph", [value], [
            onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1])])
        model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", OPSET)], ir_version=8)
        onnx.save(model, tmp_path / "bare.onnx")
        onnx.helper.set_model_props(model, {"author": "somebody", "classes": "a, b"})
        onnx.save(model, tmp_path / "foreign.onnx")
        for path in (tmp_path / "none.onnx", photograph, tmp_path / "bare.onnx", tmp_path / "foreign.onnx"):
            monkeypatch.setattr(sys, "argv", ["x", str(path), str(photograph), "--out-dir", str(tmp_path / "out")])
            with pytest.raises(SystemExit, match=f"error: {path}: expected an ONNX file that tools/export.py wrote"):
                runpy.run_path(str(repo / "tools/onnx_inference.py"), run_name="__main__")
        assert not (tmp_path / "out").exists()

    def test_export(
        self, repo: Path, checkpoint: Path, exported: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        asked: list[Any] = []

        def write(model: BaseSegmentor, *arguments: Any, **options: Any) -> dict[str, Any]:
            asked[:] = arguments
            arguments[0].mkdir(exist_ok=True)
            return {"onnx": exported}

        monkeypatch.setattr("mmseg.compat.export.export_model", write)
        arguments = [checkpoint, "--out-dir", tmp_path / "out", "--format", "onnx", "--name", "eye", "--opset", "19"]
        run_tool(repo, monkeypatch, *arguments)
        assert asked == [tmp_path / "out", "eye", ["onnx"], True, 19]
        card = json.loads((tmp_path / "out/eye.json").read_text())
        assert card["files"]["onnx"]["checks"] == exported["checks"]
        assert card["training"]["config"] == "small_config"
        assert "small.onnx" in (tmp_path / "out/eye.md").read_text()
        said = capsys.readouterr().out.splitlines()
        assert said[-1] == f"model card  {tmp_path / 'out/eye.md'}, {tmp_path / 'out/eye.json'}"
        assert said[-2].startswith(exported["path"]) and "at 1 sizes" in said[-2]
        run_tool(repo, monkeypatch, checkpoint, "--out-dir", tmp_path / "out", "--no-preprocessing")
        assert asked == [tmp_path / "out", "small", list(FORMATS), False, OPSET]

    @pytest.mark.slow
    def test_export_whole(self, repo: Path, speckled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        run_tool(repo, monkeypatch, speckled, "--out-dir", tmp_path)
        assert {path.name for path in tmp_path.iterdir()} == {f"latest.{end}" for end in ("onnx", "pt2", "json", "md")}
        card = json.loads((tmp_path / "latest.json").read_text())
        for kind in FORMATS:
            checks = card["files"][kind]["checks"]
            assert [check["size"] for check in checks] == [[1, 160, 240], [1, 119, 179], [2, 80, 120]]
            assert max(check["max_difference"] for check in checks) < 1e-4

    def test_mistakes_end_with_code_2(
        self, repo: Path, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for arguments in (["none.pth"], [checkpoint, "--format", "tflite"], [checkpoint, "--metrics", tmp_path]):
            with pytest.raises(SystemExit) as done:
                run_tool(repo, monkeypatch, *arguments)
            assert done.value.code == 2
            assert capsys.readouterr().err.startswith("error: ")


def run_tool(repo: Path, monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> None:
    monkeypatch.syspath_prepend(str(repo / "tools"))
    monkeypatch.setattr(sys, "argv", ["export.py", *map(str, arguments)])
    runpy.run_path(str(repo / "tools/export.py"), run_name="__main__")
