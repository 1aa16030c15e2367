"""A small number of inputs on every surface by default, 10,000 with ``-m slow``."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from tests.fuzz import SURFACES, fuzz

pytestmark = [pytest.mark.filterwarnings("ignore")]


def held(name: str, count: int, folder: Path) -> None:
    logging.disable(logging.ERROR)
    try:
        result = fuzz(SURFACES[name](folder), count, seed=1)
    finally:
        logging.disable(logging.NOTSET)
    assert result.failures == {}
    assert result.tried >= count // 2
    assert len(result.outcomes) == 2, "inputs that are all accepted or all refused try nothing"


@pytest.mark.parametrize("name", SURFACES)
def test_a_few_inputs(name: str, tmp_path: Path) -> None:
    held(name, 16 if name == "command" else 60, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", SURFACES)
def test_many_inputs(name: str, tmp_path: Path) -> None:
    held(name, 10_000, tmp_path)
