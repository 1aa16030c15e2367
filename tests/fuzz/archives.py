"""ZIP archives: hostile names, links, lies about sizes, and damage."""

from __future__ import annotations

import io
import shutil
import zipfile
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from mmseg.utils.archives import extract_zip
from mmseg.utils.errors import UserError

from .mutations import damaged
from .surface import Surface, snapshot

__all__ = ["Archives"]

_LIMIT = 2**16

_PARTS = st.one_of(
    st.sampled_from(["a", "b", "..", ".", "", "C:", "\\", "con", "a\\..", "~", "x" * 300, "a.txt", " ", "\xe9"]),
    st.text(max_size=6),
)
_NAMES = st.builds(lambda root, parts, end: root + "/".join(parts) + end, st.sampled_from(["", "", "", "/", "//", "C:/"]),
                   st.lists(_PARTS, min_size=1, max_size=4), st.sampled_from(["", "", "/"]))
_MODES = st.sampled_from([0, 0o100644, 0o120777, 0o040755, 0o010644, 0o020644, 0o104755, 0o100000])
_MEMBERS = st.lists(
    st.tuples(_NAMES, st.binary(max_size=50), _MODES, st.sampled_from([0, 8, 12, 14]), st.integers(1, 3000)), max_size=5
)


def _built(members: list[tuple[str, bytes, int, int, int]]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content, mode, method, times in members:
            info = zipfile.ZipInfo(name.encode("utf-8", "replace").decode())
            info.external_attr, info.compress_type = mode << 16, method
            archive.writestr(info, content * times)
    return buffer.getvalue()


_PLAIN = [("images/train/a.jpg", b"abc", 0o100644, 8, 9), ("masks/", b"", 0o040755, 0, 1), ("masks/a.png", b"x", 0, 0, 1)]


@st.composite
def _damaged_archive(draw: Callable[..., Any]) -> bytes:
    return draw(damaged([_built(draw(_MEMBERS))]))


class Archives(Surface):
    name = "archive"
    modules = ("mmseg.utils.archives",)

    def inputs(self) -> SearchStrategy[Any]:
        files = st.one_of(_MEMBERS.map(_built), damaged([_built(_PLAIN)]), _damaged_archive())
        return st.tuples(files, st.booleans())

    def attempt(self, value: tuple[bytes, bool]) -> str:
        content, made = value
        shutil.rmtree(self.folder)
        (self.folder / "in").mkdir(parents=True)
        archive, target = self.folder / "in/a.zip", self.folder / "in/out"
        archive.write_bytes(content)
        (self.folder / "a").write_text("precious")
        if made:
            target.mkdir()
        before = snapshot(self.folder)
        try:
            written = extract_zip(archive, target, max_bytes=_LIMIT)
        except UserError:
            assert snapshot(self.folder) == before, "a refused archive leaves everything as it was"
            return "refused"
        after = snapshot(self.folder)
        assert all(after[name] == kept for name, kept in before.items()), "a file outside was changed"
        inside = [name for name in after if name not in before]
        assert all(name == "in/out" or name.startswith("in/out/") for name in inside), "a file was written outside"
        assert all(not p.is_symlink() and p.resolve().is_relative_to(target.resolve()) for p in written)
        assert sum(len(after[name] or b"") for name in inside) <= _LIMIT
        return "accepted"
