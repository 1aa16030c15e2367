"""Files of every coding that the field's data sets use, and of some that only break."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from mmseg.datasets.reading import fit_size, image_size, read_image, read_index_map, read_mask, resize_image, resize_mask
from mmseg.utils.errors import UserError

READERS = [read_image, read_mask, read_index_map]


@pytest.fixture
def photograph() -> np.ndarray:
    """24 rows, 32 columns; smooth, so that JPEG keeps it; no two corners alike."""
    rows, columns = np.mgrid[:24, :32]
    return np.stack([40 + 4 * columns, 20 + 5 * rows, 200 - 3 * columns - 2 * rows], -1).astype(np.uint8)


@pytest.fixture
def lesion() -> np.ndarray:
    return (np.random.RandomState(0).rand(24, 32) < 0.3).astype(np.uint8)


# Photographs


@pytest.mark.parametrize("suffix", [".png", ".PNG", ".bmp", ".tif", ".TIFF"])
def test_a_photograph_is_read_as_rgb(suffix: str, photograph: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    Image.fromarray(photograph).save(path)
    image = read_image(path)
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image, photograph)


@pytest.mark.parametrize("suffix", [".jpg", ".tif", ".png"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_exif_orientation_is_applied(orientation: int, suffix: str, photograph: np.ndarray, tmp_path: Path) -> None:
    """The table of EXIF 2.3, 4.6.4: what the stored rows and columns must go through to be seen upright."""
    upright = {
        1: photograph, 2: photograph[:, ::-1], 3: photograph[::-1, ::-1], 4: photograph[::-1],
        5: photograph.transpose(1, 0, 2), 6: np.rot90(photograph, -1), 7: np.rot90(photograph, 2).transpose(1, 0, 2),
        8: np.rot90(photograph, 1),
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a{suffix}"
    Image.fromarray(photograph).save(path, exif=exif, **(dict(quality=100, subsampling=0) if suffix == ".jpg" else {}))
    image = read_image(path)
    assert image.shape == upright[orientation].shape
    assert image_size(path) == (image.shape[1], image.shape[0])
    assert np.abs(image.astype(int) - upright[orientation]).max() <= 4


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_the_size_is_told_from_the_head_alone(suffix: str, tmp_path: Path) -> None:
    """Hundreds of sizes are asked for before training starts."""
    path = tmp_path / f"a{suffix}"
    Image.fromarray(np.random.RandomState(0).randint(0, 256, (300, 400, 3)).astype(np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:2000])
    assert image_size(path) == (400, 300)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("channels", [1, 3])
def test_16_bits_are_scaled_to_8(suffix: str, channels: int, photograph: np.ndarray, tmp_path: Path) -> None:
    deep = photograph.astype(np.uint16) * 257
    deep[0, 0] = 256  # 0.996 of 257: still 0
    cv2.imwrite(str(tmp_path / f"a{suffix}"), deep[..., ::-1] if channels == 3 else deep[..., 0])
    expected = photograph.copy() if channels == 3 else photograph[..., :1].repeat(3, -1)
    expected[0, 0] = 0
    np.testing.assert_array_equal(read_image(tmp_path / f"a{suffix}"), expected)


@pytest.mark.parametrize("peak", [1, 1023, 4095, 2**14 - 1])
def test_fewer_bits_in_16_are_refused(peak: int, photograph: np.ndarray, tmp_path: Path) -> None:
    """Else a photograph of a 12-bit sensor would be nearly black, and free of lesions."""
    deep = np.minimum(photograph.astype(np.uint16) * 64, peak)
    deep[0, 0] = peak
    cv2.imwrite(str(tmp_path / "a.png"), deep)
    with pytest.raises(UserError, match=f"a.png: got a 16-bit image whose largest value is {peak}, expected the full range"):
        read_image(tmp_path / "a.png")
    cv2.imwrite(str(tmp_path / "b.png"), np.zeros((8, 8, 3), np.uint16))
    assert not read_image(tmp_path / "b.png").any()


def test_a_thumbnails_end_is_not_the_files(photograph: np.ndarray, tmp_path: Path) -> None:
    """And what a camera appends behind the end does no harm, however long."""
    whole, thumbnail = (cv2.imencode(".jpg", image)[1].tobytes() for image in (photograph, photograph[:8, :8]))
    header = b"\xff\xe1" + (len(thumbnail) + 2).to_bytes(2) + thumbnail
    with_thumbnail = whole[:2] + b"\xff" + header + whole[2:]  # a filling byte before a marker is allowed
    for name, data in (("whole", with_thumbnail), ("film", with_thumbnail + bytes(2**17))):
        (tmp_path / f"{name}.jpg").write_bytes(data)
        assert read_image(tmp_path / f"{name}.jpg").shape == photograph.shape
    (tmp_path / "cut.jpg").write_bytes(with_thumbnail[:-20])
    with pytest.raises(UserError, match=r"cut\.jpg: the file is cut off"):
        read_image(tmp_path / "cut.jpg")


def test_grey_becomes_rgb(photograph: np.ndarray, tmp_path: Path) -> None:
    Image.fromarray(photograph[..., 1]).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), photograph[..., 1:2].repeat(3, -1))


@pytest.mark.parametrize("alpha", [0, 128, 255])
def test_alpha_is_dropped_not_blended(alpha: int, photograph: np.ndarray, tmp_path: Path) -> None:
    rgba = np.dstack([photograph, np.full((24, 32), alpha, np.uint8)])
    Image.fromarray(rgba).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), photograph)


def test_floating_point_is_refused(photograph: np.ndarray, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.tif"), photograph.astype(np.float32))
    with pytest.raises(UserError, match=r"a\.tif.*float32.*8 or 16 bit"):
        read_image(tmp_path / "a.tif")


# Masks


def as_palette(mask: np.ndarray, colour: tuple[int, int, int] = (255, 0, 0)) -> Image.Image:
    """A palette image as IDRiD's: index 0 black, index 1 red."""
    image = Image.frombytes("P", mask.shape[::-1], mask.tobytes())
    image.putpalette([0, 0, 0, *colour] + [0] * 762)
    return image


def test_idrids_red_palette(lesion: np.ndarray, tmp_path: Path) -> None:
    """PIL sees the indices 0 and 1; OpenCV, asked for grey, sees the luma of red, 76, which no threshold at 128 passes."""
    as_palette(lesion).save(tmp_path / "a.tif")
    assert np.unique(np.array(Image.open(tmp_path / "a.tif"))).tolist() == [0, 1]
    assert np.unique(cv2.imread(str(tmp_path / "a.tif"), cv2.IMREAD_GRAYSCALE)).tolist() == [0, 76]
    np.testing.assert_array_equal(read_mask(tmp_path / "a.tif"), lesion)


CODINGS: dict[str, Callable[[np.ndarray], Image.Image]] = {
    "palette of pure blue": lambda m: as_palette(m, (0, 0, 255)),
    "0/255 grey": lambda m: Image.fromarray(m * np.uint8(255)),
    "0/1 grey": Image.fromarray,
    "one bit": lambda m: Image.fromarray(m.astype(bool)),
    "red on black": lambda m: Image.fromarray(np.dstack([m * np.uint8(255), m * 0, m * 0])),
    "RGBA, alpha 255 everywhere": lambda m: Image.fromarray(np.dstack([m * np.uint8(255), m * 0, m * 0, m * 0 + np.uint8(255)])),
    "grey and alpha": lambda m: Image.fromarray(np.dstack([m * np.uint8(255), m * 0 + np.uint8(255)])),
}


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("coding", CODINGS)
def test_every_coding_of_a_mask_gives_the_same(coding: str, suffix: str, lesion: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    CODINGS[coding](lesion).save(path)
    mask = read_mask(path)
    assert mask.dtype == np.uint8
    np.testing.assert_array_equal(mask, lesion)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("value", [1, 255, 65535])
def test_masks_of_16_bits(value: int, suffix: str, lesion: np.ndarray, tmp_path: Path) -> None:
    """Annotation programs write 0/255 into 16 bits, of which the upper 8, all that OpenCV keeps by default, are 0."""
    cv2.imwrite(str(tmp_path / f"a{suffix}"), lesion.astype(np.uint16) * value)
    np.testing.assert_array_equal(read_mask(tmp_path / f"a{suffix}"), lesion)


def test_foreground_begins_at_128(tmp_path: Path) -> None:
    """Anti-aliased edges, as FGADR's."""
    values = np.array([[0, 1, 2, 64, 127, 128, 129, 200, 255]], np.uint8)
    Image.fromarray(values).save(tmp_path / "a.png")
    assert read_mask(tmp_path / "a.png").tolist() == [[0, 0, 0, 0, 0, 1, 1, 1, 1]]


@pytest.mark.parametrize("peak", [2, 4, 76, 127])
def test_a_mask_without_clear_foreground_is_refused(peak: int, tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 1, peak]], np.uint8)).save(tmp_path / "a.png")
    with pytest.raises(UserError, match=rf"a\.png.*largest value is {peak}, expected 0/255 or 0/1"):
        read_mask(tmp_path / "a.png")


def test_a_mask_of_16_bits_without_clear_foreground_is_refused(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.array([[0, 300, 32767]], np.uint16))
    with pytest.raises(UserError, match=r"a\.png.*largest value is 32767"):
        read_mask(tmp_path / "a.png")


def test_a_mask_without_a_lesion(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((4, 5), np.uint8)).save(tmp_path / "a.png")
    assert read_mask(tmp_path / "a.png").tolist() == [[0] * 5] * 4


# Label maps


@pytest.mark.parametrize("mode", ["L", "P"])
def test_a_label_map_gives_indices_not_colours(mode: str, tmp_path: Path) -> None:
    labels = np.random.RandomState(0).randint(0, 5, (6, 7)).astype(np.uint8)
    image = Image.frombytes(mode, (7, 6), labels.tobytes())
    if mode == "P":
        image.putpalette(list(range(255, 240, -1)))
    image.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_index_map(tmp_path / "a.png"), labels)


def test_a_coloured_label_map_is_refused(photograph: np.ndarray, tmp_path: Path) -> None:
    Image.fromarray(photograph).save(tmp_path / "a.png")
    with pytest.raises(UserError, match=r"a\.png.*mode RGB.*grey or palette"):
        read_index_map(tmp_path / "a.png")


# Broken files


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("share", [0.3, 0.9, 0.99])
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".bmp"])
def test_a_file_cut_off_is_refused(suffix: str, share: float, read: Callable, tmp_path: Path) -> None:
    """Some versions of OpenCV show the rows that are missing as grey, and go on."""
    noise = np.random.RandomState(0).randint(0, 256, (60, 90), np.uint8)
    whole, cut = tmp_path / f"whole{suffix}", tmp_path / f"cut{suffix}"
    Image.fromarray(noise).save(whole)
    read(whole)
    data = whole.read_bytes()
    cut.write_bytes(data[: int(share * len(data))])
    with pytest.raises(UserError, match=f"cut{suffix}") as caught:
        read(cut)
    if suffix in (".jpg", ".png") and read is not read_index_map:
        assert "the file is cut off" in str(caught.value)


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("data", [b"", b"a text, no image\n", b"\xff\xd8 begins as a JPEG and ends as one \xff\xd9"])
def test_what_is_no_image_is_refused(data: bytes, read: Callable, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(data)
    with pytest.raises(UserError, match=r"a\.jpg"):
        read(tmp_path / "a.jpg")


@pytest.mark.parametrize("read", READERS)
def test_a_missing_file_and_a_folder_are_refused(read: Callable, tmp_path: Path) -> None:
    for path in (tmp_path / "none.jpg", tmp_path):
        with pytest.raises(UserError, match=path.name):
            read(path)


# Sizes


@pytest.mark.parametrize(
    ("size", "box", "expected"),
    [
        ((4288, 2848), (1440, 960), (1440, 956)),  # IDRiD, at the field's working size
        ((2848, 4288), (1440, 960), (956, 1440)),  # on its side, at the same scale
        ((4288, 2848), (960, 1440), (1440, 956)),
        ((1280, 1280), (1440, 960), (960, 960)),
        ((1000, 669), (300, 300), (300, 201)),  # 200.7
        ((100, 50), (400, 400), (400, 200)),
        ((4000, 1), (100, 100), (100, 1)),
        ((4288, 2848), None, (4288, 2848)),
    ],
)
def test_the_size_that_fits_a_box(size: tuple[int, int], box: tuple[int, int] | None, expected: tuple[int, int]) -> None:
    assert fit_size(*size, box) == expected


def covered(mask: np.ndarray, width: int, height: int) -> np.ndarray:
    """Share of every pixel's area, after reduction, that the mask covers: a sum of overlaps of rectangles, float64."""
    shares = np.zeros((height, width))
    fy, fx = mask.shape[0] / height, mask.shape[1] / width
    for y, x in np.ndindex(height, width):
        for v, u in zip(*np.nonzero(mask), strict=True):
            tall = min((y + 1) * fy, v + 1) - max(y * fy, v)
            wide = min((x + 1) * fx, u + 1) - max(x * fx, u)
            shares[y, x] += max(tall, 0) * max(wide, 0)
    return shares / (fy * fx)


@pytest.mark.parametrize("size", [(15, 12), (10, 8), (20, 16), (13, 10)])
def test_a_reduced_pixel_is_set_when_half_of_its_area_was(size: tuple[int, int]) -> None:
    mask = (np.random.RandomState(1).rand(24, 30) < 0.5).astype(np.uint8)
    shares = covered(mask, *size)
    reduced = resize_mask(mask, size)
    assert reduced.dtype == np.uint8
    sure = np.abs(shares - 0.5) > 1e-3
    np.testing.assert_array_equal(reduced[sure], shares[sure] > 0.5)
    assert 0.3 < reduced.mean() < 0.7


def test_exactly_half_is_set_and_any_overlap_is_not() -> None:
    mask = np.array([[1, 0, 1, 0, 1, 1], [1, 0, 0, 0, 1, 1]], np.uint8)
    assert resize_mask(mask, (3, 1)).tolist() == [[1, 0, 1]]


def test_an_image_is_reduced_by_area(photograph: np.ndarray) -> None:
    expected = photograph.reshape(12, 2, 16, 2, 3).astype(np.float64).mean((1, 3))
    assert np.abs(resize_image(photograph, (16, 12)) - expected).max() <= 0.5


def test_nothing_is_done_at_the_same_size_and_masks_stay_binary_when_enlarged(photograph: np.ndarray, lesion: np.ndarray) -> None:
    assert resize_image(photograph, (32, 24)) is photograph
    assert resize_mask(lesion, (32, 24)) is lesion
    enlarged = resize_mask(lesion, (64, 48))
    assert set(np.unique(enlarged)) == {0, 1}
    assert abs(enlarged.mean() - lesion.mean()) < 0.05


def test_a_label_map_that_breaks_pillows_decoder(tmp_path: Path) -> None:
    """Found by tests/fuzz: a run-length coded BMP that ends early raises ValueError, not OSError."""
    header = struct.pack("<2sIHHI", b"BM", 1080, 0, 0, 1078) + struct.pack("<IiiHHIIiiII", 40, 18, 14, 1, 8, 1, 2, 0, 0, 256, 0)
    palette = b"".join(bytes([i, i, i, 0]) for i in range(256))
    (tmp_path / "a.png").write_bytes(header + palette + b"\x02\x00")
    with pytest.raises(UserError, match=r"a\.png: cannot be read as a label map"):
        read_index_map(tmp_path / "a.png")


def test_a_chunk_that_is_said_to_be_gigabytes_is_refused_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Found by tests/fuzz: OpenCV took 22 seconds and 4 GB."""
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), np.zeros((14, 18, 3), np.uint8))
    data = path.read_bytes()
    assert read_image(path).shape == (14, 18, 3)
    path.write_bytes(data + b"what some program appends")
    assert read_image(path).shape == (14, 18, 3)
    start = data.index(b"IDAT") - 4
    path.write_bytes(data[:start] + b"\xff\xff\xff\xff" + data[start + 4 :])
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("decoded"))
    with pytest.raises(UserError, match=r"a.png: the file is damaged \(a part is said to reach beyond its end\)"):
        read_image(path)


@pytest.mark.parametrize("kind", ["device", "pipe", "folder"])
@pytest.mark.parametrize("read", [read_image, read_mask, read_index_map, image_size])
def test_what_is_no_file_is_not_waited_for(kind: str, read: Callable[[Path], object], tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    if kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()
    with pytest.raises(UserError, match=r"a\.png: is a folder, a pipe or a device, expected a file"):
        read(path)
