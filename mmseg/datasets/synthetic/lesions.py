"""The four lesions: how many, how large, where, of what form.

Sizes are those measured on IDRiD, in pixels of a picture 1440 wide (a third of the original's width): microaneurysms 5.7
across, haemorrhages 15, hard exudates 5.7, soft exudates 34 (medians).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mmseg.datasets.synthetic.canvas import Field, Points, blur, fill, outline, smooth_noise, unit
from mmseg.datasets.synthetic.eye import Eye

__all__ = ["Lesion", "draw_lesions"]


@dataclass(frozen=True)
class Lesion:
    """One kind of lesion in one image: its mask, bool ``(H, W)``, and its strength, ``(H, W)`` in [0, 1]."""

    mask: np.ndarray
    strength: Field


class _Brush:
    """Draws the outlines of one kind of lesion, on the canvas of the mask and on that of the strength."""

    def __init__(self, rng: np.random.Generator, eye: Eye) -> None:
        self.rng, self.eye = rng, eye
        self.cover, self.strength = np.zeros(eye.shape, np.uint8), np.zeros(eye.shape, np.uint8)

    def blob(self, centre: complex, radius: float, *, elongation: float, angle: float, roughness: float, least: float) -> None:
        """Draw one lesion; ``radius`` in pixels at width 1440, strength even between ``least`` and 1."""
        points = outline(self.rng, centre, max(1.0, radius * self.eye.scale), elongation, angle, roughness)
        fill(self.cover, points)
        fill(self.strength, points, int(255 * self.rng.uniform(least, 1)))

    def done(self, softness: float) -> Lesion:
        """The lesion; ``softness`` is the sigma of its edge, in pixels at width 1440."""
        inside = self.eye.field > 0.99
        return Lesion((self.cover > 127) & inside, unit(self.strength, softness * self.eye.scale) * inside)


def _scatter(rng: np.random.Generator, eye: Eye, count: int, free: np.ndarray, spread: float = 0.5) -> Points:
    """At most ``count`` places about the macula (normal, ``spread`` radii wide) where ``free``, ``(H, W)``, is set."""
    pole = eye.fovea + 0.35 * (eye.disc - eye.fovea)
    tries = 12 * count + 12
    places = pole + spread * eye.radius * (rng.standard_normal(tries) + 1j * rng.standard_normal(tries))
    return _where(places, eye, free)[:count]


def _where(places: Points, eye: Eye, free: np.ndarray) -> Points:
    """Those of the places that lie well inside the field of view and where ``free`` is set."""
    column, row = places.real.round().astype(int), places.imag.round().astype(int)
    margin = 3
    inside = (column >= margin) & (row >= margin) & (column < eye.shape[1] - margin) & (row < eye.shape[0] - margin)
    inside &= abs(places - eye.centre) < 0.96 * eye.radius
    return places[inside][free[row[inside], column[inside]]]


def _microaneurysms(rng: np.random.Generator, eye: Eye, severity: float, free: np.ndarray, bleeding: np.ndarray) -> Lesion:
    """Round red dots off the vessels; one in twelve lies at the edge of a haemorrhage."""
    brush, count = _Brush(rng, eye), max(4, round(48 * severity))
    places = _scatter(rng, eye, count, free)
    shores = np.argwhere(bleeding)
    if shores.size:
        row, column = shores[rng.integers(0, len(shores), 1 + count // 12)].T
        places = np.concatenate([places, _where(column + 1j * row, eye, free)])
    for place in places:
        radius = 2.85 * np.exp(rng.normal(0, 0.22))
        brush.blob(place, radius, elongation=rng.uniform(1, 1.3), angle=rng.uniform(0, np.pi), roughness=0.06, least=0.6)
    return brush.done(0.6)


def _haemorrhages(rng: np.random.Generator, eye: Eye, severity: float, free: np.ndarray) -> Lesion:
    """Dots, ragged blots, and flames along the nerve fibres."""
    brush = _Brush(rng, eye)
    for place in _scatter(rng, eye, max(2, round(38 * severity)), free, 0.55):
        radius = min(48.0, 7.5 * np.exp(rng.normal(0, 0.62)))
        form = rng.choice(("dot", "blot", "flame"), p=(0.35, 0.4, 0.25))
        along = np.angle(place - eye.disc) + rng.normal(0, 0.2)
        elongation, roughness = {"dot": (1.1, 0.08), "blot": (1.4, 0.3), "flame": (rng.uniform(2.5, 4.5), 0.22)}[form]
        brush.blob(place, radius, elongation=elongation, angle=along, roughness=roughness, least=0.55)
    lesion = brush.done(1.1)
    clots = np.clip(0.9 + 0.12 * smooth_noise(rng, eye.shape, 7 * eye.scale), 0.6, 1.1)
    return Lesion(lesion.mask, lesion.strength * clots)


def _hard_exudates(rng: np.random.Generator, eye: Eye, severity: float, free: np.ndarray) -> Lesion:
    """Sharp yellow specks in clouds and in rings, now and then run together into plaques."""
    brush = _Brush(rng, eye)
    for heart in _scatter(rng, eye, max(1, round(rng.uniform(3, 8) * severity**0.7)), free, 0.35):
        count, wide = round(42 * severity**0.5 * np.exp(rng.normal(0, 0.5))), rng.uniform(22, 62) * eye.scale
        spread = rng.standard_normal(count) + 1j * rng.standard_normal(count)
        if rng.uniform() < 0.4:
            spread = 1.6 * np.exp(1j * rng.uniform(0.6, 2) * np.pi * rng.uniform(0, 1, count)) + 0.22 * spread
        for place in _where(heart + wide * spread * np.exp(2j * np.pi * rng.uniform()), eye, free):
            plaque = rng.uniform() < 0.04
            radius = rng.uniform(7, 15) if plaque else 2.8 * np.exp(rng.normal(0, 0.5))
            elongation, angle = rng.uniform(1, 1.7), rng.uniform(0, np.pi)
            brush.blob(place, radius, elongation=elongation, angle=angle, roughness=0.24, least=0.55)
    return brush.done(0.55)


def _soft_exudates(rng: np.random.Generator, eye: Eye, severity: float, free: np.ndarray) -> Lesion:
    """Cotton-wool spots: large, pale, fluffy, without an edge."""
    brush = _Brush(rng, eye)
    free = free & (eye.distance(eye.disc) > 0.22) & (eye.distance(eye.fovea) > 0.12)
    for place in _scatter(rng, eye, max(1, round(4.5 * severity**0.7)), free, 0.42):
        radius, along = 17 * np.exp(np.clip(rng.normal(0, 0.35), -0.5, 0.8)), np.angle(place - eye.disc) + np.pi / 2
        brush.blob(place, radius, elongation=rng.uniform(1, 1.9), angle=along, roughness=0.28, least=0.7)
    lesion = brush.done(4.0)
    return Lesion(lesion.mask, lesion.strength * np.clip(0.95 + 0.16 * smooth_noise(rng, eye.shape, 8 * eye.scale), 0.4, 1.2))


def draw_lesions(rng: np.random.Generator, eye: Eye, kinds: tuple[str, ...]) -> dict[str, Lesion]:
    """Draw the lesions of one eye; their number varies together, by the severity of the disease.

    Args:
        rng: source of randomness.
        eye: where to draw.
        kinds: which of ``MA HE EX SE`` to draw.

    Returns:
        One :class:`Lesion` for each of the kinds.
    """
    severity = float(np.exp(rng.normal(0, 0.45)))
    free = ~eye.disc_mask
    off_vessels = free & (blur(eye.vessels, 1.5 * eye.scale) < 0.12)
    lesions = {}
    if "HE" in kinds:
        lesions["HE"] = _haemorrhages(rng, eye, severity, free)
    if "MA" in kinds:
        bleeding = lesions["HE"].mask if "HE" in lesions else np.zeros(eye.shape, bool)
        lesions["MA"] = _microaneurysms(rng, eye, severity, off_vessels, bleeding)
    if "EX" in kinds:
        lesions["EX"] = _hard_exudates(rng, eye, severity, free)
    if "SE" in kinds:
        lesions["SE"] = _soft_exudates(rng, eye, severity, free)
    return {kind: lesions[kind] for kind in kinds}
