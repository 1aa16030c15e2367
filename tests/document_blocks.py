"""The documents as tests see them: fenced blocks, what they need, and the languages that belong together.

A line before a fenced block says what a test must know of it, and is not shown to readers::

    <!-- needs: docker, gpu -->     the block is not run by tests; the words are those of NEEDS
    <!-- file: my_dataset.py -->    the block is the content of that file, for the commands after it
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

__all__ = ["DOCUMENTS", "NEEDS", "PAIRS", "ROOT", "Block", "blocks", "prose", "read", "shell_lines"]

ROOT = Path(__file__).resolve().parents[1]

NEEDS = {
    "docker": "a Docker engine and the image",
    "gpu": "a GPU",
    "cluster": "several machines, Slurm or SSH",
    "network": "a download",
    "data": "files that only the user has",
    "system": "another operating system, an editor, or rights over the machine",
    "time": "many minutes: a measurement, a whole training, all tests",
}

_ENGLISH = sorted(p.relative_to(ROOT).as_posix() for p in (ROOT / "docs").glob("*.md"))
_CHINESE = {name: name.replace("docs/", "docs/zh_cn/", 1) for name in _ENGLISH}
PAIRS = {"README.md": "README_zh-CN.md"} | {name: twin for name, twin in _CHINESE.items() if (ROOT / twin).exists()}
"""English documents by name, and their Chinese twins."""
DOCUMENTS = ["README.md", "CONTRIBUTING.md", *_ENGLISH, *PAIRS.values()]


@dataclass(frozen=True)
class Block:
    """A fenced block: ``language`` as written after the fence, ``file`` empty but for files, ``line`` of the fence from 1."""

    document: str
    line: int
    language: str
    needs: tuple[str, ...]
    file: str
    code: str

    def __str__(self) -> str:
        return f"{self.document}:{self.line}"


def read(document: str) -> str:
    """The text of a document, by its name from the root of the checkout."""
    return (ROOT / document).read_text(encoding="utf-8")


def blocks(document: str) -> list[Block]:
    """Every fenced block in order."""
    text = read(document)
    found = re.finditer(r"(?m)^(?:<!-- (needs|file): ([^\n]*?) -->\n)?```(\w*)\n(.*?)^```$", text, re.DOTALL)
    return [
        Block(
            document, text.count("\n", 0, match.start()) + 1, match[3],
            tuple(re.split(r",\s*", match[2])) if match[1] == "needs" else (), match[2] if match[1] == "file" else "", match[4],
        )
        for match in found
    ]


def prose(document: str) -> str:
    """The text without its fenced blocks and comments."""
    return re.sub(r"(?ms)^```\w*\n.*?^```$|<!--.*?-->", "", read(document))


def shell_lines(block: Block) -> list[str]:
    """The commands of a shell block: continued lines joined, without comments."""
    lines = [re.sub(r"(^|\s)#.*", "", line).strip() for line in block.code.replace("\\\n", " ").splitlines()]
    return [line for line in lines if line]
