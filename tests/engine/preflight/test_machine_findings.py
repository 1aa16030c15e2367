"""Disk, memory and devices: what each check says of a machine that is not this one."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.evaluator import BaseMetric

from mmseg.apis import build_runner, register_all_modules
from mmseg.engine.preflight import environment, memory
from mmseg.engine.preflight.disk import checkpoint_bytes, disk_findings, file_system, folder_findings, in_container
from mmseg.engine.preflight.environment import environment_findings
from mmseg.engine.preflight.machine import machine_findings
from mmseg.engine.preflight.memory import memory_findings, shm_findings, worker_findings
from mmseg.engine.preflight.model import build_parts
from mmseg.engine.preflight.splits import find_splits
from mmseg.registry import DATA_SAMPLERS, DATASETS, METRICS
from mmseg.utils.memory import available_memory

MakeConfig = Callable[..., Config]

MOUNTS = """\
600 500 0:50 / / rw,relatime master:1 - overlay overlay rw,lowerdir=/a,upperdir=/b
601 600 0:51 / /proc rw - proc proc rw
602 600 8:1 /home/u/runs /app/work\\040dirs rw,relatime - ext4 /dev/sda1 rw
603 600 0:60 / /app/tmp rw - tmpfs tmpfs rw
garbage
"""


@pytest.fixture(autouse=True, scope="module")
def _registered() -> None:
    register_all_modules()


class TestFolder:
    @pytest.mark.parametrize(("path", "kind"), [
        ("/app", "overlay"), ("/app/work dirs", "ext4"), ("/app/work dirs/a/b", "ext4"), ("/app/work dirsX", "overlay"),
        ("/app/tmp/x", "tmpfs"), ("/", "overlay"),
    ])
    def test_the_deepest_mount_counts(self, path: str, kind: str) -> None:
        assert file_system(Path(path), MOUNTS) == kind
        assert file_system(Path(path), "") == ""

    def test_this_machine_tells(self, tmp_path: Path) -> None:
        assert file_system(tmp_path)

    @pytest.mark.parametrize(("mounts", "container", "warned"), [
        ("1 0 0:1 / / rw - overlay o rw", True, True), ("1 0 0:1 / / rw - overlay o rw", False, False),
        ("1 0 0:1 / / rw - ext4 o rw", True, False), ("1 0 0:1 / / rw - tmpfs o rw", True, True),
    ])
    def test_a_containers_own_layer(self, mounts: str, container: bool, warned: bool, tmp_path: Path) -> None:
        found = list(folder_findings(tmp_path / "work_dirs", mounts, container))
        assert [f.severity for f in found] == ["warning"] * warned
        if warned:
            assert f'-v "$(pwd)/work_dirs:{tmp_path}/work_dirs"' in found[0].fix

    def test_a_link_to_nothing(self, tmp_path: Path) -> None:
        (tmp_path / "link").symlink_to(tmp_path / "gone")
        (found,) = folder_findings(tmp_path / "link" / "w")
        assert found.severity == "error" and "link is a link to nothing" in found.got

    def test_a_folder_that_cannot_be_made(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        (found,) = folder_findings(tmp_path / "file" / "w")
        assert found.severity == "error"
        assert f"{tmp_path}/file is a file" in found.got
        assert not (tmp_path / "w").exists()
        assert list(folder_findings(tmp_path / "w", "", False)) == []
        assert not (tmp_path / "w").exists(), "a check makes nothing"

    def test_signs_of_a_container(self, tmp_path: Path) -> None:
        assert not in_container(tmp_path)
        (tmp_path / "proc/1").mkdir(parents=True)
        (tmp_path / "proc/1/cgroup").write_text("0::/\n")
        assert not in_container(tmp_path)
        (tmp_path / "proc/1/cgroup").write_text("1:name=systemd:/kubepods/pod1\n")
        assert in_container(tmp_path)
        (tmp_path / "proc/1/cgroup").unlink()
        (tmp_path / ".dockerenv").touch()
        assert in_container(tmp_path)


class TestDisk:
    def test_the_estimate_is_the_size_of_a_real_checkpoint(self, run_config: MakeConfig, tmp_path: Path) -> None:
        config = run_config(tmp_path / "w", train_cfg__max_iters=1, param_scheduler=[])
        runner = build_runner(config)
        runner.train()
        estimate = checkpoint_bytes(config, runner.bare_model)
        tensors = torch.load(tmp_path / "w/latest.pth", weights_only=True)
        weights = sum(t.numel() * t.element_size() for t in tensors["state_dict"].values())
        moments = sum(
            t.numel() * t.element_size() for state in tensors["optimizer"]["state"].values()
            for t in state.values() if isinstance(t, torch.Tensor) and t.ndim
        )
        assert estimate == weights + moments

    @pytest.mark.parametrize(("optimizer", "hooks", "copies"), [
        (dict(type="AdamW"), None, 3), (dict(type="SGD", momentum=0.9), None, 2), (dict(type="SGD"), None, 1),
        (dict(type="AdamW", amsgrad=True), None, 4), (dict(type="AdamW"), [dict(type="EMAHook")], 4),
    ])
    def test_by_optimiser(self, optimizer: dict, hooks: Any, copies: int) -> None:
        config = Config(dict(optim_wrapper=dict(optimizer=optimizer), custom_hooks=hooks))
        assert checkpoint_bytes(config, torch.nn.Linear(9, 1, bias=False)) == copies * 36

    @pytest.mark.parametrize(("hook", "count"), [
        (dict(interval=10, max_keep_ckpts=3), 4), (dict(interval=10), 10), (dict(interval=30, max_keep_ckpts=3), 4),
        (dict(interval=60, max_keep_ckpts=3), 2), (dict(interval=10, max_keep_ckpts=1, save_best="x"), 4),
    ])
    def test_how_many_there_are_at_most(self, hook: dict, count: int, tmp_path: Path) -> None:
        config = Config(dict(
            optim_wrapper=dict(optimizer=dict(type="AdamW")), train_cfg=dict(max_iters=100), work_dir=str(tmp_path),
            default_hooks=dict(checkpoint=hook),
        ))
        model = torch.nn.Linear(9, 1, bias=False)
        (found,) = disk_findings(config, model, free=count * 108)
        assert (found.severity, found.got.split()[0]) == ("note", str(count))
        (found,) = disk_findings(config, model, free=count * 108 - 1)
        assert found.severity == "error"
        assert "max_keep_ckpts" in found.fix
        (tmp_path / "iter_10.pth").write_bytes(b"x")  # what is there needs no room again
        assert next(disk_findings(config, model, free=count * 108 - 1)).severity == "note"

    def test_copies_where_the_file_system_has_no_links(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        config = Config(dict(
            optim_wrapper=dict(optimizer=dict(type="AdamW")), train_cfg=dict(max_iters=100), work_dir=str(tmp_path),
            default_hooks=dict(checkpoint=dict(interval=10, max_keep_ckpts=3)),
        ))

        def refuse(*_: Any) -> None:
            raise PermissionError(1, "Operation not permitted")

        monkeypatch.setattr("os.link", refuse)
        (found,) = disk_findings(config, torch.nn.Linear(9, 1, bias=False))
        assert found.got.startswith("6 checkpoints")
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize(("hooks", "count"), [({}, 4), (None, 4), (dict(checkpoint=None), None)])
    def test_a_config_that_says_nothing_of_checkpoints(self, hooks: Any, count: int | None, tmp_path: Path) -> None:
        config = Config(dict(
            optim_wrapper=dict(optimizer=dict(type="AdamW")), train_cfg=dict(max_iters=40000), work_dir=str(tmp_path),
            default_hooks=hooks,
        ))
        found = list(disk_findings(config, torch.nn.Linear(9, 1, bias=False)))
        assert [int(finding.got.split()[0]) for finding in found] == ([] if count is None else [count])


class TestMemory:
    @pytest.fixture
    def config(self, run_config: MakeConfig, tmp_path: Path) -> Config:
        return run_config(tmp_path / "w", train_dataloader__num_workers=3, train_dataloader__batch_size=4,
                          train_dataloader__dataset__cache="host")

    def test_shared_memory_against_workers_and_batch(self, config: Config) -> None:
        splits, _ = find_splits(config)
        needed = 3 * 3 * 4 * 7 * 240 * 160  # workers, batches ahead, batch, channels, pixels
        assert list(shm_findings(config, splits, needed)) == []
        (found,) = shm_findings(config, splits, needed - 1)
        assert (found.severity, found.where) == ("error", "/dev/shm")
        assert "docker run --shm-size=1g" in found.fix
        config.train_dataloader.num_workers = 0
        assert list(shm_findings(config, splits, 0)) == []

    def test_a_test_hands_over_masks_of_the_photographs_size(self, config: Config) -> None:
        """And the workers of training are still there while those of validation work."""
        config.train_dataloader.num_workers, config.test_dataloader.num_workers = 0, 2
        config.test_dataloader.dataset.size = (120, 80)
        needed = 2 * 3 * 1 * (3 * 120 * 80 + 4 * 240 * 160)
        splits, _ = find_splits(config)
        assert list(shm_findings(config, splits, needed)) == []
        assert len(list(shm_findings(config, splits, needed - 1))) == 1
        config.train_dataloader.num_workers = 3
        config.val_dataloader = config.test_dataloader
        both = needed + 3 * 3 * 4 * 7 * 240 * 160
        splits, _ = find_splits(config)
        assert list(shm_findings(config, splits, both)) == []
        assert len(list(shm_findings(config, splits, both - 1))) == 1

    def test_main_memory_for_resident_images(self, config: Config) -> None:
        splits, _ = find_splits(config)
        needed = 4 * 240 * 160 * 4
        assert list(memory_findings(splits, needed)) == []
        (found,) = memory_findings(splits, needed - 1)
        assert (found.severity, found.where) == ("warning", "train_dataloader.dataset.dataset")
        config.train_dataloader.dataset.cache = "auto"  # which chooses another place
        assert list(memory_findings(find_splits(config)[0], 0)) == []

    def test_each_process_of_a_machine_has_its_own(self, config: Config) -> None:
        """The check runs in the first of them, before they have met."""
        config.train_dataloader.num_workers = 2
        config.train_dataloader.dataset.cache = "host"
        splits = find_splits(config)[0]
        of_workers, of_images = (next(n for n in range(0, 10**9, 1000) if not list(check(n)))
                                 for check in (lambda n: shm_findings(config, splits, n), lambda n: memory_findings(splits, n)))
        assert of_workers and of_images
        assert list(shm_findings(config, splits, 8 * of_workers, 8)) == list(memory_findings(splits, 8 * of_images, 8)) == []
        (shared,), (kept,) = shm_findings(config, splits, 7 * of_workers, 8), memory_findings(splits, 7 * of_images, 8)
        assert shared.severity == "error" and "in each of 8 processes" in kept.expected

    def test_memory_of_the_gpu_for_resident_images(self, config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
        config.train_dataloader.dataset.cache = "device"
        splits, _ = find_splits(config)
        needed = 4 * 240 * 160 * 4
        if not torch.cuda.is_available():  # where it is main memory
            monkeypatch.setattr(memory, "available_memory", lambda: needed - 1)
            assert "main memory" in str(*memory_findings(splits))
        monkeypatch.setattr(memory, "default_device", lambda: torch.device("cuda"))
        monkeypatch.setattr(memory, "free_memory", lambda device: needed)
        assert list(memory_findings(splits)) == []
        monkeypatch.setattr(memory, "free_memory", lambda device: needed - 1)
        (found,) = memory_findings(splits)
        assert (found.severity, found.where) == ("warning", "train_dataloader.dataset.dataset")
        assert "of the GPU's memory free" in found.got and "cache='host' or 'disk'" in found.fix

    def test_room_on_the_disk_for_resident_images(
        self, config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        resident, folder = config.train_dataloader.dataset, tmp_path / "cache" / "deep"
        resident.update(cache="disk", cache_dir=str(folder))
        splits, _ = find_splits(config)
        needed = 4 * 240 * 160 * 4
        assert list(memory_findings(splits, needed)) == list(memory_findings(splits)) == []
        (found,) = memory_findings(splits, needed - 1)
        assert (found.severity, found.where) == ("warning", "train_dataloader.dataset.dataset")
        assert f"free for {folder}" in found.got and "cache_dir" in found.fix
        assert not folder.parent.exists(), "a check makes nothing"
        resident["cache"] = "auto"  # which takes the disk where nothing else has room
        assert list(memory_findings(find_splits(config)[0], needed - 1)) == []
        monkeypatch.setattr("mmseg.datasets.resident.available_memory", lambda: needed)
        assert len(list(memory_findings(find_splits(config)[0], needed - 1))) == 1
        monkeypatch.undo()
        resident["cache"] = "disk"
        DATASETS.build(resident)  # what is there needs no room again
        assert list(memory_findings(splits, 0)) == []

    @pytest.mark.parametrize(("caches", "free", "kept"), [
        (["device"], 0, 1), (["auto"], 2, 1), (["auto"], 1.99, 0), (["host"], 9, 0), (["disk"], 9, 0), (["auto", "auto"], 3, 2),
        (["auto", "auto"], 2.5, 1),
    ])
    def test_what_the_images_leave_of_a_gpu_for_the_step(
        self, config: Config, caches: list[str], free: float, kept: int
    ) -> None:
        """Half of what is free at most is taken by 'auto', of several data sets one after the other."""
        inner = config.train_dataloader.dataset
        mixed = dict(type="ConcatDataset", datasets=[{**copy.deepcopy(inner), "cache": cache} for cache in caches])
        config.train_dataloader.dataset = mixed
        splits, _ = find_splits(config, ["train_dataloader"])
        one = 4 * 4 * 240 * 160
        assert memory.bytes_on_device(splits, round(free * one)) == kept * one

    @pytest.mark.parametrize(("cache", "found"), [("auto", True), ("device", True), ("host", False), ("disk", False)])
    def test_workers_cannot_hand_over_what_lies_on_the_gpu(self, config: Config, cache: str, found: bool) -> None:
        mixed = dict(type="ConcatDataset", datasets=[{**config.train_dataloader.dataset, "cache": cache}])
        config.train_dataloader.dataset = mixed
        splits, _ = find_splits(config, ["train_dataloader"])
        needed = 4 * 4 * 240 * 160
        told = list(worker_findings(config, splits, 2 * needed))
        assert [(f.severity, f.where) for f in told] == [("error", "train_dataloader.num_workers")] * found
        assert bool(list(worker_findings(config, splits, 2 * needed - 1))) is (cache == "device")  # 'auto' takes another place
        if not torch.cuda.is_available():
            assert list(worker_findings(config, splits)) == []
        config.train_dataloader.num_workers = 0
        assert list(worker_findings(config, splits, 2 * needed)) == []
        config.train_dataloader.pin_memory = True
        told = [(f.where, f.expected) for f in worker_findings(config, splits, 2 * needed)]
        assert told == [("train_dataloader.pin_memory", "False")] * found

    def test_pinned_memory_comes_in_powers_of_two(self, config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
        config.train_dataloader.dataset.cache = "host"
        splits, _ = find_splits(config)
        monkeypatch.setattr(memory, "default_device", lambda: torch.device("cuda"))
        needed = 4 * (2**17 + 2**16)  # for 115,200 and 38,400 bytes
        assert list(memory_findings(splits, needed)) == []
        assert len(list(memory_findings(splits, needed - 1))) == 1

    def test_this_machine_tells(self) -> None:
        assert available_memory() > 2**20


class TestEnvironment:
    def test_this_machine(self) -> None:
        findings = list(environment_findings(Path("/none")))
        assert torch.__version__ in findings[0].got
        assert {f.severity for f in findings} == {"note"}

    def test_an_old_library(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("mmengine.__version__", "0.10.7")
        (found,) = [f for f in environment_findings(Path("/none")) if f.severity == "error"]
        assert str(found).startswith("onedl-mmengine: got 0.10.7, expected 0.10.12 or newer")

    def test_a_driver_without_a_gpu_for_torch(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(environment, "gpu_report", lambda: dict(cuda=None, architectures=[], devices=[]))
        driver = tmp_path / "version"
        driver.write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19\nGCC version: 12\n")
        (found,) = [f for f in environment_findings(driver) if f.severity == "warning"]
        assert "driver 535.104.05" in found.got
        assert "the build for CPUs" in found.fix
        monkeypatch.setattr(environment, "gpu_report", lambda: dict(cuda=None, architectures=[], devices=[], hidden=True))
        assert [f.severity for f in environment_findings(driver)] == ["note", "note"]  # on purpose

    @pytest.mark.parametrize(("gpu", "built", "fits"), [
        ("sm_90", ["sm_80", "sm_90"], True), ("sm_86", ["sm_80"], True), ("sm_80", ["sm_86"], False),
        ("sm_61", ["sm_75"], False),
        ("sm_120", ["sm_90"], False), ("sm_120", ["sm_90", "compute_90"], True), ("sm_90", ["sm_90a"], True),
        ("sm_90", ["x"], True),  # nothing is known of such names
    ])
    def test_a_gpu_that_torch_is_not_built_for(
        self, gpu: str, built: list[str], fits: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        report = dict(cuda="12.8", architectures=built, devices=[("Some GPU", 8.0, gpu)])
        monkeypatch.setattr(environment, "gpu_report", lambda: report)
        severities = [f.severity for f in environment_findings(Path("/none"))]
        assert ("error" in severities) is not fits
        report["devices"].insert(0, ("The GPU that is used", 80.0, "sm_" + built[0].rpartition("_")[2].rstrip("a")))
        if built != ["x"]:  # another one may be there for a screen
            severities = [f.severity for f in environment_findings(Path("/none"))]
            assert "error" not in severities and ("warning" in severities) is not fits


class TestParts:
    def test_what_every_constructor_refuses_at_once(self, run_config: MakeConfig, tmp_path: Path) -> None:
        config = run_config(
            tmp_path / "w", model__test_cfg__mode="slid", default_hooks__checkpoint__max_keep_ckpts=0,
            val_dataloader=None, custom_hooks=[dict(type="EMAHook", momentum=2.0)],
        )
        found = {f.where: str(f) for f in build_parts(config).findings}
        assert set(found) == {"model", "default_hooks.checkpoint"} | {w for w in found if w.startswith("custom_hooks")}
        assert "test_cfg.mode: got 'slid', expected 'whole' or 'slide'" in found["model"]
        assert "max_keep_ckpts=0" in found["default_hooks.checkpoint"]

    def test_an_optimiser_and_a_schedule(self, run_config: MakeConfig, tmp_path: Path) -> None:
        config = run_config(tmp_path / "w", optim_wrapper__optimizer__lr=-1.0)
        (found,) = build_parts(config).findings
        assert (found.severity, found.where) == ("error", "optim_wrapper")
        config = run_config(tmp_path / "w", param_scheduler__0__start_factor=7.0)
        (found,) = build_parts(config).findings
        assert found.where == "param_scheduler.0"

    def test_classes_that_do_not_fit_the_targets(self, run_config: MakeConfig, tmp_path: Path) -> None:
        config = run_config(tmp_path / "w", data_preprocessor__target="index", model__auxiliary_head__num_classes=3)
        assert [str(f) for f in build_parts(config).findings] == [
            "auxiliary_head.num_classes: got 3, expected 4 for multi_label=True (one channel a lesion)",
            "data_preprocessor.target: got 'index', expected 'multilabel' for multi_label=True (one channel a lesion)",
        ]

    def test_another_value_to_ignore(self, run_config: MakeConfig, tmp_path: Path) -> None:
        """Masks come with 255 there, whatever the files have."""
        found = build_parts(run_config(tmp_path / "w", model__decode_head__1__ignore_index=254, test_evaluator=[
            dict(type="IoUMetric", ignore_index=0)])).findings
        assert [f"{finding.where}: {finding.got}" for finding in found] == [
            "refine_head.ignore_index: 254", "test_evaluator.0.ignore_index: 0"]

    def test_each_of_several_auxiliary_heads(self, run_config: MakeConfig, tmp_path: Path) -> None:
        head = {**run_config(tmp_path / "w").model.auxiliary_head}
        config = run_config(tmp_path / "w", model__auxiliary_head=[head, {**head, "num_classes": 3, "ignore_index": 0}])
        assert [finding.where for finding in build_parts(config).findings] == [
            "auxiliary_head.1.num_classes", "auxiliary_head.1.ignore_index"]

    def test_a_sampler_of_ones_own_is_left_to_its_data(self, run_config: MakeConfig, tmp_path: Path) -> None:
        @DATA_SAMPLERS.register_module(force=True)
        class ByLesionSampler:
            def __init__(self, dataset: Any, seed: int | None = None) -> None:
                self.rare = [i for i in range(len(dataset)) if dataset.get_data_info(i)["mask_paths"]["SE"]]

        assert build_parts(run_config(tmp_path / "w", train_dataloader__sampler=dict(type="ByLesionSampler"))).findings == []
        (found,) = build_parts(run_config(tmp_path / "w", train_dataloader__sampler__shufle=True)).findings
        assert found.where == "train_dataloader.sampler"

    @pytest.mark.parametrize(("best", "said"), [
        ("lesion/mDice", ""), ("lesion/mDic", "did you mean 'lesion/mDice'?"), ("x", "a score"),
    ])
    def test_a_score_that_the_metric_does_not_give(
        self, best: str, said: str, run_config: MakeConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        config = run_config(tmp_path / "w", default_hooks__checkpoint__save_best=best)
        config.val_evaluator = config.test_evaluator
        findings = build_parts(config).findings
        assert len(findings) == bool(said)
        assert said in "".join(map(str, findings))
        assert capsys.readouterr().out == ""

    @pytest.mark.parametrize(("best", "errors"), [("lesion/AP.Microaneurysm", 0), ("lesion/AP.MA", 1)])
    def test_scores_of_renamed_lesions(self, best: str, errors: int, run_config: MakeConfig, tmp_path: Path) -> None:
        config = run_config(tmp_path / "w", default_hooks__checkpoint__save_best=best)
        meta = dict(classes=("Microaneurysm", "HE", "EX", "SE"))
        config.train_dataloader.dataset.dataset.metainfo = config.test_dataloader.dataset.metainfo = meta
        config.val_evaluator = {**config.test_evaluator, "thresholds": {"Microaneurysm": 0.3}}
        assert [finding.where for finding in build_parts(config).findings] == ["default_hooks.checkpoint.save_best"] * errors

    def test_a_score_of_a_metric_that_tells_nothing_may_be_the_one(self, run_config: MakeConfig, tmp_path: Path) -> None:
        @METRICS.register_module(force=True)
        class OwnMetric(BaseMetric):
            def process(self, data_batch: Any, data_samples: Any) -> None:
                self.results.append(data_batch["inputs"])

            def compute_metrics(self, results: list) -> dict[str, float]:
                return {"score": 1.0}

        config = run_config(tmp_path / "w", default_hooks__checkpoint__save_best="mine/score")
        config.val_evaluator = [config.test_evaluator, dict(type="OwnMetric", prefix="mine")]
        assert build_parts(config).findings == []

    def test_the_random_state_is_left_alone(self, run_config: MakeConfig, tmp_path: Path) -> None:
        torch.manual_seed(0)
        before = torch.get_rng_state()
        assert build_parts(run_config(tmp_path / "w")).model is not None
        assert torch.equal(torch.get_rng_state(), before)


def test_a_machine_without_a_config(tmp_path: Path) -> None:
    """Docker's 64 MiB are told with what to do; room enough is a note."""
    small, enough = (list(machine_findings(tmp_path, size))[-1] for size in (64 * 2**20, 8 * 2**30))
    assert (small.severity, small.got) == ("warning", "64 MiB") and "--shm-size=8g" in small.fix
    assert (enough.severity, enough.got) == ("note", "8192 MiB")
    places = {finding.where for finding in machine_findings(tmp_path / "none")}
    assert {"versions", "device", *(["/dev/shm"] if Path("/dev/shm").exists() else [])} <= places
