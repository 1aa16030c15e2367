"""The documents: their commands, files and options exist, their links lead somewhere."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from document_blocks import DOCUMENTS, ROOT, blocks, read, shell_lines

LINKED = [*DOCUMENTS, *sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs/api").glob("*.md"))]


def commands(document: str) -> list[str]:
    """Lines of shell blocks, without comments."""
    return [line for block in blocks(document) if block.language == "bash" for line in shell_lines(block)]


@cache
def help_text(script: str) -> str:
    return subprocess.run([sys.executable, script, "--help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("document", DOCUMENTS)
def test_commands_name_files_options_and_targets_that_exist(document: str) -> None:
    targets = set(re.findall(r"(?m)^(\w+):", (ROOT / "Makefile").read_text()))
    for command in commands(document):
        words = shlex.split(command, comments=True)
        for word in words:
            if re.match(r"(configs|tools|benchmarks|tests|weights)/", word):
                assert (ROOT / word).exists(), f"{document}: {command!r} names {word}, which is not there"
        if words[:1] == ["make"]:
            assert set(words[1:]) <= targets, f"{document}: {command!r}"
        scripts = [w for w in words if w.endswith(".py") and re.match(r"(tools|benchmarks)/", w)]
        if scripts and (ROOT / scripts[0]).exists():
            for option in (w for w in words[words.index(scripts[0]) :] if w.startswith("--")):
                assert option in help_text(scripts[0]), f"{document}: {scripts[0]} has no {option}"


@pytest.mark.parametrize("document", LINKED)
def test_links_lead_somewhere(document: str) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", read(document)):
        if "://" not in target:
            assert ((ROOT / document).parent / target).exists(), f"{document}: {target}"


@pytest.mark.parametrize("path", sorted((ROOT / "mmseg").rglob("*.py")), ids=lambda p: p.name)
def test_documents_named_in_docstrings_exist(path: Path) -> None:
    for name in re.findall(r"docs/[\w/.-]+\.md", path.read_text()):
        assert (ROOT / name).exists(), f"{path}: {name}"


def test_no_document_or_code_names_the_workplace() -> None:
    words = ("/work" + "/", "shared" + "/design", "shared" + "/data", "." + "library")
    if shutil.which("git") is None:
        pytest.skip("no git")
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()
    if not tracked:
        pytest.skip("no checkout of git: what is tracked is not known")
    for name in tracked:
        path = ROOT / name
        if path.suffix in {".py", ".md", ".sh", ".toml", ".txt", ""} and path.is_file() and name != ".ci/run":
            found = [w for w in words if w in path.read_text(errors="ignore")]
            assert not found, f"{name} names {found}"
