"""English and Chinese documents say the same: headings, blocks, links, pictures and numbers; and what they say is so."""

from __future__ import annotations

import os
import re
from collections import Counter
from functools import cache
from pathlib import PurePosixPath

import pytest
from document_blocks import DOCUMENTS, PAIRS, ROOT, blocks, prose, read

TWINS = {twin: name for name, twin in PAIRS.items()}
LINK = re.compile(r"\]\(([^)\s]+)\)")


def headings(document: str) -> list[int]:
    """Their levels."""
    return [len(mark) for mark in re.findall(r"(?m)^(#+) ", prose(document))]


def links(document: str) -> list[str]:
    """Every target from the root of the checkout, a Chinese page by its English name."""
    found = []
    for target in LINK.findall(prose(document)):
        path, _, anchor = target.partition("#")
        if "://" not in target and path:
            path = os.path.normpath(str(PurePosixPath(document).parent / path))
            found.append(TWINS.get(path, path) + ("#" if anchor else ""))
        else:
            found.append(target)
    return sorted(set(found) - {document, PAIRS.get(document), TWINS.get(document)})


def numbers(document: str) -> Counter[str]:
    """Every number in the text, but for those in links."""
    return Counter(re.findall(r"\d+(?:[.,]\d+)*", LINK.sub("]", prose(document))))


@cache
def anchors(document: str) -> set[str]:
    """As GitHub makes them of headings."""
    titles = re.findall(r"(?m)^#+ (.*)$", prose(document))
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("english", PAIRS)
class TestTwins:
    def test_headings(self, english: str) -> None:
        assert headings(english) == headings(PAIRS[english])

    def test_blocks(self, english: str) -> None:
        ours, theirs = ([(b.language, b.needs, b.file, b.code) for b in blocks(name)] for name in (english, PAIRS[english]))
        if english in ("README.md", "docs/python_api.md"):  # comments there are translated
            ours, theirs = ([(*b[:3], re.sub(r"#.*", "", b[3])) for b in found] for found in (ours, theirs))
        assert ours == theirs

    def test_links_and_pictures(self, english: str) -> None:
        assert links(english) == links(PAIRS[english])

    def test_numbers(self, english: str) -> None:
        ours, theirs = numbers(english), numbers(PAIRS[english])
        assert ours == theirs, f"{PAIRS[english]}: missing {ours - theirs}, more {theirs - ours}"

    def test_paragraphs(self, english: str) -> None:
        """Tables have the same rows, and as many paragraphs or points are told."""
        ours, theirs = (Counter(re.findall(r"(?m)^(\||-) ", prose(name))) for name in (english, PAIRS[english]))
        assert ours == theirs


def test_every_chinese_page_has_a_twin_and_the_index_names_the_others() -> None:
    chinese = {path.relative_to(ROOT).as_posix() for path in (ROOT / "docs/zh_cn").rglob("*.md")}
    assert chinese <= set(PAIRS.values())
    for index in ("docs/README.md", "docs/zh_cn/README.md"):
        pages = {os.path.normpath(str(PurePosixPath(index).parent / t)) for t in LINK.findall(prose(index)) if "://" not in t}
        english = {n for n in DOCUMENTS if re.fullmatch(r"docs/\w+\.md", n) and n != "docs/README.md"}
        expected = english if index == "docs/README.md" else {PAIRS.get(name, name) for name in english}
        assert expected <= pages, f"{index} does not name {sorted(expected - pages)}"


@pytest.mark.parametrize("document", DOCUMENTS)
def test_anchors_exist(document: str) -> None:
    for target in LINK.findall(prose(document)):
        path, _, anchor = target.partition("#")
        if anchor and "://" not in target:
            page = os.path.normpath(str(PurePosixPath(document).parent / path)) if path else document
            assert anchor in anchors(page), f"{document}: {target}"


def test_addresses_outside_are_few_and_known() -> None:
    """They are not fetched; each was opened by a person when it was written down."""
    found = {match for name in DOCUMENTS for match in re.findall(r"https?://[^\s)`>]+", read(name))}
    assert found == {"https://hypothesis.readthedocs.io"}


@pytest.mark.parametrize("document", ["docs/troubleshooting.md"])
def test_messages_that_are_quoted_are_those_of_the_program(document: str) -> None:
    """What lies between two ``<...>`` stands in the code as it is."""
    code = "\n".join(path.read_text() for folder in ("mmseg", "tools") for path in (ROOT / folder).rglob("*.py"))
    code = re.sub(r'f?"\s*\n\s*f?"', "", code + (ROOT / "Makefile").read_text()).replace('\\"', '"')
    quoted = [b.code.strip() for b in blocks(document) if b.language == "text"]
    table = read(document).partition("## Checkpoints")[2].partition("## Installing")[0]
    quoted += re.findall(r"(?m)^\| `([^`]*)` \|", table)
    assert len(quoted) > 10
    for message in quoted:
        for part in re.split(r"<[^>]*>|this torch |: got | GiB free, expected | MiB free, expected |, expected |; | \(", message):
            assert part.strip(" .(),:") in code, f"{document}: {part!r} of {message!r} is not in the code"
