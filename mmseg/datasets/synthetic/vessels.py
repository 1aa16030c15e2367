"""The vessel tree of an eye: arteries and veins that leave the optic disc, bend round the macula and branch."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import cv2
import numpy as np

from mmseg.datasets.synthetic.canvas import Field, Points, to_pixels, unit

__all__ = ["Branch", "draw_vessels", "grow_vessels"]

_ZOOM = 2
_PIECES = 5

_ARCADES = ((76, 90, 0.62), (-76, -90, 0.62), (125, 25, 0.35), (-125, -25, 0.35))
"""Start direction (degrees from the temporal one), turn back towards temporal, and length of that turn in radii of the field."""


class Branch(NamedTuple):
    """One vessel from fork to end: its points, its width there in pixels, and whether it is an artery."""

    points: Points
    width: np.ndarray
    artery: bool


def _walk(
    rng: np.random.Generator, start: complex, heading: float, length: float, scale: float, turn: float = 0.0, bend: float = 1.0
) -> Points:
    """A winding path: ``turn`` is spent over about ``bend`` pixels, two sine waves make it waver without drifting off."""
    step = 5 * scale
    way = step * np.arange(max(3, int(length / step)))
    headings = heading + turn * (1 - np.exp(-way / bend))
    for wave, sway in ((rng.uniform(45, 100), 0.13), (rng.uniform(150, 320), 0.2)):
        phase = rng.uniform(0, 2 * np.pi)
        headings += rng.normal(0, sway) * np.sin(2 * np.pi * way / (wave * scale) + phase)
    return start + step * np.cumsum(np.exp(1j * headings))


def grow_vessels(
    rng: np.random.Generator, *, scale: float, centre: complex, radius: float, disc: complex, fovea: complex
) -> list[Branch]:
    """Grow the tree from the optic disc outwards.

    Args:
        rng: source of randomness.
        scale: pixels per pixel of a picture 1440 wide.
        centre: middle of the field of view.
        radius: of the field of view, in pixels.
        disc: middle of the optic disc.
        fovea: middle of the macula, which vessels leave free.

    Returns:
        Branches in no special order.
    """
    temporal, side = np.angle(fovea - disc), np.sign((fovea - disc).real)
    branches, waiting = [], []
    for start, turn, bend in _ARCADES:
        for artery, calibre in ((True, 9.0), (False, 12.5)):
            heading = temporal + side * np.radians(start + rng.normal(0, 7) + (8 if artery else -8) * np.sign(start))
            turning = -side * np.radians(turn * rng.uniform(0.8, 1.15))
            origin = disc + rng.normal(0, 5 * scale) + 1j * rng.normal(0, 8 * scale)
            first = calibre * rng.uniform(0.85, 1.15) * (1.0 if abs(start) < 90 else 0.75) * scale
            path = _walk(rng, origin, heading, 2.0 * radius, scale, turning, bend * radius)
            waiting.append((path, first, artery))
    while waiting:
        path, widest, artery = waiting.pop()
        gone = (abs(path - centre) > radius + 4 * scale) | (abs(path - fovea) < 0.13 * radius)
        path = path[: int(gone.argmax()) if gone.any() else path.size]
        if path.size < 3:
            continue
        reaches_rim = abs(path[-1] - centre) > radius - 8 * scale
        width = widest * np.linspace(1, 0.6 if reaches_rim else 0.3, path.size)
        branches.append(Branch(path, width, artery))
        at = int(rng.uniform(6, 22))
        while at < path.size - 4:
            thin = width[at] * rng.uniform(0.4, 0.75)
            if thin > 1.2 * scale:
                fork = rng.choice((-1, 1)) * rng.uniform(0.5, 1.1)
                heading, length = np.angle(path[at + 1] - path[at]) + fork, thin * rng.uniform(30, 60)
                twig = _walk(rng, path[at], heading, length, scale, -rng.uniform(0.2, 0.8) * fork, 0.4 * length)
                waiting.append((twig, thin, artery))
            at += int(rng.uniform(14, 40))
    return branches


def draw_vessels(branches: list[Branch], shape: tuple[int, int], scale: float) -> Field:
    """Depth of blood in the vessels.

    Args:
        branches: what :func:`grow_vessels` grew.
        shape: ``(H, W)``.
        scale: pixels per pixel of a picture 1440 wide.

    Returns:
        ``(H, W)`` in [0, 1], about 1 in the middle of the widest vein; arteries are paler, with a reflex in the middle.
    """
    blood, reflex = (np.zeros((_ZOOM * shape[0], _ZOOM * shape[1]), np.uint8) for _ in range(2))
    pieces = [(width.mean(), points, branch.artery) for branch in branches for points, width in _split(branch)]
    for width, points, artery in sorted(pieces, key=lambda piece: piece[0]):
        depth = min(1.0, 0.34 + 0.055 * width / scale) * (0.82 if artery else 1.0)
        line = [to_pixels(points, _ZOOM)]
        cv2.polylines(blood, line, False, round(255 * depth), max(2, round(_ZOOM * width)), cv2.LINE_AA, shift=4)
        cv2.polylines(reflex, line, False, 0, max(2, round(_ZOOM * width)), cv2.LINE_8, shift=4)
        if width > 5 * scale:
            cv2.polylines(reflex, line, False, 200 if artery else 90, max(1, round(0.3 * _ZOOM * width)), cv2.LINE_AA, shift=4)
    depth_map, reflex_map = (
        unit(cv2.resize(canvas, shape[::-1], interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False), sigma * scale)
        for canvas, sigma in ((blood, 1.1), (reflex, 0.8))
    )
    return depth_map * (1 - 0.5 * reflex_map)


def _split(branch: Branch) -> list[tuple[Points, np.ndarray]]:
    """Cut a branch into pieces of one width each; neighbours share a point."""
    cuts = np.unique(np.linspace(0, branch.points.size - 1, _PIECES + 1).round().astype(int))
    return [(branch.points[a : b + 1], branch.width[a : b + 1]) for a, b in itertools.pairwise(cuts)]
