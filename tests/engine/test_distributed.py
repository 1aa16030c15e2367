"""Two processes on a CPU do what one does: the same augmented samples, the same gradients, the same scores."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from comparing import logged, state_differences
from mmengine.config import Config
from mmengine.runner import Runner
from mmengine.structures import PixelData
from torch import nn

from mmseg.apis import build_runner, register_all_modules
from mmseg.apis.init import build_model
from mmseg.engine import LesionRunner
from mmseg.engine.checkpoint import read_checkpoint
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

MakeConfig = Callable[..., Config]


def gradients(config: dict[str, Any], slots: list[int], distributed: bool) -> dict[str, torch.Tensor]:
    """Gradients of the mean binary cross-entropy over some of four fixed samples, in this process.

    Batch normalisation and dropout are in evaluation mode and Dice is left out: what is left is a mean over samples.
    """
    register_all_modules()
    torch.manual_seed(0)
    model = build_model(Config(config))
    runner: Any = SimpleNamespace(distributed=distributed, cfg={})
    wrapped: nn.Module = LesionRunner.wrap_model(runner, None, model)
    wrapped.eval()
    torch.manual_seed(1)
    images, targets = torch.randn(4, 3, 64, 64), torch.randint(0, 2, (4, 4, 64, 64))
    samples = [SegDataSample(gt_sem_seg=PixelData(data=targets[slot].to(torch.uint8))) for slot in slots]
    losses = wrapped(images[slots], samples, mode="loss")
    torch.stack([loss for name, loss in losses.items() if "bce" in name]).sum().backward()
    return {name.removeprefix("module."): p.grad for name, p in wrapped.named_parameters() if p.grad is not None}


def gradients_of_four(rank: int, config: Config, folder: str) -> None:
    """What each of four processes does: gradients of its one sample."""
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=4)
    torch.save(gradients(config.to_dict(), [rank], distributed=True), f"{folder}/{rank}.pth")
    torch.distributed.destroy_process_group()


def sync_bn_gradients(rank: int, config: Config, folder: str) -> None:
    """What each of two processes does: gradients over its two samples on a GPU, with the batch's statistics."""
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    torch.save(training_gradients(config, [rank, rank + 2], "SyncBN"), f"{folder}/{rank}.pth")
    torch.distributed.destroy_process_group()


def training_gradients(config: Config, slots: list[int], norm: str) -> dict[str, torch.Tensor]:
    """Gradients of the mean binary cross-entropy, batch normalisation in training mode, on a GPU."""
    from mmseg.utils.device import default_device, exact_convolutions

    register_all_modules()
    torch.manual_seed(0)
    text = json.dumps(config.to_dict()).replace('"SyncBN"', f'"{norm}"')
    model = build_model(Config(json.loads(text))).to(default_device()).train()
    for module in model.modules():
        if isinstance(module, nn.modules.dropout._DropoutNd):
            module.eval()
    torch.manual_seed(1)
    images, targets = torch.randn(4, 3, 64, 64), torch.randint(0, 2, (4, 4, 64, 64))
    samples = [SegDataSample(gt_sem_seg=PixelData(data=targets[slot].to(torch.uint8))).to(default_device()) for slot in slots]
    with exact_convolutions():  # batches of two and of four may take kernels with and without TF32
        losses = model(images[slots].to(default_device()), samples, mode="loss")
        torch.stack([loss for name, loss in losses.items() if "bce" in name]).sum().backward()
    return {name: p.grad.cpu() for name, p in model.named_parameters() if p.grad is not None}


THRESHOLDS = dict.fromkeys(("MA", "HE", "EX", "SE"), 0.5)
"""The model's own, which ``tools/test.py`` hands on."""


def worker(rank: int, train: Config, test: Config, runs: tuple[Config, Config], folder: str) -> None:
    """What each of the two processes does: gradients over its half of the samples, then its share of the test images, then a
    training run and the same again from the middle."""
    import mmengine.runner.runner
    import yapf.yapflib.yapf_api

    yapf.yapflib.yapf_api.FormatCode = lambda text, **_: (text, False)  # as in conftest.py, half of such a run
    mmengine.runner.runner.collect_env = dict
    os.environ.update(RANK=str(rank), WORLD_SIZE="2", LOCAL_RANK=str(rank))
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    torch.save(gradients(train.to_dict(), [rank, rank + 2], distributed=True), f"{folder}/{rank}.pth")
    build_runner(test).test()
    for config in runs:
        runner = build_runner(config)
        torch.manual_seed(100 + rank)  # each process draws its own numbers, to be found again in the resumed run
        runner.train()
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def two_processes(run_config: MakeConfig, speckled: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with each process's gradients, the scores of both in ``test``, and two runs in ``whole`` and ``resumed``."""
    folder = tmp_path_factory.mktemp("two")
    test = run_config(
        folder / "w", load_from=str(speckled), launcher="pytorch", test_evaluator__out_dir=str(folder / "test"),
        test_evaluator__thresholds=THRESHOLDS,
    )
    settings = dict(
        train_cfg__max_iters=4, default_hooks__checkpoint__interval=2, custom_hooks=[dict(type="EMAHook", momentum=0.1)],
        launcher="pytorch",
    )
    runs = (
        run_config(folder / "whole", **settings),
        run_config(folder / "resumed", resume=True, load_from=str(folder / "whole/iter_2.pth"), **settings),
    )
    torch.multiprocessing.spawn(worker, (run_config(folder), test, runs, str(folder)), nprocs=2)
    return folder


@pytest.fixture(scope="module")
def one_process(run_config: MakeConfig, speckled: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the scores of one process."""
    folder = tmp_path_factory.mktemp("one")
    where = dict(test_evaluator__out_dir=str(folder / "test"), test_evaluator__thresholds=THRESHOLDS)
    build_runner(run_config(folder, load_from=str(speckled), **where)).test()
    return folder


def same_scores(one: Path, two: Path) -> bool:
    """Whether two result folders tell the same; the images of several processes come in another order, and only what is run by
    ``tools/test.py`` says whose results they are."""

    def numbers(folder: Path) -> list[Any]:
        scores, details = (json.loads((folder / name).read_text()) for name in ("metrics.json", "details.json"))
        whose = ("test_set", "trained_on", "training", "prediction", "checkpoint")
        rows = sorted((folder / "per_image.csv").read_text().splitlines())
        return [scores, {key: value for key, value in details.items() if key not in whose}, rows]

    return numbers(one) == numbers(two)


def test_averaged_gradients_are_those_of_the_whole_batch(run_config: MakeConfig, two_processes: Path) -> None:
    config = run_config(two_processes).to_dict()
    first, second = (torch.load(two_processes / f"{rank}.pth", weights_only=True) for rank in (0, 1))
    whole, half = (gradients(config, slots, distributed=False) for slots in ([0, 1, 2, 3], [0, 2]))
    assert set(first) == set(whole)
    assert len(whole) > 100
    for name, expected in whole.items():
        assert torch.equal(first[name], second[name])
        torch.testing.assert_close(first[name], expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))
    name = next(name for name in whole if name.startswith("refine_head") and name.endswith("weight"))
    assert whole[name].any()  # the comparison can fail
    assert not torch.allclose(half[name], whole[name], rtol=1e-2)


@pytest.mark.slow
def test_averaged_gradients_of_four_processes(run_config: MakeConfig, tmp_path: Path) -> None:
    config = run_config(tmp_path)
    torch.multiprocessing.spawn(gradients_of_four, (config, str(tmp_path)), nprocs=4)
    whole = gradients(config.to_dict(), [0, 1, 2, 3], distributed=False)
    for rank in range(4):
        of_rank = torch.load(tmp_path / f"{rank}.pth", weights_only=True)
        assert set(of_rank) == set(whole)
        for name, expected in whole.items():
            torch.testing.assert_close(of_rank[name], expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))


@pytest.mark.gpu
def test_sync_bn_normalises_by_the_whole_batch(run_config: MakeConfig, tmp_path: Path) -> None:
    """The mean of two processes' gradients with SyncBN is the gradient of one process with the whole batch and BN."""
    config = run_config(tmp_path)
    torch.multiprocessing.spawn(sync_bn_gradients, (config, str(tmp_path)), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pth", weights_only=True) for rank in (0, 1))
    whole = training_gradients(config, [0, 1, 2, 3], "BN")
    for name, expected in whole.items():
        mean = (first[name] + second[name]) / 2
        torch.testing.assert_close(mean, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()))


def test_an_uneven_number_of_images_is_counted_once(one_process: Path, two_processes: Path) -> None:
    assert json.loads((two_processes / "test/details.json").read_text())["images"] == 3
    assert json.loads((one_process / "test/metrics.json").read_text())["mean"]["Dice"] > 0
    assert same_scores(one_process / "test", two_processes / "test")


def test_a_resumed_run_equals_the_whole_one_bit_for_bit(two_processes: Path) -> None:
    whole, resumed = two_processes / "whole", two_processes / "resumed"
    last = read_checkpoint(whole / "iter_4.pth")
    assert len(last["rng"]) == 2
    assert last["averaged_steps"] == 4
    assert not torch.equal(*(rng["torch"]["cpu"] for rng in last["rng"]))
    assert state_differences(resumed / "iter_4.pth", whole / "iter_4.pth") == []
    assert logged(resumed) == logged(whole)[2:]
    assert len(logged(resumed)) == 2


def test_two_processes_draw_the_batch_of_one(run_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sample j of process r is slot ``2 j + r``: order and augmentation are those of one process with the doubled batch."""
    config = run_config(tmp_path)
    register_all_modules()

    def batches(rank: int, world: int, size: int) -> list[tuple[torch.Tensor, list[str]]]:
        monkeypatch.setattr("mmengine.dataset.sampler.get_dist_info", lambda: (rank, world))
        loader = Runner.build_dataloader({**config.train_dataloader, "batch_size": size}, seed=3)
        preprocessor = MODELS.build({**config.data_preprocessor})
        preprocessor.seed, preprocessor.rank, preprocessor.world_size = 3, rank, world
        found = []
        for preprocessor.iteration, data in zip(range(3), loader, strict=False):
            batch = preprocessor(data, training=True)
            found.append((batch["inputs"], [sample.image_id for sample in batch["data_samples"]]))
        return found

    for one, left, right in zip(batches(0, 1, 4), batches(0, 2, 2), batches(1, 2, 2), strict=True):
        assert one[1] == [left[1][0], right[1][0], left[1][1], right[1][1]]
        assert torch.equal(one[0], torch.stack([left[0][0], right[0][0], left[0][1], right[0][1]]))
        assert not torch.equal(one[0][0], one[0][1])


def run(repo: Path, script: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a launch script with this interpreter and one thread a process."""
    environment = {key: value for key, value in os.environ.items() if key not in ("PORT", "NNODES", "LOCAL_RANK")}
    environment |= dict(PYTHON=sys.executable, OMP_NUM_THREADS="1")
    command = ["bash", str(repo / "tools" / script), *map(str, arguments)]
    return subprocess.run(command, cwd=repo, env=environment, capture_output=True, text=True, timeout=300)


def test_dist_train_runs_to_the_end(repo: Path, run_config: MakeConfig, tmp_path: Path) -> None:
    config = tmp_path / "tiny.py"
    run_config(tmp_path / "w", train_cfg__max_iters=2, param_scheduler=[]).dump(config)
    done = run(repo, "dist_train.sh", config, 2)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Traceback" not in done.stderr
    assert sorted(path.name for path in (tmp_path / "w").glob("*.pth")) == ["iter_2.pth", "latest.pth"]
    checkpoint = read_checkpoint(tmp_path / "w/latest.pth")
    assert len(checkpoint["rng"]) == 2
    assert not any(name.startswith("module.") for name in checkpoint["state_dict"])
    lines = [line for file in (tmp_path / "w").glob("*/vis_data/scalars.json") for line in file.read_text().splitlines()]
    assert [json.loads(line)["step"] for line in lines] == [1, 2]
    assert done.stdout.count("checkpoint  ") == 1
    logs = {path.parent.name: path.read_text() for path in (tmp_path / "w/processes").glob("*/*/attempt_0/?/stdout.log")}
    assert set(logs) == {"0", "1"}
    assert logs["0"] == done.stdout  # the console is the first process's, line by line


THREADS = """
import os, runpy, signal, sys
sys.path.insert(0, "tools")
from mmengine.hooks import Hook
from mmseg.registry import HOOKS

@HOOKS.register_module()
class PreemptHook(Hook):
    def before_train_iter(self, runner, batch_idx, data_batch=None):
        os.kill(os.getpid(), signal.SIGTERM)

code = 0
try:
    runpy.run_path("tools/train.py", run_name="__main__")
except SystemExit as end:
    code = end.code
print("left:", code, *(open(f"/proc/self/task/{task}/comm").read().strip() for task in os.listdir("/proc/self/task")))
"""


@pytest.mark.slow
@pytest.mark.parametrize(("hooks", "code"), [([], 0), ([dict(type="PreemptHook")], 143)])
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="the names of native threads are under /proc, on Linux")
def test_no_thread_of_gloo_outlives_the_run(
    repo: Path, run_config: MakeConfig, tmp_path: Path, hooks: list[dict[str, Any]], code: int
) -> None:
    """One that frees a tensor while the interpreter ends would abort the process, whose run had ended well."""
    config = run_config(tmp_path / "w", train_cfg__max_iters=2, param_scheduler=[])
    config.custom_hooks = hooks
    config.dump(tmp_path / "tiny.py")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    job = dict(RANK="0", WORLD_SIZE="1", LOCAL_RANK="0", MASTER_ADDR="127.0.0.1", MASTER_PORT=port)
    done = subprocess.run(
        [sys.executable, "-c", THREADS, tmp_path / "tiny.py", "--launcher", "pytorch", "--no-check"],
        cwd=repo, env=os.environ | job, capture_output=True, text=True, timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    last = done.stdout.splitlines()[-1]
    assert last.startswith(f"left: {code} ") and "gloo" not in last, done.stdout[-2000:]
    assert ("checkpoint  " in done.stdout) is (code == 0)


@pytest.mark.slow
def test_dist_test_gives_the_scores_of_one_process(
    repo: Path, run_config: MakeConfig, speckled: Path, one_process: Path, tmp_path: Path
) -> None:
    config = tmp_path / "tiny.py"
    run_config(tmp_path / "w").dump(config)
    done = run(repo, "dist_test.sh", config, speckled, 2, "--out", tmp_path / "two")
    assert done.returncode == 0, done.stderr[-3000:]
    assert same_scores(one_process / "test", tmp_path / "two")
    assert done.stdout.count("metrics     ") == 1
