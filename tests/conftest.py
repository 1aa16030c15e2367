"""What several tests share: a tiny synthetic data set, a tiny config, and the real images where there are any."""

from __future__ import annotations

import contextlib
import copy
import itertools
import logging
import os
import runpy
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]


def pytest_configure(config: pytest.Config) -> None:
    """All tests but those marked ``gpu`` are of a CPU, also on a machine with a GPU."""
    if "gpu" not in config.option.markexpr.replace("not gpu", ""):
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


@pytest.fixture(scope="session")
def repo() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Run a tool in this process; gives its exit code."""
    tools = ROOT / "tools"

    def run(tool: str, *arguments: str | Path) -> int:
        monkeypatch.syspath_prepend(str(tools))
        monkeypatch.setattr(sys, "argv", [tool, *map(str, arguments)])
        monkeypatch.setenv("LOCAL_RANK", "0")  # prepare_config sets it for good
        monkeypatch.setattr(logging, "raiseExceptions", False)  # loggers of earlier tests hold streams that are closed
        try:
            runpy.run_path(str(tools / tool), run_name="__main__")
        except SystemExit as done:
            return int(done.code or 0)
        return 0

    return run


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four training and three test photographs of 240x160 in the tidy layout; read only."""
    from mmseg.datasets.synthetic import make_dataset

    root = tmp_path_factory.mktemp("data") / "synthetic"
    make_dataset(root, 4, 3, (240, 160), 0, 2)
    return root


@pytest.fixture(scope="session")
def tiny_options(tiny_data: Path) -> dict[str, Any]:
    """Overrides that make the demo config train in seconds: crops of 64, batch 2, 4 iterations, float32.

    What the golden numbers depend on is pinned here, so that the demo can be tuned. Not to be changed in place.
    """
    return {
        "train_dataloader.dataset.dataset.data_root": str(tiny_data),
        "train_dataloader.dataset.size": (240, 160),
        "train_dataloader.batch_size": 2,
        "test_dataloader.dataset.data_root": str(tiny_data),
        "test_dataloader.dataset.size": (240, 160),
        "data_preprocessor.train_transforms.0.crop_size": (64, 64),
        "data_preprocessor.train_transforms.0.scale": (0.8, 1.25),
        "data_preprocessor.train_transforms.1": dict(
            type="BatchPhotometricDistortion", brightness=0.15, contrast=0.15, saturation=0.15, hue=5.0, gamma=0.1, prob=0.8
        ),
        "optim_wrapper.dtype": "float32",
        "optim_wrapper.optimizer.lr": 4e-3,
        "train_cfg.max_iters": 4,
        "param_scheduler.0.end": 2,
        "param_scheduler.1.begin": 2,
        "param_scheduler.1.eta_min": 1e-15,  # not 0, that a test may resume beyond the end
        "default_hooks.logger.interval": 1,
        "env_cfg.cudnn_benchmark": False,
    }


NARROW = {
    "model.backbone.base_channels": 8, "model.backbone.stem_channels": 8, "model.backbone.init_cfg": None,
    "model.decode_head.0.in_channels": 64, "model.decode_head.0.channels": 16,
    "model.decode_head.1.prev_channels": 16, "model.decode_head.1.fuse_channels": (16, 16, 16),
    "model.auxiliary_head.in_channels": 32, "model.auxiliary_head.channels": 16,
}
"""Overrides that make the demo config's network narrow: its checkpoints are 200 MB as it is."""

_run_number = itertools.count()


@pytest.fixture(scope="session")
def run_config(demo_config: Path, tiny_options: dict[str, Any]) -> Callable[..., Any]:
    """A function ``(work_dir, **overrides)`` giving the tiny, narrow configuration; ``__`` in a name stands for a dot."""

    from mmseg.engine.config import load_config, merge_options

    base = load_config(demo_config)

    def make(work_dir: Path, curves: bool = False, **overrides: Any) -> Any:
        dotted = {name.replace("__", "."): value for name, value in overrides.items()}
        config = merge_options(copy.deepcopy(base), tiny_options | NARROW | dotted)
        if not curves:  # half a second a picture
            del config.default_hooks.curves
        config.work_dir = str(work_dir)
        config.experiment_name = f"test{next(_run_number)}"  # two runs of one second would share mmengine's log otherwise
        return config

    return make


@contextlib.contextmanager
def _brief_preparations() -> Iterator[None]:
    """Leave out what takes more than half of a tiny run: formatting the configuration (four times) and asking for compilers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("yapf.yapflib.yapf_api.FormatCode", lambda text, **_: (text, False))
        patch.setattr("mmengine.runner.runner.collect_env", dict)
        yield


@pytest.fixture(scope="module")
def brief() -> Iterator[None]:
    """Quicker runs in a module."""
    with _brief_preparations():
        yield


@pytest.fixture
def briefly() -> Iterator[None]:
    """Quicker runs in one test."""
    with _brief_preparations():
        yield


@pytest.fixture(scope="session")
def trained(run_config: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``latest.pth`` of the tiny, narrow configuration after its four iterations; read only."""
    from mmseg.apis import build_runner

    config = run_config(tmp_path_factory.mktemp("trained"))
    with _brief_preparations():
        build_runner(config).train()
    return Path(config.work_dir, "latest.pth")


@pytest.fixture(scope="session")
def speckled(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trained checkpoint with classifiers that say 0.5 on average, so that lesions are seen everywhere; read only."""
    from mmseg.engine.checkpoint import read_checkpoint, write_checkpoint

    checkpoint = read_checkpoint(trained)
    classifier = "refine_head.conv_seg.conv_out"
    checkpoint["state_dict"][f"{classifier}.bias"].zero_()
    checkpoint["state_dict"][f"{classifier}.weight"].mul_(30)
    path = tmp_path_factory.mktemp("speckled") / "latest.pth"
    write_checkpoint(checkpoint, path)
    return path


@pytest.fixture(scope="session")
def two_classes(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trained checkpoint as if it knew two lesions; read only."""
    from mmseg.engine.checkpoint import read_checkpoint, write_checkpoint

    checkpoint = read_checkpoint(trained)
    for name, tensor in checkpoint["state_dict"].items():
        if ("conv_seg" in name or "aux_classifiers" in name) and tensor.shape[:1] == (4,):
            checkpoint["state_dict"][name] = tensor[:2].clone()
    path = tmp_path_factory.mktemp("two_classes") / "two_classes.pth"
    write_checkpoint(checkpoint, path)
    return path


@pytest.fixture(scope="session")
def demo_config(repo: Path) -> Path:
    """What ``make demo`` runs."""
    return repo / "configs/sdcnet/sdcnetplus_r18-d8_256x256_demo_synthetic.py"


@pytest.fixture(scope="session")
def idrid_root() -> Path:
    """The real IDRiD images; the test is skipped where ``IDRID_ROOT`` does not name them."""
    root = os.environ.get("IDRID_ROOT")
    if not root:
        pytest.skip("IDRID_ROOT is not set: the real IDRiD images are not at hand")
    return Path(root)
