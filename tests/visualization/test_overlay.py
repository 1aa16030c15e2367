"""Lesions on photographs, and pictures in files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from mmseg.datasets import LesionDataset
from mmseg.structures import LESIONS
from mmseg.visualization import draw_overlay, write_picture

PALETTE = LesionDataset.METAINFO["palette"]
SHAPE = (120, 640)


def photograph(shape: tuple[int, int] = SHAPE) -> np.ndarray:
    return np.full((*shape, 3), (150, 60, 20), np.uint8)


def squares(**where: tuple[slice, slice]) -> np.ndarray:
    masks = np.zeros((4, *SHAPE), np.uint8)
    for lesion, place in where.items():
        masks[LESIONS.index(lesion)][place] = 1
    return masks


def overlay(masks: np.ndarray, opacity: float = 0.25) -> np.ndarray:
    return draw_overlay(photograph(), masks, LESIONS, PALETTE, opacity)


def is_colour(picture: np.ndarray, lesion: str) -> np.ndarray:
    return (picture == np.array(PALETTE[LESIONS.index(lesion)])).all(-1)


@pytest.mark.parametrize("lesion", LESIONS)
def test_the_contour_has_the_colour_of_the_lesion_and_the_inside_its_tint(lesion: str) -> None:
    place = (slice(20, 50), slice(100, 140))
    picture = overlay(squares(**{lesion: place}))[: SHAPE[0]]
    contour = is_colour(picture, lesion)
    edge = np.zeros(SHAPE, bool)
    edge[place] = True
    edge[21:49, 101:139] = False
    assert contour[edge].all(), "the outermost pixels of the lesion are its contour"
    tint = 0.75 * np.array([150, 60, 20]) + 0.25 * np.array(PALETTE[LESIONS.index(lesion)])
    assert np.abs(picture[30:40, 110:130] - tint).max() <= 1
    untouched = np.ones(SHAPE, bool)
    untouched[18:52, 98:142] = False
    np.testing.assert_array_equal(picture[untouched], photograph()[untouched])


def test_a_single_pixel_is_seen() -> None:
    picture = overlay(squares(MA=(slice(60, 61), slice(70, 71))))[: SHAPE[0]]
    assert is_colour(picture, "MA")[60, 70]


def test_a_small_lesion_is_drawn_over_a_large_one() -> None:
    """Whatever their order: a microaneurysm within an exudate, and an exudate within a microaneurysm."""
    large, small = (slice(10, 100), slice(10, 300)), (slice(40, 44), slice(60, 64))
    for within, around in (("MA", "EX"), ("SE", "MA")):
        picture = overlay(squares(**{within: small, around: large}))[: SHAPE[0]]
        assert is_colour(picture, within)[40:44, 60:64].sum() == 12, "the ring of a square of 4x4"
        assert is_colour(picture, around)[10, 10:300].all()


def test_lesions_at_the_same_place_mix_their_tints() -> None:
    both = (slice(20, 80), slice(20, 200))
    picture = overlay(squares(HE=both, EX=both))
    assert is_colour(picture, "EX").any()
    expected = np.array([150.0, 60.0, 20.0])
    for lesion in ("HE", "EX"):
        expected = 0.75 * expected + 0.25 * np.array(PALETTE[LESIONS.index(lesion)])
    assert np.abs(picture[50, 100] - expected).max() <= 2


def test_without_lesions_the_photograph_is_unchanged_and_a_legend_is_below() -> None:
    picture = overlay(squares())
    np.testing.assert_array_equal(picture[: SHAPE[0]], photograph())
    legend = picture[SHAPE[0] :]
    assert picture.dtype == np.uint8
    assert legend.shape == (20, 640, 3)
    for i, lesion in enumerate(LESIONS):
        quarter = legend[:, 160 * i : 160 * (i + 1)]
        assert is_colour(quarter, lesion).sum() >= 25, "no square of its colour in its quarter"
        assert not any(is_colour(quarter, other).any() for other in LESIONS if other != lesion)


def test_the_input_is_not_drawn_on() -> None:
    image, masks = photograph(), squares(MA=(slice(0, 9), slice(0, 9)))
    before = masks.copy()
    draw_overlay(image, masks, LESIONS, PALETTE)
    np.testing.assert_array_equal(image, photograph())
    np.testing.assert_array_equal(masks, before)


@pytest.mark.parametrize("width", [40, 240, 1440, 4288])
def test_the_legend_grows_with_the_picture(width: int) -> None:
    picture = draw_overlay(photograph((10, width)), np.ones((4, 10, width), bool), LESIONS, PALETTE)
    assert picture.shape == (10 + max(20, width // 32), width, 3)


def test_the_legend_counts_regions(monkeypatch: pytest.MonkeyPatch) -> None:
    texts: list[str] = []
    monkeypatch.setattr("cv2.putText", lambda image, text, *args: texts.append(text))
    masks = squares(HE=(slice(0, 5), slice(0, 5)), EX=(slice(0, 5), slice(0, 5)))
    masks[1, 50:60, 50:60] = masks[2, 5, 5] = 1  # a diagonal neighbour is the same region
    overlay(masks)
    assert texts == ["MA: 0 regions", "HE: 2 regions", "EX: 1 region", "SE: 0 regions"]


def test_the_legend_tells_the_thresholds_where_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    texts: list[str] = []
    monkeypatch.setattr("cv2.putText", lambda image, text, *args: texts.append(text))
    for width in (1440, 240):
        draw_overlay(photograph((10, width)), np.zeros((4, 10, width), bool), LESIONS, PALETTE, thresholds=(0.15, 0.5, 1, 1e-4))
    assert texts == ["MA (p > 0.15): 0 regions", "HE (p > 0.5): 0 regions", "EX (p > 1): 0 regions", "SE (p > 0.0001): 0 regions",
                     "MA 0", "HE 0", "EX 0", "SE 0"]


@pytest.mark.parametrize("width", [2448, 1600, 1000])
def test_many_classes_do_not_write_over_each_other(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As DeepGlobe's seven, whose shortened names were written as large as the others."""
    placed: list[tuple[str, int]] = []

    def note(image: np.ndarray, text: str, where: tuple[int, int], font: int, size: float, *rest: Any) -> None:
        placed.append((text, where[0] + cv2.getTextSize(text, font, size, rest[1])[0][0]))

    monkeypatch.setattr("cv2.putText", note)
    classes = ("urban", "agriculture", "rangeland", "forest", "water", "barren", "unknown")
    masks = np.zeros((7, 60, width), bool)
    masks[:, ::2, ::8] = True  # thousands of regions
    draw_overlay(photograph((60, width)), masks, classes, [(9, 9, 9)] * 7)
    assert [text.split()[0].rstrip(":") for text, _ in placed] == list(classes)
    step = width // 7
    assert all(end <= (i + 1) * step for i, (_, end) in enumerate(placed))


def test_a_contour_has_a_black_edge() -> None:
    """What stands out from any photograph; it covers no contour, of another lesion either."""
    both = (slice(20, 80), slice(20, 200)), (slice(82, 90), slice(20, 200))
    picture = overlay(squares(EX=both[0], MA=both[1]))[: SHAPE[0]]
    assert (picture[19, 30:190] == 0).all() and (picture[21, 30:190] > 0).any(-1).all()  # outside, not over what it marks
    assert is_colour(picture, "EX")[79, 20:200].all() and is_colour(picture, "MA")[82, 20:200].all()


@pytest.mark.parametrize("suffix", [".png", ".PNG", ".bmp", ".tif"])
@pytest.mark.parametrize("grey", [False, True])
def test_a_picture_is_written_as_it_is(grey: bool, suffix: str, tmp_path: Path) -> None:
    image = np.random.RandomState(0).randint(0, 256, (5, 6) if grey else (5, 6, 3)).astype(np.uint8)
    path = write_picture(tmp_path / f"a{suffix}", image)
    np.testing.assert_array_equal(np.asarray(Image.open(path)), image)


@pytest.mark.parametrize("name", ["a.xyz", "a", "no/folder.png"])
def test_a_picture_that_cannot_be_written(name: str, tmp_path: Path) -> None:
    with pytest.raises(OSError, match=name):
        write_picture(tmp_path / name, photograph())
    assert not list(tmp_path.iterdir())
