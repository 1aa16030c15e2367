"""The documents: their commands, files and options exist, and both languages have the same ones."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
READMES = ("README.md", "README_zh-CN.md")
DOCUMENTS = [*READMES, "CONTRIBUTING.md", *sorted(p.relative_to(ROOT).as_posix() for p in (ROOT / "docs").rglob("*.md"))]


def commands(document: str) -> list[str]:
    """Lines of shell blocks, without comments and prompts."""
    text = (ROOT / document).read_text()
    blocks = re.findall(r"```bash\n(.*?)```", text, re.DOTALL) + re.findall(r"(?m)^    ((?:python|make|bash|nohup) .*)$", text)
    lines = [line.split("  #")[0].strip() for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


@cache
def help_text(script: str) -> str:
    return subprocess.run([sys.executable, script, "--help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("document", DOCUMENTS)
def test_commands_name_files_options_and_targets_that_exist(document: str) -> None:
    targets = set(re.findall(r"(?m)^(\w+):", (ROOT / "Makefile").read_text()))
    for command in commands(document):
        words = shlex.split(command, comments=True)
        for word in words:
            if re.match(r"(configs|tools|benchmarks|tests)/", word):
                assert (ROOT / word).exists(), f"{document}: {command!r} names {word}, which is not there"
        if words[:1] == ["make"]:
            assert set(words[1:]) <= targets, f"{document}: {command!r}"
        scripts = [w for w in words if w.endswith(".py") and re.match(r"(tools|benchmarks)/", w)]
        if scripts and (ROOT / scripts[0]).exists():
            for option in (w for w in words if w.startswith("--")):
                assert option in help_text(scripts[0]), f"{document}: {scripts[0]} has no {option}"


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document: str) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", (ROOT / document).read_text()):
        if "://" not in target:
            assert ((ROOT / document).parent / target).exists(), f"{document}: {target}"


def test_both_readmes_have_the_same_commands_and_pictures() -> None:
    english, chinese = (commands(name) for name in READMES)
    assert english == chinese and len(english) >= 8
    pictures = [re.findall(r"!\[.*?\]\((.*?)\)", (ROOT / name).read_text()) for name in READMES]
    assert pictures[0] == pictures[1] and pictures[0]


def test_both_readmes_have_the_same_numbers() -> None:
    numbers = [sorted(re.findall(r"\d+\.\d+", (ROOT / name).read_text())) for name in READMES]
    assert numbers[0] == numbers[1]


@pytest.mark.parametrize("path", sorted((ROOT / "mmseg").rglob("*.py")), ids=lambda p: p.name)
def test_documents_named_in_docstrings_exist(path: Path) -> None:
    for name in re.findall(r"docs/[\w/.-]+\.md", path.read_text()):
        assert (ROOT / name).exists(), f"{path}: {name}"


def test_no_document_or_code_names_the_workplace() -> None:
    words = ("/work" + "/", "shared" + "/design", "shared" + "/data", "." + "library")
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()
    for name in tracked:
        path = ROOT / name
        if path.suffix in {".py", ".md", ".sh", ".toml", ".txt", ""} and path.is_file() and name != ".ci/run":
            found = [w for w in words if w in path.read_text(errors="ignore")]
            assert not found, f"{name} names {found}"
