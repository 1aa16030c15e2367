"""Damage for bytes and text, drawn by Hypothesis."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import strategies as st

__all__ = ["damaged", "damaged_text", "repair_png"]

_NUMBERS = st.sampled_from([0, 1, 2, 127, 128, 255, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1])

_STEPS = st.one_of(
    st.tuples(st.just("flip"), st.integers(0, 2**20), st.integers(0, 7)),
    st.tuples(st.just("set"), st.integers(0, 2**20), st.integers(0, 255)),
    st.tuples(st.just("number"), st.integers(0, 2**20), st.tuples(_NUMBERS, st.sampled_from(["<I", ">I", "<H", ">H"]))),
    st.tuples(st.just("cut"), st.integers(0, 2**20), st.just(0)),
    st.tuples(st.just("insert"), st.integers(0, 2**20), st.binary(min_size=1, max_size=12)),
    st.tuples(st.just("remove"), st.integers(0, 2**20), st.integers(1, 40)),
    st.tuples(st.just("repeat"), st.integers(0, 2**20), st.integers(1, 40)),
    st.tuples(st.just("near start"), st.integers(0, 64), st.integers(0, 255)),
)
"""What is done, where (modulo the length), and with what."""


def _apply(data: bytearray, step: tuple[str, int, Any]) -> bytearray:
    kind, place, value = step
    i = place % max(1, len(data))
    if kind == "cut":
        return data[:i]
    if kind == "insert":
        return data[:i] + value + data[i:]
    if kind == "remove":
        return data[:i] + data[i + value:]
    if kind == "repeat":
        return data[: i + value] + data[i:]
    if kind == "number":
        packed = struct.pack(value[1], value[0] % 2 ** (8 * struct.calcsize(value[1])))
        return data[:i] + packed + data[i + len(packed):]
    if data:
        data[i] = data[i] ^ (1 << value) if kind == "flip" else value
    return data


@st.composite
def damaged(draw: Callable[..., Any], seeds: Sequence[bytes], repair: Callable[[bytes], bytes] | None = None) -> bytes:
    """One of the seeds with up to four kinds of damage; seldom bytes that were never a file."""
    if draw(st.integers(0, 49)) == 0:
        return draw(st.binary(max_size=200))
    data = bytearray(draw(st.sampled_from(seeds)))
    for step in draw(st.lists(_STEPS, min_size=1, max_size=4)):
        data = _apply(data, step)
    made = bytes(data)
    return repair(made) if repair is not None and draw(st.booleans()) else made


def repair_png(data: bytes) -> bytes:
    """Right checksums for the chunks of a PNG, so that damage reaches what lies behind their test."""
    if data[:4] != b"\x89PNG":
        return data
    made, i = data[:8], 8
    while i + 12 <= len(data):
        length = struct.unpack(">I", data[i: i + 4])[0]
        body = data[i + 4: i + 8 + length]
        if len(body) < length + 4:
            break
        made += data[i: i + 4] + body + struct.pack(">I", zlib.crc32(body))
        i += 12 + length
    return made + data[i:]


@st.composite
def damaged_text(draw: Callable[..., Any], seeds: Sequence[str], words: Sequence[str]) -> str:
    """One of the seeds with words replaced by others, lines lost, doubled and moved, and characters put in."""
    lines = draw(st.sampled_from(seeds)).split("\n")
    for _ in range(draw(st.integers(1, 5))):
        i = draw(st.integers(0, len(lines) - 1))
        kind = draw(st.sampled_from(["word", "word", "word", "lose", "double", "move", "character", "cut"]))
        if kind == "word":
            parts = lines[i].split("=")
            j = draw(st.integers(0, len(parts) - 1))
            tail = "," if parts[j].rstrip().endswith(",") else ""
            parts[j] = draw(st.sampled_from(words)) + tail
            lines[i] = "=".join(parts)
        elif kind == "lose" and len(lines) > 1:
            del lines[i]
        elif kind == "double":
            lines.insert(i, lines[i])
        elif kind == "move":
            lines.insert(draw(st.integers(0, len(lines) - 1)), lines.pop(i))
        elif kind == "character":
            k = draw(st.integers(0, len(lines[i])))
            lines[i] = lines[i][:k] + draw(st.text(min_size=1, max_size=3)) + lines[i][k:]
        elif kind == "cut":
            lines[i] = lines[i][: draw(st.integers(0, len(lines[i])))]
    return "\n".join(lines)
