"""Checkpoint files: their keys, atomic writing, and reading that runs nothing and tells every kind of damage."""

from __future__ import annotations

import errno
import json
import os
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mmengine.config import Config

from mmseg.engine import checkpoint
from mmseg.engine.checkpoint import FORMAT_VERSION, checkpoint_config, read_checkpoint, write_checkpoint
from mmseg.engine.hooks import CheckNormalisationHook
from mmseg.engine.resuming import config_differences
from mmseg.utils.errors import UserError

JSON_TYPES = (str, int, float, bool, type(None))


def small() -> dict[str, Any]:
    return dict(state_dict={"weight": torch.arange(400.0)}, meta=dict(iter=3, config_json='{"model": {"type": "X"}}'))


def is_json(value: Any) -> bool:
    """Whether exactly JSON's types are used, subclasses such as torch's version string excluded."""
    if isinstance(value, dict):
        return all(type(key) is str and is_json(item) for key, item in value.items())
    if isinstance(value, list):
        return all(map(is_json, value))
    return type(value) in JSON_TYPES


def test_keys_of_a_real_checkpoint(trained: Path) -> None:
    checkpoint = torch.load(trained, weights_only=True)
    assert set(checkpoint) == {"state_dict", "optimizer", "param_schedulers", "rng", "log_window", "meta"}
    assert set(checkpoint["rng"][0]) == {"python", "numpy", "torch"}
    assert len(checkpoint["rng"]) == 1
    meta = checkpoint["meta"]
    assert set(meta) >= {
        "format_version", "iter", "seed", "config_json", "classes", "palette", "thresholds", "metrics", "init", "versions",
    }
    assert "config" not in meta
    assert is_json(meta)
    assert meta["format_version"] == FORMAT_VERSION
    assert (meta["iter"], meta["seed"], meta["init"]) == (4, 0, "scratch")
    assert meta["classes"] == ["MA", "HE", "EX", "SE"]
    assert set(meta["thresholds"]) == set(meta["classes"])
    assert all(isinstance(tensor, torch.Tensor) and tensor.device.type == "cpu" for tensor in checkpoint["state_dict"].values())


def test_the_configuration_travels_inside(trained: Path) -> None:
    checkpoint = read_checkpoint(trained)
    config = checkpoint_config(checkpoint, trained)
    assert config.model.type == "SDCNet"
    assert config.to_dict() == json.loads(checkpoint["meta"]["config_json"])
    told = config.train_cfg.max_iters, config.model.backbone.base_channels, config.optim_wrapper.optimizer.lr
    assert told == (4, 8, 4e-3)  # of the run


def test_a_newer_format_is_refused(trained: Path, tmp_path: Path) -> None:
    checkpoint = torch.load(trained, weights_only=True)
    checkpoint["meta"]["format_version"] = FORMAT_VERSION + 1
    torch.save(checkpoint, tmp_path / "x.pth")
    with pytest.raises(UserError, match=r"x.pth: was written by a newer version of this program \(format 2, this one knows 1\)"):
        read_checkpoint(tmp_path / "x.pth")


@pytest.mark.parametrize("text", ["{", "[]", 7])
def test_what_stands_in_the_place_of_a_configuration(trained: Path, tmp_path: Path, text: object) -> None:
    """Also where it is only compared with."""
    checkpoint = torch.load(trained, weights_only=True)
    checkpoint["meta"]["config_json"] = text
    runner = SimpleNamespace(cfg={}, _train_loop=None)
    for use in (
        lambda: checkpoint_config(checkpoint, "x.pth"), lambda: config_differences(checkpoint, Config()),
        lambda: CheckNormalisationHook().after_load_checkpoint(runner, checkpoint),
    ):
        with pytest.raises(UserError, match="the configuration inside is no"):
            use()


def test_a_configuration_inside_is_never_executed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    text = f"__import__('pathlib').Path({str(victim)!r}).touch()"
    config = checkpoint_config(dict(meta=dict(config_json=json.dumps({"model": text, "_base_": text}))), "x.pth")
    assert config.model == text
    assert not victim.exists()


def test_a_checkpoint_without_a_configuration_names_the_way_out() -> None:
    with pytest.raises(UserError, match=r"x\.pth: .*--config"):
        checkpoint_config(dict(state_dict={}), "x.pth")


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "iter_3.pth"
    write_checkpoint(small(), path)
    read = read_checkpoint(path)
    assert torch.equal(read["state_dict"]["weight"], torch.arange(400.0))
    assert read["meta"] == small()["meta"]
    assert list(tmp_path.iterdir()) == [path]


def test_file_mode_follows_the_umask(tmp_path: Path) -> None:
    """A checkpoint that only its writer may read cannot be mounted into another user's container."""
    old = os.umask(0o022)
    try:
        write_checkpoint(small(), tmp_path / "a.pth")
    finally:
        os.umask(old)
    assert (tmp_path / "a.pth").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("unexpected pos 64 vs 0")])
def test_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    path = tmp_path / "iter_3.pth"
    write_checkpoint(small(), path)
    before = path.read_bytes()

    def fail(_: Any, file: Any) -> None:
        file.write(b"half of it")
        raise error

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(UserError, match=r"iter_3\.pth: the checkpoint of 0 MiB could not be written.*MiB are free.*--resume"):
        write_checkpoint(small(), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_failed_rename_and_interruption_leave_no_temporary_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(30, "Read-only file system")

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", refuse)
        with pytest.raises(UserError, match="Read-only"):
            write_checkpoint(small(), tmp_path / "a.pth")
    monkeypatch.setattr(torch, "save", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_checkpoint(small(), tmp_path / "a.pth")
    assert list(tmp_path.iterdir()) == []


class FaultyFile:
    """A file on a disk that fails after some bytes: with an error, or without one."""

    def __init__(self, file: Any, room: int, error: OSError | None) -> None:
        self._file, self._room, self._error = file, room, error

    def write(self, data: Any) -> int:
        data = memoryview(data)
        self._file.write(data[: max(0, self._room)])
        self._room -= len(data)
        if self._room < 0 and self._error:
            raise self._error
        return len(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> FaultyFile:
        return self

    def __exit__(self, *_: Any) -> None:
        self._file.close()


NO_SPACE, NO_ACCESS, BROKEN = (OSError(number, os.strerror(number)) for number in (errno.ENOSPC, errno.EACCES, errno.EIO))


@pytest.mark.parametrize("latest", [False, True])
@pytest.mark.parametrize(("where", "error"), [
    *((f"write {room}", error) for room in (0, 1, 100, 1000, 2500) for error in (NO_SPACE, BROKEN, None)),
    *((call, error) for call in ("open", "fsync", "replace") for error in (NO_SPACE, NO_ACCESS, BROKEN)),
])
def test_a_fault_at_any_call_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, error: OSError | None, latest: bool
) -> None:
    """With ``None`` bytes are lost without an error, as some file systems do."""
    path = tmp_path / "iter_3.pth"
    write_checkpoint(small(), path, latest)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    with monkeypatch.context() as patch:
        if where.startswith("write"):
            opened = Path.open

            def open_faulty(self: Path, mode: str = "r", *args: Any) -> Any:
                file = opened(self, mode, *args)
                return FaultyFile(file, int(where.split()[1]), error) if "w" in mode else file

            patch.setattr(Path, "open", open_faulty)
        else:
            def fail(*_: Any) -> None:
                raise error

            patch.setattr(os if where == "fsync" else Path, where, fail)
        with pytest.raises(UserError, match=r"iter_3\.pth: the checkpoint of .* could not be written.*MiB are free"):
            write_checkpoint(small() | dict(more=torch.zeros(100)), path, latest)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="the names of open files are looked up in /proc")
def test_the_bytes_are_on_the_disk_before_the_name_is_and_the_name_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is flushed, read back and renamed (``latest.pth`` first); then the folder is flushed."""
    events: list[str] = []
    fsync, replace, check = os.fsync, Path.replace, checkpoint._check_written

    def flushed(number: int) -> None:
        events.append("flush " + Path(f"/proc/self/fd/{number}").resolve().name.replace(tmp_path.name, "folder"))
        fsync(number)

    monkeypatch.setattr(os, "fsync", flushed)
    monkeypatch.setattr(checkpoint, "_check_written", lambda path: (events.append("read back"), check(path))[1])
    monkeypatch.setattr(Path, "replace", lambda self, target: (events.append(f"{Path(target).name}"), replace(self, target))[1])
    write_checkpoint(small(), tmp_path / "a.pth", latest=True)
    assert events == ["flush .a.pth.part", "read back", "latest.pth", "a.pth", "flush folder"]


def test_what_a_killed_process_left_is_not_written_into(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed between its two names, a checkpoint is latest.pth, and still has its unfinished name."""
    write_checkpoint(small(), tmp_path / "iter_2.pth", latest=True)
    os.link(tmp_path / "latest.pth", tmp_path / ".iter_3.pth.part")
    before = (tmp_path / "latest.pth").read_bytes()
    monkeypatch.setattr(torch, "save", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_checkpoint(small(), tmp_path / "iter_3.pth", latest=True)
    assert (tmp_path / "latest.pth").read_bytes() == before


def test_write_into_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="could not be written"):
        write_checkpoint(small(), tmp_path / "none" / "a.pth")


def test_latest_is_a_real_file(tmp_path: Path) -> None:
    latest = tmp_path / "latest.pth"
    for number in (1, 2):
        path = tmp_path / f"iter_{number}.pth"
        write_checkpoint(small() | dict(number=number), path, latest=True)
        assert not latest.is_symlink()
        assert latest.samefile(path)
    (tmp_path / "iter_2.pth").unlink()
    assert read_checkpoint(latest)["number"] == 2


def test_latest_is_a_copy_where_links_are_not_offered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    path = tmp_path / "iter_1.pth"
    write_checkpoint(small(), path, latest=True)
    latest = tmp_path / "latest.pth"
    assert latest.read_bytes() == path.read_bytes()
    assert not latest.samefile(path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["iter_1.pth", "latest.pth"]


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_any_damage_is_told_as_one_message(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    write_checkpoint(small(), path)
    whole = path.read_bytes()
    generator = random.Random(0)
    damaged = [whole[:size] for size in range(0, len(whole), 211)]
    damaged += [generator.randbytes(generator.randrange(100)) for _ in range(100)]
    damaged += [b"", b"\x80", b"\x80\x02.", b"version https://git-lfs.github.com/spec/v1\n", b"<!DOCTYPE html>"]
    for content in damaged:
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"a\.pth"):
            read_checkpoint(path)


def test_missing_and_foreign_files(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    with pytest.raises(UserError, match=r"a\.pth: no such checkpoint"):
        read_checkpoint(path)
    with pytest.raises(UserError, match="no such checkpoint"):
        read_checkpoint(tmp_path)
    torch.save({"model": {}}, path)
    with pytest.raises(UserError, match="no 'state_dict'"):
        read_checkpoint(path)
    torch.save([1], path)
    with pytest.raises(UserError, match="no 'state_dict'"):
        read_checkpoint(path)


def test_a_flipped_bit_in_a_tensor_is_told(tmp_path: Path) -> None:
    path = tmp_path / "iter_1.pth"
    weight = torch.arange(4096, dtype=torch.float32)
    write_checkpoint(dict(state_dict=dict(weight=weight), meta={}), path)
    data = bytearray(path.read_bytes())
    where = data.index(weight.numpy().tobytes()[4000:4400]) + 7
    data[where] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(UserError, match=r"checksum of its part .*data.* is wrong"):
        read_checkpoint(path)


@pytest.mark.parametrize("text", ["", "[" * 5000, "3", "[]", '{"model"', "{} {}"])
def test_a_configuration_inside_that_is_none(text: str) -> None:
    """Found by tests/fuzz."""
    with pytest.raises(UserError, match=r"x\.pth: the configuration inside is no"):
        checkpoint_config(dict(meta=dict(config_json=text)), "x.pth")


@pytest.mark.parametrize("content", [
    dict(state_dict=None), dict(state_dict=[1]), dict(state_dict={"a": {}}), dict(state_dict={"a": 3}),
    dict(state_dict={}, meta=[]),
])
def test_a_sound_file_with_the_wrong_content(content: dict[str, Any], tmp_path: Path) -> None:
    """Found by tests/fuzz."""
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(UserError, match=r"a\.pth: 'state_dict' or 'meta' holds something else"):
        read_checkpoint(tmp_path / "a.pth")
