"""Archives that are not trusted: what could write elsewhere, or too much, is refused before anything is written."""

from __future__ import annotations

import random
import shutil
import stat
import zipfile
from pathlib import Path

import pytest

from mmseg.utils.archives import extract_zip
from mmseg.utils.errors import UserError


def make_zip(path: Path, members: dict[str, bytes], mode: int = 0) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = mode << 16
            archive.writestr(info, content)
    return path


def everything(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_round_trip(tmp_path: Path) -> None:
    members = {"a/b/1.png": b"one" * 1000, "a/2.png": b"", "readme": b"text"}
    with zipfile.ZipFile(make_zip(tmp_path / "x.zip", members), "a") as archive:
        archive.mkdir("empty")
    written = extract_zip(tmp_path / "x.zip", tmp_path / "deep/out")
    assert everything(tmp_path / "deep/out") == members
    assert written == [tmp_path / "deep/out" / name for name in members]


@pytest.mark.parametrize("name", [
    "/etc/passwd", "../x", "a/../../x", "..", "a/..", "C:\\x", "C:x", "\\\\host\\share\\x", "..\\x", "a\\..\\..\\x", "//x",
])
def test_paths_that_lead_elsewhere_are_refused_before_anything_is_written(tmp_path: Path, name: str) -> None:
    archive = make_zip(tmp_path / "x.zip", {"good": b"1", name: b"2"})
    with pytest.raises(UserError, match=r"x\.zip: refused, its member .*nothing was unpacked"):
        extract_zip(archive, tmp_path / "in/out")
    assert [p.name for p in tmp_path.iterdir()] == ["x.zip"]


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFSOCK])
def test_links_and_devices_are_refused(tmp_path: Path, kind: int) -> None:
    archive = make_zip(tmp_path / "x.zip", {"link": b"/etc/passwd"}, kind | 0o777)
    with pytest.raises(UserError, match="a link or another special file"):
        extract_zip(archive, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_regular_file_of_a_unix_archiver_is_taken_without_its_mode(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "x.zip", {"a": b"1"}, stat.S_IFREG | stat.S_ISUID | 0o777)
    (path,) = extract_zip(archive, tmp_path / "out")
    assert not path.stat().st_mode & 0o111


def test_oversize_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = make_zip(tmp_path / "bomb.zip", {"a": bytes(2**20), "b": bytes(2**20)})
    assert archive.stat().st_size < 10_000
    with pytest.raises(UserError, match=r"it would hold 2 MiB, expected at most 1 MiB"):
        extract_zip(archive, tmp_path / "out", max_bytes=2**20)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 9, 1))
    with pytest.raises(UserError, match="2 MiB are needed there, 0 MiB are free"):
        extract_zip(archive, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_size_that_lies_is_caught(tmp_path: Path) -> None:
    """The directory says 10 bytes, the member holds a mebibyte."""
    archive = make_zip(tmp_path / "x.zip", {"a": bytes(2**20)})
    data = archive.read_bytes().replace((2**20).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    archive.write_bytes(data)
    with pytest.raises(UserError, match="not a readable ZIP"):
        extract_zip(archive, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_encrypted_members_are_refused(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "x.zip", {"a": b"1"})
    data = bytearray(archive.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    archive.write_bytes(bytes(data))
    with pytest.raises(UserError, match="is encrypted"):
        extract_zip(archive, tmp_path / "out")


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "x.zip", {"a": b"theirs"})
    (tmp_path / "out").mkdir()
    (tmp_path / "out/a").write_bytes(b"mine")
    with pytest.raises(UserError, match="not an empty folder"):
        extract_zip(archive, tmp_path / "out")
    with pytest.raises(UserError, match="not an empty folder"):
        extract_zip(archive, tmp_path / "out/a")
    assert (tmp_path / "out/a").read_bytes() == b"mine"
    with pytest.raises(UserError, match="no such archive"):
        extract_zip(tmp_path / "none.zip", tmp_path / "new")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_names_twice_or_in_each_others_way(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("a", b"1")
        archive.writestr("a", b"2")
    with pytest.raises(UserError, match="occurs twice"):
        extract_zip(tmp_path / "x.zip", tmp_path / "out")
    make_zip(tmp_path / "y.zip", {"a": b"1", "a/b": b"2"})
    with pytest.raises(UserError, match="could not be unpacked"):
        extract_zip(tmp_path / "y.zip", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_damage_is_one_message_and_leaves_nothing(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "x.zip", {"a": random.Random(0).randbytes(3000), "b/c": b"2" * 3000})
    whole, generator, refused = path.read_bytes(), random.Random(1), 0
    (tmp_path / "out").mkdir()
    for _ in range(300):
        data = bytearray(whole[: generator.choice([len(whole), generator.randrange(len(whole))])])
        for _ in range(generator.randrange(1, 4)):
            if data:
                data[generator.randrange(len(data))] = generator.randrange(256)
        path.write_bytes(bytes(data))
        try:
            extract_zip(path, tmp_path / "out")
        except UserError as error:
            refused += 1
            assert "x.zip" in str(error)
            assert list((tmp_path / "out").iterdir()) == []
        else:
            shutil.rmtree(tmp_path / "out")
        assert {p.name for p in tmp_path.iterdir()} <= {"x.zip", "out"}
        (tmp_path / "out").mkdir(exist_ok=True)
    assert refused > 200
