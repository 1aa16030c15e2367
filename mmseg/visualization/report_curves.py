"""Curves as SVG, drawn by hand: no script and no file beside the page."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

__all__ = ["draw_svg_curve"]

_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP, _RIGHT = 300, 230, 44, 36, 24, 14


def draw_svg_curve(
    title: str, x: Sequence[float], y: Sequence[float], labels: tuple[str, str], ticks: Sequence[tuple[float, str]],
    marks: Sequence[str] = (),
) -> str:
    """One curve over a grid; y runs from 0 to 1.

    Args:
        title: above the curve.
        x: ``(N,)``, at least 0.
        y: ``(N,)``, 0 to 1.
        labels: of the two axes.
        ticks: of the x axis, place and text, ascending; the axis ends at the last.
        marks: ``(N,)`` texts that are shown where the pointer rests on a point; none draws no points.

    Returns:
        an ``<svg>`` element.
    """
    top = ticks[-1][0]

    def place(a: float, b: float) -> tuple[float, float]:
        across, down = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
        return round(_LEFT + across * min(a, top) / top, 1), round(_TOP + down * (1 - b), 1)

    parts = [f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img"><title>{escape(title)}</title>']
    for i in range(6):
        (left, level), (right, _) = place(0, i / 5), place(top, i / 5)
        parts.append(f'<line class="grid" x1="{left}" y1="{level}" x2="{right}" y2="{level}"/>')
        parts.append(f'<text x="{left - 6}" y="{level + 4}" text-anchor="end">{i / 5:.1f}</text>')
    for value, text in ticks:
        (at, bottom), (_, upper) = place(value, 0), place(0, 1)
        parts.append(f'<line class="grid" x1="{at}" y1="{upper}" x2="{at}" y2="{bottom}"/>')
        parts.append(f'<text x="{at}" y="{bottom + 14}" text-anchor="middle">{escape(text)}</text>')
    points = [place(a, b) for a, b in zip(x, y, strict=True)]
    parts.append('<polyline points="' + " ".join(f"{a},{b}" for a, b in points) + '"/>')
    for (a, b), mark in zip(points, marks, strict=False):
        parts.append(f'<circle cx="{a}" cy="{b}" r="3"><title>{escape(mark)}</title></circle>')
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    parts.append(f'<text class="name" x="{middle}" y="14" text-anchor="middle">{escape(title)}</text>')
    parts.append(f'<text x="{middle}" y="{_HEIGHT - 4}" text-anchor="middle">{escape(labels[0])}</text>')
    parts.append(f'<text transform="translate(11 {_HEIGHT / 2}) rotate(-90)" text-anchor="middle">{escape(labels[1])}</text>')
    return "".join(parts) + "</svg>"
