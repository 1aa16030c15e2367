"""The whole: one real step, the report, the tool, and the start of training."""

from __future__ import annotations

import json
import logging
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.structures import PixelData

from mmseg.apis import register_all_modules
from mmseg.engine import load_config
from mmseg.engine.preflight import Finding, check_start, preflight, report, step
from mmseg.engine.preflight.model import build_parts
from mmseg.engine.preflight.step import largest_batch, step_findings, trial_findings
from mmseg.models import SegDataPreProcessor
from mmseg.registry import DATASETS
from mmseg.structures import LESIONS, SegDataSample
from mmseg.utils.errors import UserError

MakeConfig = Callable[..., Config]
TOOLS = Path(__file__).resolve().parents[3] / "tools"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty ``SDCNET_HOME``, and all classes registered."""
    register_all_modules()
    monkeypatch.setenv("SDCNET_HOME", str(tmp_path))
    monkeypatch.setattr("mmseg.engine.preflight.disk.in_container", lambda *_: False)
    return tmp_path


@pytest.fixture
def tiny(run_config: MakeConfig, tmp_path: Path) -> Path:
    """The tiny, narrow configuration as a file of its own."""
    config = run_config(tmp_path / "unused")
    config.pop("work_dir")
    config.dump(tmp_path / "tiny.py")
    return tmp_path / "tiny.py"


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Run a tool in this process; gives its exit code."""

    def run(tool: str, *arguments: str | Path) -> int:
        monkeypatch.syspath_prepend(str(TOOLS))
        monkeypatch.setattr(sys, "argv", [tool, *map(str, arguments)])
        monkeypatch.setenv("LOCAL_RANK", "0")
        monkeypatch.setattr(logging, "raiseExceptions", False)
        with pytest.raises(SystemExit) as done:
            runpy.run_path(str(TOOLS / tool), run_name="__main__")
            raise SystemExit(0)
        return int(done.value.code or 0)

    return run


class TestTrial:
    @pytest.mark.parametrize(("key", "value", "said"), [
        ("model.decode_head.1.loss_decode.0.channel_weight", (60, 10, 12), "must match the size"),
        ("model.decode_head.0.in_channels", 32, "expected input"),
    ])
    def test_parts_that_do_not_fit_each_other_are_told_before_training(
        self, tiny: Path, home: Path, key: str, value: Any, said: str
    ) -> None:
        config = load_config(tiny, {key: value})
        config.work_dir = str(home / "w")
        with pytest.raises(UserError, match=rf"model: its losses cannot be computed \(RuntimeError: .*{said}.*\); hold"):
            check_start(config)

    def test_a_network_for_larger_images_alone_is_no_mistake(
        self, run_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        config = run_config(tmp_path / "w", data_preprocessor__train_transforms__0__crop_size=(160, 160))
        model = build_parts(config).model
        random, loss, seen = torch.get_rng_state(), model.loss, []

        def picky(inputs: torch.Tensor, samples: list[SegDataSample]) -> Any:
            seen.append(tuple(inputs.shape))
            if inputs.shape[-1] < 160:
                raise RuntimeError("too small")
            return loss(inputs, samples)

        monkeypatch.setattr(model, "loss", picky)
        assert list(trial_findings(model)) == []
        assert seen == [(2, 3, 128, 128), (2, 3, 160, 160)]
        assert torch.equal(torch.get_rng_state(), random)


    def test_of_another_data_preprocessor_nothing_is_known(self, run_config: MakeConfig, tmp_path: Path) -> None:
        model = build_parts(run_config(tmp_path / "w")).model
        model.data_preprocessor, model.loss = SegDataPreProcessor(), None
        assert list(trial_findings(model)) == []

    def test_a_gpu_that_torch_cannot_use_is_told_before_training(
        self, tiny: Path, home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        warning, note = Finding("warning", "device", "driver 580, but no GPU"), Finding("note", "device", "CPU")
        monkeypatch.setattr("mmseg.engine.preflight.run.environment_findings", lambda: iter([note, warning]))
        config = load_config(tiny, {"work_dir": str(home / "w")})
        assert warning in check_start(config) and note not in check_start(config)


class TestStep:
    def test_one_step_is_real(self, run_config: MakeConfig, tmp_path: Path) -> None:
        config = run_config(tmp_path / "w", train_dataloader__num_workers=2, train_dataloader__persistent_workers=True)
        parts = build_parts(config)
        before = {name: tensor.clone() for name, tensor in parts.model.state_dict().items()}
        random = torch.get_rng_state()
        (found,) = step_findings(config, parts)
        assert found.severity == "note"
        assert found.got.startswith("batch 2, loss ")
        assert any(not torch.equal(tensor, before[name]) for name, tensor in parts.model.state_dict().items())
        assert torch.equal(torch.get_rng_state(), random)
        assert config.train_dataloader.num_workers == 2
        assert "indices" not in config.train_dataloader.dataset.dataset

    def test_a_data_set_of_ones_own_that_cannot_be_cut(self, run_config: MakeConfig, tmp_path: Path) -> None:
        @DATASETS.register_module(force=True)
        class OwnDataset(torch.utils.data.Dataset):
            metainfo = dict(classes=LESIONS, palette=[(0, 0, 0)] * 4)

            def __init__(self, number: int) -> None:
                self.number = number

            def __len__(self) -> int:
                return self.number

            def __getitem__(self, index: int) -> dict[str, Any]:
                sample = SegDataSample(metainfo=dict(ori_shape=(80, 96), img_shape=(80, 96)))
                sample.gt_sem_seg = PixelData(data=torch.ones(4, 80, 96, dtype=torch.uint8))
                return dict(inputs=torch.full((3, 80, 96), 100, dtype=torch.uint8), data_samples=sample)

        config = run_config(tmp_path / "w")
        config.train_dataloader.dataset = dict(type="OwnDataset", number=3)
        (found,) = step_findings(config, build_parts(config))
        assert found.severity == "note", found

    def test_a_step_that_fails_is_an_error(self, run_config: MakeConfig, tmp_path: Path) -> None:
        config = run_config(tmp_path / "w", data_preprocessor__train_transforms__0__crop_size=(0, 64))
        (found,) = step_findings(config, build_parts(config))
        assert (found.severity, found.where) == ("error", "one training step")

    def test_a_data_set_that_refuses(self, run_config: MakeConfig, tmp_path: Path) -> None:
        config = run_config(tmp_path / "w", train_dataloader__dataset__cache="disc")
        (found,) = step_findings(config, build_parts(config))
        assert "cache='disc'" in found.got

    def test_losses_that_are_not_finite(self, run_config: MakeConfig, tmp_path: Path) -> None:
        config = run_config(tmp_path / "w")
        parts = build_parts(config)
        for parameter in parts.model.parameters():
            parameter.data.fill_(float("nan"))
        found = list(step_findings(config, parts))
        assert found[0].severity == "error"
        assert "loss" in found[0].got and "expected finite losses" in str(found[0])

    @pytest.mark.parametrize(("wanted", "room"), [(1, 0), (1, 1), (7, 0), (7, 1), (7, 6), (7, 7), (64, 37)])
    def test_the_largest_batch_that_fits(self, wanted: int, room: int) -> None:
        tried: list[int] = []
        assert largest_batch(lambda size: tried.append(size) is None and size <= room, wanted) == min(wanted, room)
        assert len(tried) == len(set(tried)) <= 8

    def test_a_gpu_that_is_too_small(self, run_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """With a stand-in for the GPU: three images do not fit, two do."""
        config = run_config(tmp_path / "w", train_dataloader__batch_size=3)
        parts = build_parts(config)
        train_step = parts.model.train_step

        def small(data: dict, wrapper: object) -> dict:
            if len(data["inputs"]) > 2:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return train_step(data, wrapper)

        parts.model.train_step = small
        monkeypatch.setattr(step, "peak_memory", lambda device: (2**30, 2**31))
        (found,) = step_findings(config, parts)
        assert str(found).startswith("train_dataloader.batch_size: got 3, expected at most 2, which fits")
        config.train_dataloader.batch_size = 2
        (found,) = step_findings(config, parts)
        assert found.got.endswith("1.0 of 2.0 GiB of GPU memory")


class TestWhole:
    def test_a_sound_run_is_clean(self, run_config: MakeConfig, tmp_path: Path) -> None:
        findings = preflight(run_config(tmp_path / "w"))
        assert [str(f) for f in findings if f.severity != "note"] == []
        assert not (tmp_path / "w").exists()

    def test_everything_at_once(self, run_config: MakeConfig, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        config = run_config(
            tmp_path / "file/w", model__backbone__detph=18, optim_wrapper__optimizer__lr=-1.0, load_from="none.pth",
            test_dataloader__dataset__data_root="/none", train_dataloader__batch_size=0,
        )
        errors = {f.where for f in preflight(config) if f.severity == "error"}
        assert errors == {"model.backbone.detph", "train_dataloader.batch_size", "load_from", f"{tmp_path}/file/w",
                          "test_dataloader.dataset"}

    def test_the_start_of_training_leaves_testing_alone(self, run_config: MakeConfig, tmp_path: Path) -> None:
        config = run_config(tmp_path / "w", test_dataloader__dataset__data_root="/none")
        assert check_start(config) == []
        config.train_dataloader.batch_size = 0
        config.model.backbone.detph = 18
        with pytest.raises(UserError, match=r"--no-check.*\n  model\.backbone\.detph: .*\n  train_dataloader\.batch_size: got 0"):
            check_start(config)

    def test_report(self, tmp_path: Path) -> None:
        findings = [Finding("error", "a", "1", "2", "mend\nit"), Finding("note", "b", "seen"), Finding("warning", "c", "odd")]
        text = report(findings, tmp_path / "sub/f.json")
        assert text.splitlines() == [
            "note     b: seen", "warning  c: odd", "error    a: got 1, expected 2; mend it", "1 errors, 1 warnings",
        ]
        stored = json.loads((tmp_path / "sub/f.json").read_text())
        assert stored["exit_code"] == 2
        assert stored["findings"][0] == dict(severity="error", where="a", got="1", expected="2", fix="mend\nit")
        (tmp_path / "file").touch()
        with pytest.raises(UserError, match="--json"):
            report(findings, tmp_path / "file/f.json")
        report(findings[:1], tmp_path / "sub/f.json")  # an earlier report may go

    def test_a_report_replaces_no_other_file(
        self, call: Callable[..., int], tiny: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Found by tests/fuzz: the config itself, named twice."""
        before = tiny.read_text()
        assert call("check.py", tiny, "--quick", "--json", tiny) == 2
        assert "holds something else than findings" in capsys.readouterr().err
        assert tiny.read_text() == before


class TestTool:
    def test_exit_codes(
        self, call: Callable[..., int], tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert call("check.py", tiny, "--json", tmp_path / "f.json") == 0
        assert "0 errors, 0 warnings" in capsys.readouterr().out
        assert call("check.py", tiny, "--quick", "--cfg-options", "param_scheduler.1.by_epoch=True") == 1
        assert call("check.py", tiny, "--quick", "--cfg-options", "train_dataloader.batch_size=0", "model.typ=3") == 2
        out = capsys.readouterr().out
        assert "error    train_dataloader.batch_size: got 0, expected 1 or more" in out
        assert "error    model.typ: SDCNet takes no argument 'typ'; did you mean 'type'?" in out
        assert call("check.py", "none.py") == 2
        assert "no such config file" in capsys.readouterr().err
        assert {path.name for path in tmp_path.iterdir()} == {"tiny.py", "f.json", ".cache"}, "a check leaves nothing else"

    def test_training_stops_before_anything_heavy(
        self, call: Callable[..., int], tiny: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        seen: list[Config] = []

        def built(config: Config) -> None:
            seen.append(config)
            raise SystemExit(77)

        monkeypatch.setattr("mmseg.apis.build_runner", built)
        wrong = ["--cfg-options", "train_dataloader.batch_size=0"]
        assert call("train.py", tiny, *wrong) == 2
        assert "train_dataloader.batch_size: got 0" in capsys.readouterr().err
        assert seen == []
        assert call("train.py", tiny, *wrong, "--no-check") == 77
        monkeypatch.setenv("RANK", "1")  # the first process checks for all
        assert call("train.py", tiny, *wrong, "--launcher", "pytorch") == 77
        monkeypatch.setenv("RANK", "0")
        assert call("train.py", tiny, *wrong, "--launcher", "pytorch") == 2

    def test_training_shows_warnings_and_goes_on(
        self, call: Callable[..., int], tiny: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr("mmseg.apis.build_runner", lambda config: sys.exit(77))
        assert call("train.py", tiny, "--cfg-options", "param_scheduler.1.by_epoch=True") == 77
        assert "warning: param_scheduler.1.by_epoch: got True, expected False" in capsys.readouterr().err
