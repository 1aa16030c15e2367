"""docs/api/ is what the docstrings say now."""

from __future__ import annotations

import runpy
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
BUILDER = runpy.run_path(str(ROOT / "docs/build_api.py"))
PAGES = BUILDER["build"]()


def test_pages_are_up_to_date() -> None:
    there = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "docs/api").glob("*.md")}
    old = sorted(name for name in {*PAGES, *there} if PAGES.get(name) != there.get(name))
    assert not old, f"docs/api: {', '.join(old)} differ from the docstrings; run: python docs/build_api.py"


@pytest.mark.parametrize("package", [package for packages in BUILDER["PAGES"].values() for package in packages])
def test_every_public_name_has_its_entry_and_can_be_imported_so(package: str) -> None:
    text = "".join(PAGES.values())
    for name in import_module(package).__all__:
        assert f"\n### {name}\n" in text
        assert hasattr(import_module(package), name)


def test_sections_become_lists_and_literals_fenced() -> None:
    told = (
        "One.\n\nSee :class:`~a.b.C` and ``d``::\n\n    x = 1\n\nArgs:\n    e: first\n        line.\n    **f: more.\n\n"
        "Returns:\n    a thing.\n"
    )
    assert "\n".join(BUILDER["docstring"](told)).strip() == (
        "One.\n\nSee `C` and `d`:\n\n```text\nx = 1\n```\n\nArgs:\n\n- `e`: first line.\n- `**f`: more.\n\n"
        "Returns:\n\n- a thing."
    )


def test_a_reference_keeps_its_class_and_loses_its_modules() -> None:
    told = "See :meth:`A.b`, :meth:`~c.d.A.b`, :func:`c.d.e`, :class:`c._F` and :attr:`g`."
    assert BUILDER["docstring"](told)[0] == "See `A.b`, `A.b`, `e`, `_F` and `g`."


def test_what_is_returned_is_one_item_without_a_name() -> None:
    told = (
        "One.\n\nReturns:\n    float32 bands: the first\n    and the second.\n\n"
        "Raises:\n    ValueError: a\n        thing.\n    b: c.\n"
    )
    assert "\n".join(BUILDER["docstring"](told)).strip() == (
        "One.\n\nReturns:\n\n- float32 bands: the first and the second.\n\nRaises:\n\n- `ValueError`: a thing.\n- `b`: c.")


def test_a_list_inside_of_an_argument_stays_one() -> None:
    told = "One.\n\nArgs:\n    a: which:\n\n        - ``b``: first\n          line;\n        - ``c``: more.\n    d: last.\n"
    assert "\n".join(BUILDER["docstring"](told)).strip() == (
        "One.\n\nArgs:\n\n- `a`: which:\n  - `b`: first line;\n  - `c`: more.\n- `d`: last.")


def test_properties_are_no_calls() -> None:
    text = "".join(PAGES.values())
    for name in ("is_argmax", "probabilities", "bare_model"):  # the last two are cached
        assert f"**`{name}`**" in text and f"**`{name}()`**" not in text
