"""What several tests share: a tiny synthetic data set, a tiny config, and the real images where there are any."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def repo() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four training and three test photographs of 240x160 in the tidy layout; read only."""
    from mmseg.datasets.synthetic import make_dataset

    root = tmp_path_factory.mktemp("data") / "synthetic"
    make_dataset(root, 4, 3, (240, 160), 0, 2)
    return root


@pytest.fixture
def tiny_options(tiny_data: Path) -> dict[str, Any]:
    """Overrides that make the demo config train in seconds: crops of 64, batch 2, 4 iterations."""
    return {
        "train_dataloader.dataset.dataset.data_root": str(tiny_data),
        "train_dataloader.dataset.size": (240, 160),
        "train_dataloader.batch_size": 2,
        "test_dataloader.dataset.data_root": str(tiny_data),
        "test_dataloader.dataset.size": (240, 160),
        "data_preprocessor.train_transforms.0.crop_size": (64, 64),
        "train_cfg.max_iters": 4,
        "param_scheduler.0.end": 2,
        "param_scheduler.1.begin": 2,
        "default_hooks.logger.interval": 1,
        "env_cfg.cudnn_benchmark": False,
    }


@pytest.fixture
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
