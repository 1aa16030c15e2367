"""From an eye and its lesions to a photograph.

Colour is optical density, after Beer and Lambert: each layer multiplies every channel by ``exp(amount * density)``, so that a
lesion changes the colour of the place where it lies, in the light as in the shade. The model and its numbers are our own.
"""

from __future__ import annotations

import numpy as np

from mmseg.datasets.synthetic.canvas import blur
from mmseg.datasets.synthetic.eye import Eye, make_eye
from mmseg.datasets.synthetic.lesions import Lesion, draw_lesions
from mmseg.structures import LESIONS

__all__ = ["COLOURS", "contents", "generate_image"]

COLOURS = {
    "light": (1.0, 1.0, 1.0),
    "choroid": (0.06, 0.15, 0.1),
    "macula": (-0.16, -0.36, -0.3),
    "pigment": (-0.12, -0.22, -0.15),
    "disc": (0.4, 0.62, 0.7),
    "cup": (0.1, 0.25, 0.45),
    "glint": (0.08, 0.3, 0.5),
    "blood": (-0.27, -0.72, -0.4),
    "EX": (0.27, 0.6, 0.35),
    "SE": (0.22, 0.5, 0.6),
}
"""Change of log brightness (red, green, blue) where a layer has strength 1; the same for vessels, MA and HE: blood is blood."""

_SPLITS = ("train", "test")
_BLOOD_IN_MA = 1.1
_BLOOD_IN_HE = 0.95


def contents(index: int) -> tuple[str, ...]:
    """Which lesions an image holds, so that even a small data set has IDRiD's shares.

    Args:
        index: number of the image in its split, from 0.

    Returns:
        Lesion names in the project's order: none in one image of eight, SE in half of the images, no HE in one of sixteen.
    """
    if index % 8 == 7:
        return ()
    absent = {"HE": index % 16 == 5, "SE": index % 2 == 1}
    return tuple(kind for kind in LESIONS if not absent.get(kind))


def generate_image(seed: int, split: str, index: int, size: tuple[int, int]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Make one photograph; its pixels depend on the arguments alone.

    Args:
        seed: of the data set, at least 0.
        split: ``train`` or ``test``.
        index: number of the image in its split, from 0.
        size: ``(width, height)`` in pixels.

    Returns:
        The picture, uint8 RGB ``(H, W, 3)``, and bool masks ``(H, W)`` by name: those of ``MA HE EX SE`` it holds, and ``OD``.
    """
    rng = np.random.default_rng((seed, _SPLITS.index(split), index))
    eye = make_eye(rng, size)
    lesions = draw_lesions(rng, eye, contents(index))
    masks = {kind: lesion.mask for kind, lesion in lesions.items() if lesion.mask.any()}
    return _expose(rng, eye, lesions), {**masks, "OD": eye.disc_mask}


def _expose(rng: np.random.Generator, eye: Eye, lesions: dict[str, Lesion]) -> np.ndarray:
    """Add up the layers and take the picture: colour of the eye, light, lens, noise; uint8 ``(H, W, 3)``."""
    strength = {kind: lesion.strength for kind, lesion in lesions.items()}
    blood = 1.05 * eye.vessels * (1 - 0.6 * strength.get("SE", 0))
    blood = np.maximum(blood, _BLOOD_IN_HE * strength.get("HE", 0)) + _BLOOD_IN_MA * strength.get("MA", 0)
    layers = {**eye.layers, "blood": blood * (1 - 0.9 * strength.get("EX", 0))}
    layers |= {kind: strength[kind] for kind in ("EX", "SE") if kind in strength}

    red = rng.uniform(0.5, 0.84)
    green = red * rng.uniform(0.36, 0.52)
    base = np.array([red, green, green * rng.uniform(0.1, 0.55)], np.float32)
    colours = np.array([COLOURS[name] for name in layers], np.float32)
    density = np.stack(list(layers.values()), -1, dtype=np.float32) @ colours
    picture = 255 * base * np.exp(density) * eye.field[..., None]
    picture = blur(np.minimum(picture, 262), rng.uniform(0.5, 0.8) * eye.scale)
    noise = blur(rng.standard_normal((*eye.shape, 3), dtype=np.float32), 0.5)
    picture += rng.uniform(1.5, 3.0) * noise * (0.15 + 0.85 * eye.field[..., None]) + 1.5
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)
