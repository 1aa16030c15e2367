"""Checkpoint files: their keys, atomic writing, and reading that runs nothing and tells every kind of damage."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import random
from pathlib import Path
from typing import Any

import pytest
import torch

from mmseg.engine.checkpoint import FORMAT_VERSION, checkpoint_config, link_latest, read_checkpoint, write_checkpoint
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
    assert set(checkpoint) == {"state_dict", "optimizer", "param_schedulers", "rng", "sampler", "meta"}
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
    with pytest.raises(UserError, match=r"iter_3\.pth.*could not be written.*MiB are free"):
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


def test_the_bytes_are_on_the_disk_before_the_name_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []
    fsync, replace = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda number: (events.append("fsync"), fsync(number))[1])
    monkeypatch.setattr(Path, "replace", lambda self, target: (events.append("replace"), replace(self, target))[1])
    write_checkpoint(small(), tmp_path / "a.pth")
    assert events == ["fsync", "replace"]


def test_write_into_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="could not be written"):
        write_checkpoint(small(), tmp_path / "none" / "a.pth")


def test_latest_is_a_real_file(tmp_path: Path) -> None:
    for number in (1, 2):
        path = tmp_path / f"iter_{number}.pth"
        path.write_bytes(b"%d" % number)
        latest = link_latest(path)
        assert latest == tmp_path / "latest.pth"
        assert not latest.is_symlink()
        assert latest.samefile(path)
    (tmp_path / "iter_2.pth").unlink()
    assert latest.read_bytes() == b"2"


def test_latest_is_a_copy_where_links_are_not_offered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    path = tmp_path / "iter_1.pth"
    path.write_bytes(b"weights")
    latest = link_latest(path)
    assert latest.read_bytes() == b"weights"
    assert not latest.samefile(path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["iter_1.pth", "latest.pth"]


class Payload:
    """Pickled, it is an order to make a file."""

    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.victim),)


@pytest.mark.parametrize("plain", [False, True], ids=["torch.save", "pickle"])
def test_a_crafted_file_is_refused_and_not_executed(tmp_path: Path, plain: bool) -> None:
    path, victim = tmp_path / "crafted.pth", tmp_path / "victim"
    content = dict(state_dict=Payload(victim), meta={})
    if plain:
        path.write_bytes(pickle.dumps(content, protocol=2))
    else:
        torch.save(content, path)
    with pytest.raises(UserError, match=r"crafted\.pth.*could run code"):
        read_checkpoint(path)
    assert not victim.exists()
    with contextlib.suppress(RuntimeError):  # the negative control: the file does what it is accused of
        torch.load(path, weights_only=False)
    assert victim.is_dir()


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
    with pytest.raises(UserError, match=r"x\.pth: the configuration inside cannot be read"):
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
