"""What a user's mistake looks like."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mmseg.utils import UserError, exit_on_user_error, nearest


def test_a_users_mistake_is_one_message_and_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught, exit_on_user_error():
        raise UserError("--size: got 'big', expected two numbers")
    assert caught.value.code == 2
    out, err = capsys.readouterr()
    assert (out, err) == ("", "error: --size: got 'big', expected two numbers\n")


@pytest.mark.parametrize("error", [ValueError("ours"), SystemExit(3)])
def test_every_other_exception_passes(error: BaseException, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(type(error)) as caught, exit_on_user_error():
        raise error
    assert caught.value is error
    assert capsys.readouterr().err == ""


def test_a_gpu_without_room_is_one_message(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught, exit_on_user_error():
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has")
    assert caught.value.code == 75  # another attempt may find room
    assert capsys.readouterr().err.startswith("error: the GPU has no room left (CUDA out of memory); see by nvidia-smi")
    with pytest.raises(RuntimeError), exit_on_user_error():
        raise RuntimeError("a fault of the program")


@pytest.mark.parametrize("number", [errno.ESTALE, errno.ENOTCONN, errno.EIO])
def test_a_network_drive_that_has_gone_is_one_message(number: int, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught, exit_on_user_error():
        raise OSError(number, os.strerror(number), "/mnt/photos/a.jpg")
    assert caught.value.code == 75
    assert capsys.readouterr().err.startswith("error: /mnt/photos/a.jpg: cannot be read or written (")
    with pytest.raises(SystemExit) as caught, exit_on_user_error():
        try:
            raise OSError(number, os.strerror(number))
        except OSError as error:  # as most of the code tells it
            raise UserError("latest.pth: cannot be written") from error
    assert caught.value.code == 75


def test_no_mistake_no_exit() -> None:
    with exit_on_user_error():
        done = True
    assert done


@pytest.mark.parametrize(
    ("name", "choices", "expected"),
    [
        ("DiceLos", ["DiceLoss", "FocalLoss"], "; did you mean 'DiceLoss'?"),
        ("batchsize", iter(["num_workers", "batch_size"]), "; did you mean 'batch_size'?"),
        ("xyz", ["DiceLoss"], ""),
        ("anything", [], ""),
    ],
)
def test_the_nearest_name(name: str, choices: list[str], expected: str) -> None:
    assert nearest(name, choices) == expected


def test_the_likeness_asked_for() -> None:
    assert nearest("dice", ["DiceLoss"], likeness=0.9) == ""
    assert nearest("dice", ["DiceLoss"], likeness=0.3) != ""


def test_a_library_that_the_system_lacks_is_told_with_its_packages(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught, exit_on_user_error():
        raise ImportError("libGL.so.1: cannot open shared object file: No such file or directory")
    assert caught.value.code == 2
    assert "libGL.so.1" in (said := capsys.readouterr().err) and "sudo apt install libgl1 libglib2.0-0 libxcb1" in said
    for other in ("cannot import name 'x' from 'mmseg'", "libcudnn.so.9: cannot open shared object file"):
        with pytest.raises(ImportError), exit_on_user_error():
            raise ImportError(other)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EROFS])
def test_the_disk_is_told_like_a_mistake(number: int, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught, exit_on_user_error():
        raise OSError(number, os.strerror(number), "a/b.json")
    assert caught.value.code == 2
    assert capsys.readouterr().err == f"error: a/b.json: cannot be read or written ({os.strerror(number)})\n"


def test_other_errors_of_the_system_are_not() -> None:
    with pytest.raises(FileNotFoundError), exit_on_user_error():
        raise FileNotFoundError(errno.ENOENT, "x")


def test_ctrl_c(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught, exit_on_user_error():
        raise KeyboardInterrupt
    assert (caught.value.code, capsys.readouterr().err) == (130, "stopped\n")


@pytest.mark.parametrize(("name", "told"), [("cv2", True), ("torch.nn", True), ("my_project.my_loss", False)])
def test_an_environment_that_was_not_activated(name: str, told: bool, capsys: pytest.CaptureFixture[str]) -> None:
    """A package that the requirements name; what a user's own code lacks is a fault to be seen whole."""
    with pytest.raises(SystemExit if told else ModuleNotFoundError), exit_on_user_error():
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    assert ("activate the environment" in capsys.readouterr().err) == told


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_message_that_has_no_room_costs_no_exit_code() -> None:
    """The log of a process may lie on the disk that is full, and a launcher would take another code for a reason to try again."""
    program = "import sys; from mmseg.utils import *\nwith exit_on_user_error():\n    print('much')\n    raise UserError('told')"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with open("/dev/full", "w") as full:  # noqa: PTH123
        done = subprocess.run([sys.executable, "-c", program], stdout=full, stderr=full, env=environment, check=False)
    assert done.returncode == 2
