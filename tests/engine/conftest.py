"""Quicker runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from comparing import MakeConfig, train


@pytest.fixture(autouse=True, scope="module")
def _brief_preparations() -> Iterator[None]:
    """Leave out what takes more than half of a tiny run: formatting the configuration (four times) and asking for compilers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("yapf.yapflib.yapf_api.FormatCode", lambda text, **_: (text, False))
        patch.setattr("mmengine.runner.runner.collect_env", dict)
        yield


@pytest.fixture(scope="session")
def whole(run_config: MakeConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The work_dir of a run of four iterations that was not interrupted, with a checkpoint after the second; read only."""
    work_dir = tmp_path_factory.mktemp("whole")
    train(run_config(work_dir, curves=True, default_hooks__checkpoint__interval=2, log_processor__window_size=1))
    return work_dir
