"""A healthy eye as the camera sees it: field of view, optic disc, macula, vessels, choroid, illumination, reflections."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from mmseg.datasets.synthetic.canvas import Field, blur, fill, outline, smooth_noise, unit
from mmseg.datasets.synthetic.vessels import Branch, draw_vessels, grow_vessels

__all__ = ["Eye", "make_eye"]


@dataclass(frozen=True)
class Eye:
    """Where things are in one eye (points ``x + iy``, lengths in pixels), and its maps ``(H, W)``.

    Attributes:
        shape: ``(H, W)``.
        scale: pixels per pixel of a picture 1440 wide.
        centre: middle of the field of view.
        radius: of the field of view.
        disc: middle of the optic disc.
        fovea: middle of the macula.
        field: share of each pixel inside the field of view, 0 to 1.
        disc_mask: bool, the optic disc.
        vessels: depth of blood in the vessels, 0 to 1.
        layers: further maps by the name of their colour, see :data:`mmseg.datasets.synthetic.render.COLOURS`.
    """

    shape: tuple[int, int]
    scale: float
    centre: complex
    radius: float
    disc: complex
    fovea: complex
    field: Field
    disc_mask: np.ndarray
    vessels: Field
    layers: dict[str, Field]

    def distance(self, point: complex) -> Field:
        """Distance of every pixel from a point, in radii of the field of view, ``(H, W)``."""
        y, x = np.ogrid[: self.shape[0], : self.shape[1]]
        return (np.hypot(x - point.real, y - point.imag) / self.radius).astype(np.float32)


def make_eye(rng: np.random.Generator, size: tuple[int, int]) -> Eye:
    """Draw a healthy eye, left or right, with its own colours of background and light.

    Args:
        rng: source of randomness.
        size: ``(width, height)`` in pixels.

    Returns:
        The eye; its disc of view is wider than the picture is high where that is 3:2, as IDRiD's camera cuts it.
    """
    (width, height), shape, scale = size, (size[1], size[0]), size[0] / 1440
    radius = 0.397 * width
    centre = complex(width * rng.uniform(0.47, 0.5), height / 2)
    side = rng.choice((-1, 1))
    disc = centre + side * radius * rng.uniform(0.52, 0.72) + 1j * radius * rng.uniform(-0.12, 0.08)
    fovea = disc - side * radius * rng.uniform(0.72, 0.8) + 1j * radius * rng.uniform(0.04, 0.12)

    canvas = np.zeros(shape, np.uint8)
    fill(canvas, centre + radius * np.exp(2j * np.pi * np.linspace(0, 1, 720)))
    field = unit(canvas)

    branches = grow_vessels(rng, scale=scale, centre=centre, radius=radius, disc=disc, fovea=fovea)
    disc_mask, disc_layers = _disc(rng, shape, scale, disc)
    eye = Eye(shape, scale, centre, radius, disc, fovea, field, disc_mask, draw_vessels(branches, shape, scale), disc_layers)
    eye.layers.update(_ground(rng, eye), glint=_glints(rng, eye, branches))
    return eye


def _disc(rng: np.random.Generator, shape: tuple[int, int], scale: float, disc: complex) -> tuple[np.ndarray, dict[str, Field]]:
    """The optic disc's mask, and the maps of the disc and of the paler cup inside it."""
    radius = 86 * scale * rng.uniform(0.92, 1.1)
    rim, cup = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
    fill(rim, outline(rng, disc, radius, rng.uniform(1, 1.12), np.pi / 2 + rng.normal(0, 0.3), 0.02))
    fill(cup, outline(rng, disc, radius * rng.uniform(0.4, 0.6), 1.1, np.pi / 2, 0.06))
    halo = unit(rim, 0.45 * radius)
    return rim > 127, {
        "disc": rng.uniform(0.75, 1.1) * (0.85 * unit(rim, rng.uniform(2, 5) * scale) + 0.25 * halo),
        "cup": rng.uniform(0.4, 1.0) * unit(cup, 7 * scale),
    }


def _ground(rng: np.random.Generator, eye: Eye) -> dict[str, Field]:
    """Light, choroid and macula: the slow changes of colour that no lesion makes."""
    y, x = np.mgrid[: eye.shape[0], : eye.shape[1]].astype(np.float32)
    slope = rng.uniform(0.12, 0.4) * np.exp(2j * np.pi * rng.uniform())
    tilt = ((x - eye.centre.real) * slope.real + (y - eye.centre.imag) * slope.imag) / eye.radius
    rim = eye.distance(eye.centre)
    light = tilt + 0.1 * smooth_noise(rng, eye.shape, 380 * eye.scale) - rng.uniform(0.1, 0.4) * rim**3
    haze = np.exp(-(((rim - 1) / 0.07) ** 2)) * np.clip(smooth_noise(rng, eye.shape, 420 * eye.scale), 0, 1.2)
    ribbons = np.exp(-((smooth_noise(rng, eye.shape, 75 * eye.scale) / 0.35) ** 2))
    ribbons *= np.clip(0.6 + 0.6 * smooth_noise(rng, eye.shape, 150 * eye.scale), 0, 1)
    away = np.clip(eye.distance(eye.fovea) / 0.5, 0, 1)
    mottle = 0.5 * smooth_noise(rng, eye.shape, 26 * eye.scale) + 0.5 * smooth_noise(rng, eye.shape, 9 * eye.scale)
    macula = eye.distance(eye.fovea)
    return {
        "light": (light + 0.35 * rng.uniform() * haze).astype(np.float32),
        "choroid": (rng.uniform(0.1, 0.9) * ribbons * away + 0.3 * mottle).astype(np.float32),
        "macula": rng.uniform(0.7, 1.2) * (np.exp(-((macula / 0.22) ** 2)) + 0.6 * np.exp(-((macula / 0.07) ** 2))),
        "pigment": np.clip(smooth_noise(rng, eye.shape, 110 * eye.scale) - 1.6, 0, 1.0),
    }


def _glints(rng: np.random.Generator, eye: Eye, branches: list[Branch]) -> Field:
    """Reflections of the nerve-fibre layer: pale streaks along the great vessels, as bright as a soft exudate."""
    great = [branch for branch in branches if branch.width[0] > 6 * eye.scale]
    canvas = np.zeros(eye.shape, np.uint8)
    for _ in range(rng.integers(5, 22)):
        branch = great[rng.integers(len(great))]
        at = rng.integers(0, branch.points.size - 1)
        along = np.angle(branch.points[at + 1] - branch.points[at])
        beside = rng.normal(0, 22) * eye.scale * 1j * np.exp(1j * along)
        radius = rng.uniform(5, 15) * eye.scale
        shape = outline(rng, branch.points[at] + beside, radius, rng.uniform(4, 12), along + rng.normal(0, 0.12), 0.1)
        fill(canvas, shape, int(rng.uniform(70, 200)))
    fibres = 0.75 + 0.25 * cv2.resize(smooth_noise(rng, (eye.shape[0], 64), 5 * eye.scale), eye.shape[::-1])
    return blur(unit(canvas), 3.2 * eye.scale) * fibres
