"""Quicker runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from comparing import MakeConfig, train


@pytest.fixture(autouse=True, scope="module")
def _brief(brief: None) -> None:
    """In every module here."""


@pytest.fixture(scope="session")
def whole(run_config: MakeConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The work_dir of a run of four iterations that was not interrupted, with a checkpoint after the second; read only."""
    work_dir = tmp_path_factory.mktemp("whole")
    train(run_config(work_dir, curves=True, default_hooks__checkpoint__interval=2, log_processor__window_size=1))
    return work_dir
