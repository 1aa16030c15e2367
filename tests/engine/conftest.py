"""Quicker runs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True, scope="module")
def _brief_preparations() -> Iterator[None]:
    """Leave out what takes more than half of a tiny run: formatting the configuration (four times) and asking for compilers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("yapf.yapflib.yapf_api.FormatCode", lambda text, **_: (text, False))
        patch.setattr("mmengine.runner.runner.collect_env", dict)
        yield
