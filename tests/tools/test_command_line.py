"""The commands themselves: quick help, one message and exit code 2 for the user's mistakes, old spellings, default folders."""

from __future__ import annotations

import argparse
import csv
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mmengine.config import Config

TOOLS = Path(__file__).resolve().parents[2] / "tools"
COMMANDS = sorted(path.name for path in TOOLS.glob("[!_]*.py"))
SCRIPTS = sorted(path.name for path in TOOLS.glob("*.sh"))

Call = Callable[..., int]

pytestmark = pytest.mark.filterwarnings("ignore:.*instance named of")


@pytest.fixture(scope="module")
def tiny(run_config: Callable[..., Config], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny, narrow configuration as a file of its own."""
    path = tmp_path_factory.mktemp("config") / "tiny.py"
    config = run_config(path.parent / "unused")
    config.pop("work_dir")
    config.dump(path)
    return path


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty ``SDCNET_HOME``."""
    monkeypatch.setenv("SDCNET_HOME", str(tmp_path))
    return tmp_path


class TestHelp:
    def test_there_are_tools(self) -> None:
        assert {"train.py", "test.py", "inference.py", "browse_dataset.py", "print_config.py"} <= set(COMMANDS)
        assert {"dist_train.sh", "dist_test.sh", "slurm_train.sh"} <= set(SCRIPTS)

    @pytest.mark.parametrize("tool", COMMANDS)
    def test_answers_without_importing_anything_heavy(self, tool: str, tmp_path: Path) -> None:
        """From another folder, too. (An import of torch alone takes seconds.)"""
        command = [sys.executable, "-X", "importtime", str(TOOLS / tool), "--help"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr[-2000:]
        assert done.stdout.startswith(f"usage: {tool}")
        imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
        assert "argparse" in imported
        assert not imported & {"torch", "mmengine", "mmcv", "cv2", "numpy", "matplotlib"}


def test_overrides_given_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """They add up; of one key the last counts, with its spaces."""
    monkeypatch.syspath_prepend(str(TOOLS))
    import _cli

    parser = argparse.ArgumentParser()
    _cli.add_run_arguments(parser)
    given = ["--cfg-options", "a=1", "work_dir=/a b", "--cfg-options", "work_dir=/c", "b='/d e'", "c=(1, 2)"]
    assert _cli.options(parser.parse_args(given).cfg_options) == dict(a=1, work_dir="/c", b="/d e", c=(1, 2))


class TestMistakes:
    """Every one is told in one message on stderr that begins with ``error:``, and exits with code 2."""

    @pytest.fixture
    def told(self, call: Call, home: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
        def run(tool: str, *arguments: str | Path) -> str:
            assert call(tool, *arguments) == 2
            text = capsys.readouterr().err
            assert "Traceback" not in text
            assert len(re.findall(r"^(?:\w+\.py: )?error: ", text, re.MULTILINE)) == 1
            return text

        return run

    @pytest.mark.parametrize("tool", ["train.py", "test.py", "browse_dataset.py", "print_config.py"])
    def test_wrong_config_path(self, told: Callable[..., str], demo_config: Path, tool: str) -> None:
        path = demo_config.with_name("sdcnet_r18-d8_512x512_40k_IDRID.py")
        text = told(tool, path, *(["x.pth"] if tool == "test.py" else []))
        assert "no such config file; did you mean 'sdcnet_r18-d8_512x512_40k_IDRiD.py'?" in text

    @pytest.mark.parametrize(("option", "message"), [
        ("model.type=SDCNett", "model.type: no class 'SDCNett' is registered; did you mean 'SDCNet'?"),
        ("train_cfg.max_iter=3", "takes no argument 'max_iter'; did you mean 'max_iters'?"),
        ("param_scheduler.1.begin=9", "param_scheduler.1.begin: got 9, expected less than its end, 4"),
        ("data_preprocessor.train_transforms.7.crop_size=3", "--cfg-options does not fit"),
        ("train_dataloader.batch_size", "got 'train_dataloader.batch_size', expected KEY=VALUE"),
        ("a b=1", "got 'a b=1', expected KEY=VALUE"),  # this and the next three: found by tests/fuzz
        ("model.type=.", "model.type: no class '.' is registered"),
        ("work_dir=5", "work_dir: got 5 .int., expected str"),
        ("load_from=5", "load_from: got 5 .int., expected str"),
        ("randomness=5", "randomness: got 5 .int., expected a dictionary"),
        ("resume=a.pth", "resume: got 'a.pth' .str., expected True or False; a file is named by --resume FILE"),
        ("train_dataloader.dataset.dataset.data_root=/none/A. Segmentation", "/none/A\\. Segmentation"),
        ("max_iters=9", "--cfg-options max_iters: 'max_iters' is no key of a configuration"),
        ("optimizer.lr=0.1", "--cfg-options optimizer.lr: 'optimizer' is no key of a configuration.*optim_wrapper"),
        ("model.decode_head.num_classes=4", "model.decode_head is a list, got 'num_classes'; expected a number from 0 to 1"),
        ("train_dataloader=x", "train_dataloader: got 'x', expected a dictionary"),
        ("train_cfg=5", "train_cfg: got 5, expected a dictionary"),
        ("model.decode_head.1.num_classes=3", "decode_head.1.num_classes|refine_head.num_classes"),
        ("model.test_cfg.mode=slid", "expected 'whole' or 'slide'"),
        ("model.backbone.depth=19", "depth"),
        ("train_dataloader.dataset.dataset.data_root=/none", "/none"),
        ("train_dataloader.dataset.dataset.split=trian", "got split='trian', expected 'train' or 'test'"),
        ("train_dataloader.dataset.cache=disc", "cache='disc'"),
        ("train_dataloader.batch_siz=2", "train_dataloader.batch_siz: .*did you mean 'batch_size'"),
        ("randomness.sead=2", "sead"),
        ("model.backbone.init_cfg.type=Pretrained", "init_cfg"),
    ])
    def test_wrong_values_of_a_config(self, told: Callable[..., str], tiny: Path, option: str, message: str) -> None:
        assert re.search(message.replace("[", r"\[").replace("(", r"\("), told("train.py", tiny, "--cfg-options", option))

    @pytest.mark.parametrize("base", ["models/sdcnet_r18-d8.py", "schedules/schedule_40k.py"])
    @pytest.mark.parametrize("flags", [[], ["--amp"]])
    def test_a_part_of_a_config(self, told: Callable[..., str], repo: Path, base: str, flags: list[str]) -> None:
        assert base.rpartition("/")[2] in told("train.py", repo / "configs/_base_" / base, *flags)

    def test_testing_with_a_part_of_a_config(self, told: Callable[..., str], repo: Path, trained: Path) -> None:
        for flags in ([], ["--tta"]):
            assert "sdcnet_r18-d8.py" in told("test.py", repo / "configs/_base_/models/sdcnet_r18-d8.py", trained, *flags)

    @pytest.mark.parametrize("flag", ["--load-from", "--resume", "--resume-from"])
    def test_missing_checkpoint_in_training(self, told: Callable[..., str], tiny: Path, flag: str) -> None:
        assert "none.pth: no such file, though it was named on the command line" in told("train.py", tiny, flag, "none.pth")

    def test_missing_pretrained_weights_that_were_named(self, told: Callable[..., str], demo_config: Path) -> None:
        option = "model.backbone.init_cfg.checkpoint=none.pth"
        assert "none.pth: no such file, though it was named" in told("train.py", demo_config, "--cfg-options", option)

    def test_missing_damaged_and_unfitting_checkpoint_in_testing(
        self, told: Callable[..., str], tiny: Path, two_classes: Path, tmp_path: Path
    ) -> None:
        assert "none.pth: no such checkpoint" in told("test.py", tiny, "none.pth")
        (tmp_path / "a.pth").write_bytes(b"")
        assert "a.pth: not a readable checkpoint" in told("test.py", tiny, tmp_path / "a.pth")
        text = told("test.py", tiny, tmp_path / "a.pth", "--cfg-options", "work_dir=5")  # found by tests/fuzz
        assert "work_dir: got 5 (int), expected str" in text
        assert "of another shape" in told("test.py", tiny, two_classes)

    def test_testing_both_a_model_and_files_or_neither(self, told: Callable[..., str], tiny: Path, tmp_path: Path) -> None:
        for arguments in ([], ["x.pth", "--predictions", tmp_path]):
            assert "expected a CHECKPOINT or --predictions DIR, one of both" in told("test.py", tiny, *arguments)
        assert "got an option for models" in told("test.py", tiny, "--predictions", tmp_path, "--tta")
        text = told("test.py", tiny, "--predictions", tmp_path / "none", "--out", tmp_path / "out")
        assert "none: got no such folder, expected <image>.npz" in text

    def test_unwritable_folders(self, told: Callable[..., str], tiny: Path, trained: Path, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        below = tmp_path / "file" / "w"
        assert f"{below}: cannot be written" in told("train.py", tiny, "--work-dir", below)
        assert "choose another folder by --work-dir" in told("test.py", tiny, trained, "--work-dir", below)
        for option in ("--out", "--show-dir"):  # before the images are scored
            assert f"{below}: cannot be written" in told("test.py", tiny, trained, option, below)
        assert "cannot be written" in told("browse_dataset.py", tiny, "--out-dir", below)

    def test_inference(self, told: Callable[..., str], trained: Path, tiny_data: Path, tmp_path: Path) -> None:
        photograph = next((tiny_data / "images/test").iterdir())
        assert "none.jpg: no such file, folder or match" in told("inference.py", "none.jpg", "--checkpoint", trained)
        assert f"{tmp_path}/input_img/test.jpg: no such file" in told("inference.py")
        assert f"{tmp_path}/model/latest.pth: no such checkpoint" in told("inference.py", photograph)
        given = ("inference.py", photograph, "--checkpoint", trained)
        assert "a process that torchrun did not start" in told(*given, "--launcher", "pytorch")
        assert "--batch-size: got 0, expected 1 or more" in told(*given, "--batch-size", "0")
        assert "--threshold: got 'high', expected a number" in told(*given, "--threshold", "high")
        assert "--threshold: got 'MA=0.3,HE', expected" in told(*given, "--threshold", "MA=0.3,HE")
        assert "got 'MAX', expected one of MA, HE, EX, SE; did you mean 'MA'?" in told(*given, "--threshold", "MAX=0.3")
        assert "got MA=7.0, expected a probability" in told(*given, "--threshold", "MA=7")
        assert "device: got 'tpu:0'" in told(*given, "--device", "tpu:0")
        (tmp_path / "file").touch()
        assert "cannot be written" in told(*given, "--out-dir", tmp_path / "file" / "out")

    def test_synthetic_data(self, told: Callable[..., str], tmp_path: Path) -> None:
        assert "synthetic data set: " in told("make_synthetic_dataset.py", "--out", tmp_path / "d", "--train", "-1")
        (tmp_path / "file").touch()
        assert "file" in told("make_synthetic_dataset.py", "--out", tmp_path / "file" / "d", "--train", "1", "--test", "1")


class TestOldSpellings:
    @pytest.mark.parametrize(("tool", "arguments", "note"), [
        ("train.py", ["--resume-from", "x.pth"], "--resume-from CKPT is the old spelling of --resume CKPT"),
        ("train.py", ["--auto-resume"], "--auto-resume is the old spelling of --resume"),
        ("train.py", ["--options", "a.b=1"], "--options is the old spelling of --cfg-options"),
        ("test.py", ["x.pth", "--options", "a.b=1"], "--options is the old spelling of --cfg-options"),
        ("test.py", ["x.pth", "--aug-test"], "--aug-test is the old spelling of --tta"),
        ("test.py", ["x.pth", "--eval", "mIoU", "mDice"], "--eval mIoU mDice is the old spelling of nothing"),
    ])
    def test_each_has_one_line(
        self, call: Call, capsys: pytest.CaptureFixture[str], tool: str, arguments: list[str], note: str
    ) -> None:
        assert call(tool, "none.py", *arguments) == 2
        lines = capsys.readouterr().err.splitlines()
        assert lines[0].startswith(f"note: {note}")
        assert lines[1].startswith("error: none.py: no such config file")
        assert len(lines) == 2


class TestArguments:
    """What the flags of train.py become in the configuration; nothing is trained."""

    @pytest.fixture
    def seen(self, call: Call, home: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Config]:
        class Stop(Exception):
            pass

        caught: list[Config] = []

        def stop(config: Config) -> None:
            caught.append(config)
            raise Stop

        def run(*arguments: str | Path, config: Path = tiny, check: bool = False) -> Config:
            with pytest.raises(Stop):
                call("train.py", config, *(() if check else ("--no-check",)), *arguments)  # a second of checks
            return caught[-1]

        monkeypatch.setattr("mmseg.apis.build_runner", stop)
        return run

    def test_defaults(self, seen: Callable[..., Config], home: Path) -> None:
        config = seen(check=True)
        assert config.work_dir == str(home / "work_dirs" / "tiny")
        assert (config.resume, config.load_from, config.randomness.seed) == (False, None, 0)
        assert (config.launcher, config.optim_wrapper.dtype) == ("none", "float32")

    def test_flags(self, seen: Callable[..., Config], tmp_path: Path) -> None:
        weights = tmp_path / "x.pth"
        weights.touch()
        config = seen("--work-dir", "w", "--amp", "--seed", "7", "--deterministic", "--no-validate", "--load-from", weights)
        assert config.work_dir == "w"
        assert (config.optim_wrapper.type, config.optim_wrapper.dtype) == ("AutocastOptimWrapper", "bfloat16")
        assert (config.randomness.seed, config.randomness.deterministic) == (7, True)
        assert (config.val_cfg, config.val_dataloader, config.val_evaluator) == (None, None, None)
        assert (config.resume, config.load_from) == (False, str(weights))

    @pytest.mark.parametrize("flags", [["--resume"], ["--auto-resume"]])
    def test_resume_from_the_work_dir(self, seen: Callable[..., Config], flags: list[str]) -> None:
        config = seen(*flags)
        assert (config.resume, config.load_from) == (True, None)

    @pytest.mark.parametrize("flag", ["--resume", "--resume-from"])
    def test_resume_from_a_file(self, seen: Callable[..., Config], tmp_path: Path, flag: str) -> None:
        weights = tmp_path / "x.pth"
        weights.touch()
        config = seen(flag, weights)
        assert (config.resume, config.load_from) == (True, str(weights))

    @pytest.mark.parametrize("flags", [["--load-from", "{}"], ["--cfg-options", "load_from={}"]])
    def test_resume_of_a_fine_tuning_run(self, seen: Callable[..., Config], tmp_path: Path, flags: list[str]) -> None:
        """It goes on with its own work_dir; only where that has no checkpoint it begins with the other weights."""
        weights = tmp_path / "x.pth"
        weights.touch()
        arguments = ["--work-dir", tmp_path, "--resume", *(flag.format(weights) for flag in flags)]
        config = seen(*arguments)
        assert (config.resume, config.load_from) == (False, str(weights))
        (tmp_path / "latest.pth").touch()
        config = seen(*arguments)
        assert (config.resume, config.load_from) == (True, None)

    def test_auto_resume_of_a_config_that_resumes(self, seen: Callable[..., Config], tmp_path: Path) -> None:
        """As resume_from of mmsegmentation 0.x is translated: with nothing in the work_dir, the file's state is gone on from."""
        weights = tmp_path / "x.pth"
        weights.touch()
        arguments = ["--work-dir", tmp_path / "w", "--auto-resume", "--cfg-options", "resume=True", f"load_from={weights}"]
        config = seen(*arguments)
        assert (config.resume, config.load_from) == (True, str(weights))
        (tmp_path / "w").mkdir()
        (tmp_path / "w/latest.pth").touch()
        assert seen(*arguments).load_from is None

    def test_an_earlier_run_is_not_replaced_unasked(
        self, seen: Callable[..., Config], call: Call, tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        for name in ("iter_4.pth", "latest.pth", "best_lesion_mAP_iter_4.pth"):
            (tmp_path / name).touch()
        assert call("train.py", tiny, "--work-dir", tmp_path) == 2
        assert "holds checkpoints of an earlier run (latest.pth)" in capsys.readouterr().err
        assert len(list(tmp_path.glob("*.pth"))) == 3
        elsewhere = tmp_path / "elsewhere/x.pth"
        elsewhere.parent.mkdir()
        elsewhere.touch()
        for refused in (
            ["--resume", elsewhere], ["--load-from", tmp_path / "latest.pth", "--overwrite"],
            ["--cfg-options", "resume=True", f"load_from={elsewhere}"],
        ):
            assert call("train.py", tiny, "--work-dir", tmp_path, *refused) == 2
        assert seen("--work-dir", tmp_path, "--overwrite").resume is False
        assert len(list(tmp_path.glob("*.pth"))) == 3  # nothing goes before the new run could be built
        (tmp_path / "best_fold0-1a2b3c4d.pth").touch()
        hooks: list[Any] = []
        kept: list[bool] = []
        runner = SimpleNamespace(
            train=lambda: None, register_hook=hooks.append, rank=1, work_dir=tmp_path, log_dir=tmp_path,
            keep_config=lambda: kept.append(True))
        monkeypatch.setattr("mmseg.apis.build_runner", lambda config: runner)
        assert call("train.py", tiny, "--work-dir", tmp_path, "--overwrite") == 0
        assert len(list(tmp_path.glob("*.pth"))) == 4
        hooks[0].after_train_iter(runner, 0)
        assert [path.name for path in tmp_path.glob("*.pth")] == ["best_fold0-1a2b3c4d.pth"] and kept == [True]

    @pytest.mark.usefixtures("briefly")
    def test_an_earlier_run_stays_until_the_data_are_read(
        self, call: Call, tiny: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """And the new one is the same run as without it."""
        for name in ("latest.pth", "iter_2.pth"):
            (tmp_path / name).touch()
        given = ("train.py", tiny, "--work-dir", tmp_path, "--overwrite", "--no-validate")
        assert call(*given, "--cfg-options", "train_dataloader.dataset.cache=disc") == 2
        assert "cache='disc'" in capsys.readouterr().err
        damaged = tmp_path.parent / "damaged.pth"
        damaged.write_bytes(b"<!doctype html>")
        assert call(*given, "--load-from", damaged) == 2
        assert "damaged.pth" in capsys.readouterr().err
        assert (tmp_path / "latest.pth").exists()
        assert call(*given) == 0
        assert sorted(path.name for path in tmp_path.glob("*.pth")) == ["iter_4.pth", "latest.pth"]
        ours, theirs = (torch.load(path, weights_only=True)["state_dict"] for path in (tmp_path / "latest.pth", trained))
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)

    def test_two_checkpoints_to_start_from(
        self, call: Call, tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert call("train.py", tiny, "--work-dir", tmp_path, "--resume", "a.pth", "--load-from", "b.pth") == 2
        assert "got --resume CKPT and --load-from CKPT, expected one" in capsys.readouterr().err

    def test_without_validation_nothing_is_best(self, seen: Callable[..., Config]) -> None:
        config = seen("--no-validate", "--cfg-options", "default_hooks.checkpoint.save_best=lesion/mAP")
        assert config.val_dataloader is None and config.default_hooks.checkpoint.save_best is None

    def test_overrides(self, seen: Callable[..., Config]) -> None:
        config = seen(
            "--options", "train_cfg.max_iters=9", "--cfg-options", "train_cfg.max_iters=5", "optim_wrapper.clip_grad=None",
            "data_preprocessor.train_transforms.0.crop_size=(32,48)", "model.decode_head.1.fuse_channels=[32,32,32]",
            "optim_wrapper.optimizer.lr=1e-3", "compile=True",
        )
        assert config.train_cfg.max_iters == 5  # the new spelling wins
        assert tuple(config.data_preprocessor.train_transforms[0].crop_size) == (32, 48)
        assert list(config.model.decode_head[1].fuse_channels) == [32, 32, 32]
        assert config.optim_wrapper.optimizer.lr == 1e-3
        assert config.compile is True


class TestRuns:
    @pytest.mark.usefixtures("briefly")
    def test_train_and_test_in_the_default_folders(
        self, call: Call, home: Path, tiny: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        once = ["train_cfg.max_iters=1", "param_scheduler=[]", "experiment_name=cli_train",
                "model.test_cfg.thresholds=[0.1,0.2,0.3,0.4]"]
        assert call("train.py", tiny, "--resume", "--cfg-options", *once) == 0
        work_dir = home / "work_dirs/tiny"
        assert f"checkpoint  {work_dir / 'latest.pth'}" in capsys.readouterr().out
        kept = Config.fromfile(work_dir / "tiny.py")
        assert (kept.train_cfg.max_iters, kept.resume, kept.load_from) == (1, False, None)
        assert call("test.py", tiny, work_dir / "latest.pth", "--tta", "--show-dir", home / "show", "--cfg-options",
                    "experiment_name=cli_test") == 0
        (results,) = work_dir.glob("test_*_*/metrics.json")
        scores = json.loads(results.read_text())
        assert set(scores) == {"MA", "HE", "EX", "SE", "mean"}
        assert {frozenset(values) for values in scores.values()} == {
            frozenset({"IoU", "Dice", "sensitivity", "precision", "AP", "AUPR11"})
        }
        details = json.loads(results.with_name("details.json").read_text())
        assert details["test_set"] == dict(type="SyntheticFundusDataset", split="test")
        assert re.fullmatch(r"\w+\.pth, SHA-256 [0-9a-f]{64}", details["checkpoint"])
        assert {key: details["training"][key] for key in ("config_name", "iter")} == dict(config_name="tiny", iter=1)
        tuned = details["tuned"]
        assert [tuned[lesion]["threshold"] for lesion in ("MA", "HE", "EX", "SE")] == [0.1, 0.2, 0.3, 0.4]  # the checkpoint's
        assert len(list((home / "show").glob("*_overlay.png"))) == 3
        assert f"report      {results.with_name('report.html')}" in (printed := capsys.readouterr().out)
        assert f"metrics     {results}" in printed
        assert Config.fromfile(work_dir / "tiny.py").to_dict() == kept.to_dict(), "a test leaves the training's config alone"

    def test_mirror_images_where_the_config_has_no_test_cfg(
        self, call: Call, home: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch, speckled: Path
    ) -> None:
        caught: list[Config] = []
        monkeypatch.setattr("mmseg.apis.runs.build_runner", lambda config, _: caught.append(config) or sys.exit(7))
        bare = tiny.with_name("bare.py")
        bare.write_text(tiny.read_text() + "\nmodel = dict(test_cfg=None)\ndefault_hooks = dict(logger=None)\n")
        for config in (tiny, bare):
            assert call("test.py", config, speckled, "--tta", "--out", home / "tta") == 7
            assert list(caught[-1].model.test_cfg.flips) == ["horizontal", "vertical", "diagonal"]

    def test_predictions_of_another_program(
        self, call: Call, home: Path, tiny: Path, tiny_data: Path, speckled: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert call("inference.py", tiny_data / "images/test", "--checkpoint", speckled, "--out-dir", home / "p",
                    "--save-probabilities") == 0
        assert call("test.py", tiny, "--predictions", home / "p", "--out", home / "out") == 0
        printed = capsys.readouterr().out
        assert {path.name for path in (home / "out").iterdir()} == {
            "metrics.json", "details.json", "per_image.csv", "counts.npz", "report.html",
        }
        assert call("compare_tests.py", home / "out", home / "out", "--json", home / "same.json") == 0
        compared = capsys.readouterr().out
        assert re.search(r"AP, percent +first +second +difference", compared)
        assert len(re.findall(r"(?m)^mean +[\d.]+ +[\d.]+ +\+0\.00 ", compared)) == 2
        assert json.loads((home / "same.json").read_text())["Dice"]["mean"]["difference"] == 0
        (home / "empty.json").touch()
        for name in ("same.json", "empty.json"):
            assert call("compare_tests.py", home / "out", home / "out", "--json", home / name) == 0
        (home / "odd.json").write_text("[1")
        capsys.readouterr()
        for name in ("metrics.json", "details.json", "per_image.csv", "../odd.json"):
            path = home / "out" / name
            before = path.read_bytes()
            assert call("compare_tests.py", home / "out", home / "none", "--json", path) == 2
            assert f"error: --json: {path}: is there and holds something else than a comparison" in capsys.readouterr().err
            assert path.read_bytes() == before
        assert call("compare_tests.py", home / "out", home) == 2
        capsys.readouterr()
        assert call("compare_tests.py", home / "out", home / "out", "--scores", "IoU", "precision") == 0
        assert re.findall(r"(?m)^(\w+), percent", capsys.readouterr().out) == ["IoU", "precision"]
        assert call("compare_tests.py", home / "out", home / "out", "--scores", "iou") == 2
        assert "error: --scores: got 'iou', expected any of " in capsys.readouterr().err
        assert f"metrics     {home / 'out/metrics.json'}" in printed
        assert printed.count("AUPR11") == 1
        assert f"--predictions {home / 'p'} --out" in (home / "out/report.html").read_text()
        assert not (home / "work_dirs").exists()

    def test_inference_without_arguments(
        self, call: Call, home: Path, speckled: Path, tiny_data: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for folder in ("model", "input_img"):
            (home / folder).mkdir()
        shutil.copy(speckled, home / "model/latest.pth")
        shutil.copy(next((tiny_data / "images/test").iterdir()), home / "input_img/test.jpg")
        assert call("inference.py") == 0
        assert {path.name for path in (home / "output_img").iterdir()} == {
            f"test{end}" for end in ("_overlay.png", "_mask.png", "_MA.png", "_HE.png", "_EX.png", "_SE.png", ".json")
        }
        assert "1 of 1 photographs segmented" in capsys.readouterr().out

    def test_inference_of_many_with_one_that_cannot_be_read(
        self, call: Call, home: Path, speckled: Path, tiny_data: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        photographs = sorted((tiny_data / "images/test").iterdir())
        (home / "bad.jpg").write_bytes(b"bad")
        code = call("inference.py", photographs[0], home / "bad.jpg", photographs[1], "--checkpoint", speckled, "--out-dir",
                    home / "out", "--threshold", "MA=0.3,HE=0.4", "--save-probabilities", "--batch-size", "2", "--device", "cpu")
        assert code == 1
        captured = capsys.readouterr()
        assert captured.err.count("\n") == 1
        assert captured.err.startswith(f"error: {home / 'bad.jpg'}: ")
        assert "2 of 3 photographs segmented" in captured.out
        report = json.loads((home / f"out/{photographs[1].stem}.json").read_text())
        assert report["thresholds"] == {"MA": 0.3, "HE": 0.4, "EX": 0.5, "SE": 0.5}
        assert len(list((home / "out").glob("*.npz"))) == 2
        table = home / "out/summary.csv"
        assert f"numbers of all in {table}" in captured.out
        with table.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
        assert [(row["photograph"], row["lesion"]) for row in rows] == [
            (photograph.stem, lesion) for photograph in photographs[:2] for lesion in ("MA", "HE", "EX", "SE")]
        expected = report["lesions"]["HE"]
        assert (int(rows[5]["regions"]), int(rows[5]["pixels"])) == (expected["regions"], expected["pixels"])
        assert [row["threshold"] for row in rows[:4]] == ["0.3", "0.4", "0.5", "0.5"]
        assert {row["settings"] for row in rows} == {report["made_from"]["settings"][0][:8]}
        # A table keeps what it knows, and follows what is done anew; what is damaged meanwhile leaves it.
        again = (photographs[1], "--checkpoint", speckled, "--out-dir", home / "out", "--device", "cpu", "--overwrite")
        assert call("inference.py", *again, "--threshold", "1") == 0
        with table.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
        assert [row["photograph"] for row in rows[::4]] == [photograph.stem for photograph in photographs[:2]]
        assert [row["pixels"] for row in rows[4:]] == ["0"] * 4
        assert rows[0]["settings"] != rows[4]["settings"]  # their numbers are not to be compared
        broken = home / photographs[1].name
        broken.write_bytes(b"bad")
        assert call("inference.py", photographs[0], broken, *again[1:]) == 1
        with table.open(encoding="utf-8-sig", newline="") as file:
            assert {row["photograph"] for row in csv.DictReader(file)} == {photographs[0].stem}
        capsys.readouterr()
        table.write_text("somebody else's")
        call("inference.py", *photographs, "--checkpoint", speckled, "--out-dir", home / "out", "--device", "cpu")
        said = capsys.readouterr()
        assert "numbers of all" not in said.out and table.read_text() == "somebody else's"
        assert f"note: {table}: is no table of this program any more, as when a spreadsheet has saved it" in said.err

    def test_browse_and_print(self, call: Call, home: Path, tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert call("browse_dataset.py", tiny, "--number", "3") == 0
        assert len(list((home / "work_dirs/browse/tiny").glob("*.png"))) == 3
        assert capsys.readouterr().out.endswith(f"3 pictures in {home / 'work_dirs/browse/tiny'}\n")
        assert call("print_config.py", tiny, "--cfg-options", "randomness.seed=42") == 0
        assert "randomness = dict(seed=42)" in capsys.readouterr().out

    def test_upgrade(self, call: Call, home: Path, tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
        old = home / "old.py"
        old.write_text("lr_config = dict(policy='poly')\nrunner = dict(type='IterBasedRunner', max_iters=5)\n")
        assert call("print_config.py", old, "--upgrade", home / "new", "--cfg-options", "runner.max_iters=9") == 2
        assert "error: --cfg-options: got it with --upgrade, expected one of the two" in capsys.readouterr().err
        assert call("print_config.py", tiny, "--upgrade", home / "new") == 2
        assert "tiny.py: got no config of mmsegmentation 0.x" in capsys.readouterr().err
        assert not (home / "new").exists()
        assert call("print_config.py", old, "--upgrade", home / "new") == 0
        assert f"wrote {home / 'new/old.py'}" in capsys.readouterr().out


class TestShellScripts:
    def test_cdpath(self, tmp_path: Path) -> None:
        """Which sends ``cd tools`` elsewhere, and has it print where."""
        (tmp_path / "tools").mkdir()
        environment = os.environ | dict(CDPATH=str(tmp_path), PYTHON="echo")
        command = ["bash", "tools/dist_train.sh", "config.py", "2"]
        done = subprocess.run(command, cwd=TOOLS.parent, env=environment, capture_output=True, text=True, check=False)
        assert done.stdout == f"{TOOLS / '_launch.py'} train config.py 2\n"

    @pytest.mark.parametrize("script", SCRIPTS)
    def test_syntax(self, script: str) -> None:
        assert subprocess.run(["bash", "-n", str(TOOLS / script)], check=False).returncode == 0

    @pytest.mark.parametrize(("script", "arguments"), [
        ("dist_train.sh", []), ("dist_train.sh", ["config.py"]), ("dist_train.sh", ["config.py", "two"]),
        ("dist_train.sh", ["config.py", "0"]), ("dist_train.sh", ["config.py", "--amp", "2"]),
        ("dist_test.sh", ["config.py", "2"]), ("dist_test.sh", ["config.py", "x.pth", "-1"]),
        ("dist_inference.sh", ["photos", "2"]),
        ("slurm_train.sh", []), ("slurm_train.sh", ["partition", "job"]),
    ])
    def test_wrong_arguments(self, script: str, arguments: list[str]) -> None:
        done = subprocess.run(["bash", str(TOOLS / script), *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert done.stderr.startswith("error: got ")
        assert f"expected: {script} " in done.stderr
        assert done.stderr.count("\n") == 1

    @staticmethod
    def launched(script: str, folder: Path, *arguments: str, **environment: str) -> list[str]:
        """The command line that a script ends in: Python and srun are replaced by something that prints it."""
        fake = folder / "srun"
        fake.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
        fake.chmod(0o755)
        own = ("PORT", "NNODES", "GPUS", "GPUS_PER_NODE", "OMP_NUM_THREADS")
        clean = {key: value for key, value in os.environ.items() if key not in own}
        clean |= {"PATH": f"{folder}:{os.environ['PATH']}", "PYTHON": str(fake), **environment}
        command = ["bash", str(TOOLS / script), *arguments]
        return subprocess.run(command, env=clean, capture_output=True, text=True, check=True).stdout.splitlines()

    @pytest.mark.parametrize("tool", ["train", "test", "inference"])
    def test_dist_scripts_hand_on_every_argument(self, tool: str, tmp_path: Path) -> None:
        words = self.launched(f"dist_{tool}.sh", tmp_path, "a b.py", "2", "--work-dir", "with space")
        assert words == [str(TOOLS / "_launch.py"), tool, "a b.py", "2", "--work-dir", "with space"]

    @pytest.mark.parametrize(("environment", "per_node", "tasks"), [
        (dict(GPUS="4"), 4, 4), (dict(GPUS="16"), 8, 16), (dict(GPUS="16", GPUS_PER_NODE="4"), 4, 16), ({}, 8, 8),
    ])
    def test_slurm(self, tmp_path: Path, environment: dict[str, str], per_node: int, tasks: int) -> None:
        """srun gets a task a GPU, the GPUs of a machine, and the words of SRUN_ARGS; train.py what is typed."""
        words = self.launched(
            "slurm_train.sh", tmp_path, "gpu", "a job", "b c.py", "--amp", SRUN_ARGS="--quiet --time 1", CPUS_PER_TASK="3",
            **environment,
        )
        assert words == [
            "-p", "gpu", "--job-name=a job", f"--gres=gpu:{per_node}", f"--ntasks={tasks}", f"--ntasks-per-node={per_node}",
            "--cpus-per-task=3", "--kill-on-bad-exit=1", "--quiet", "--time", "1",
            str(tmp_path / "srun"), "-u", f"{TOOLS}/train.py", "b c.py", "--launcher", "slurm", "--amp",
        ]

    @pytest.mark.parametrize(("script", "arguments"), [
        ("dist_train.sh", ["a.py", "2"]), ("slurm_train.sh", ["gpu", "job", "a.py"]),
    ])
    def test_python_is_found(self, script: str, arguments: list[str], tmp_path: Path) -> None:
        """The checkout's own environment is taken where nobody named another or has one active."""
        (tmp_path / "tools").mkdir()
        for name in SCRIPTS:
            shutil.copy(TOOLS / name, tmp_path / "tools")
        own, path = tmp_path / ".venv/bin/python", tmp_path / "bin"
        for file, text in ((own, "echo own"), (path / "python", "echo another"), (path / "srun", 'for w; do case "$w" in *python)'
                           ' exec "$w";; esac; done')):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"#!/bin/sh\n{text}\n")
            file.chmod(0o755)

        def taken(**environment: str) -> str:
            command = ["bash", f"tools/{script}", *arguments]
            clean = {"PATH": f"{path}:/usr/bin:/bin", **environment}
            return subprocess.run(command, cwd=tmp_path, env=clean, capture_output=True, text=True, check=True).stdout

        assert taken() == taken(CONDA_DEFAULT_ENV="base", CONDA_PREFIX="/conda") == "own\n"
        assert taken(VIRTUAL_ENV="/venv") == taken(CONDA_DEFAULT_ENV="x", CONDA_PREFIX="/conda/envs/x") == "another\n"
        assert taken(PYTHON=str(path / "python"), CDPATH=str(path)) == "another\n"

    def test_shellcheck_finds_nothing(self) -> None:
        if shutil.which("shellcheck") is None:
            pytest.skip("shellcheck is not installed")
        done = subprocess.run(["shellcheck", *(str(TOOLS / s) for s in SCRIPTS)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout




def test_only_files_of_this_test_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A metric of another kind writes none, and those of an earlier test are not its own."""
    monkeypatch.syspath_prepend(str(TOOLS))
    tell = runpy.run_path(str(TOOLS / "test.py"))["tell"]
    for name, age in (("metrics.json", 0), ("report.html", 3600)):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (1e9 - age, 1e9 - age))
    tell(tmp_path, 1e9 - 10)
    assert capsys.readouterr().out == f"metrics     {tmp_path / 'metrics.json'}\n"
    tell(tmp_path, 1e9 + 10)
    text = capsys.readouterr().out
    assert str(tmp_path) not in text and "scores" in text


@pytest.mark.parametrize("name", ["RANK", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK"])
def test_a_run_of_its_own_is_the_first_process_whatever_a_cluster_has_set(
    name: str, call: Call, home: Path, tiny: Path, speckled: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Else tasks 1 to 3 of four that train by themselves would replace finished runs without a word."""
    monkeypatch.setenv(name, "1")
    (home / "w").mkdir()
    shutil.copy(speckled, home / "w/latest.pth")
    assert call("train.py", tiny, "--work-dir", home / "w") == 2
    assert "holds checkpoints of an earlier run (latest.pth)" in capsys.readouterr().err


def test_a_job_within_a_job_goes_by_its_own_launcher(
    call: Call, home: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """mpirun in a script of Slurm hands on the variables of the script's own task, 0."""
    for name in ("PROCID", "LOCALID"):
        monkeypatch.setenv(f"SLURM_{name}", "0")
    for name, value in (("RANK", 3), ("LOCAL_RANK", 3), ("LOCAL_SIZE", 4)):
        monkeypatch.setenv(f"OMPI_COMM_WORLD_{name}", str(value))
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    monkeypatch.syspath_prepend(str(TOOLS))
    import _cli

    assert not _cli.is_first_process("mpi") and _cli.is_first_process("slurm") and _cli.local_processes("mpi") == 4
    parser = argparse.ArgumentParser()
    parser.add_argument("config")
    _cli.add_run_arguments(parser)
    _cli.prepare_config(parser.parse_args([str(tiny), "--launcher", "mpi"]))
    assert os.environ.pop("LOCAL_RANK") == "3"


def test_slurm_in_a_container_needs_the_first_machines_name(
    call: Call, home: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """mmengine would take what the shell says of the missing command for an address."""
    monkeypatch.setenv("SLURM_PROCID", "0")
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert call("train.py", tiny, "--launcher", "slurm", "--work-dir", home / "w") == 2
    assert "got neither MASTER_ADDR nor scontrol" in capsys.readouterr().err


@pytest.mark.parametrize(("launcher", "variable"), [
    ("pytorch", "RANK"), ("slurm", "SLURM_PROCID"), ("mpi", "OMPI_COMM_WORLD_RANK"),
])
def test_a_launcher_that_did_not_start_the_process_is_told(
    launcher: str, variable: str, call: Call, home: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """As one types it from memory; mmengine says nothing but the variable's name."""
    monkeypatch.delenv(variable, raising=False)
    assert call("train.py", tiny, "--launcher", launcher, "--work-dir", home / "w") == 2
    assert f"--launcher {launcher}: {variable} is not set, so that this process was not started by it" in capsys.readouterr().err


def test_a_checkpoint_is_made_ready_to_be_given(
    call: Call, home: Path, speckled: Path, tiny_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("publish_model.py", speckled, home / "x.pth", "--half", "--threshold", "MA=0.25") == 0
    (published,) = home.glob("x-*.pth")
    assert str(published) in capsys.readouterr().out
    photograph = next((tiny_data / "images/test").iterdir())
    given = ("--checkpoint", published, "--no-overlay", "--device", "cpu", "--out-dir", home / "out")
    assert call("inference.py", photograph, *given) == 0
    assert {path.suffix for path in (home / "out").iterdir()} == {".png", ".json"}
    assert not list((home / "out").glob("*_overlay.png"))


def test_overlays_do_not_stand_among_the_photographs(
    call: Call, home: Path, tiny: Path, speckled: Path, tiny_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The next test would take them for photographs without lesions."""
    folder = tiny_data / "images/test"
    before = sorted(folder.iterdir())
    assert call("test.py", tiny, speckled, "--work-dir", home / "w", "--show-dir", folder) == 2
    assert f"{folder}: holds the photographs" in capsys.readouterr().err
    assert sorted(folder.iterdir()) == before
    results = home / "results"
    results.mkdir()
    (results / f"{before[0].stem}.json").touch()  # of tools/inference.py, drawn at other thresholds
    assert call("test.py", tiny, speckled, "--work-dir", home / "w", "--show-dir", results) == 2
    assert f"{results}: holds results of tools/inference.py" in capsys.readouterr().err
