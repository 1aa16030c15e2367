"""Where things live: the folders below ``SDCNET_HOME``."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from mmseg.utils.errors import UserError

__all__ = ["find_weights", "home", "home_as_written", "home_path", "make_folder"]


def home() -> Path:
    """The folder that holds ``model/ work_dirs/ input_img/ output_img/``.

    Returns:
        ``$SDCNET_HOME``, or the current directory where it is unset or empty.
    """
    return Path(home_as_written())


def home_as_written() -> str:
    """What a configuration reads for ``{{$SDCNET_HOME:.}}``, to the letter: ``./`` and ``/data/`` stay what they are."""
    return os.environ.get("SDCNET_HOME") or "."


def home_path(*parts: str) -> Path:
    """A path below :func:`home`, such as ``home_path('model', 'latest.pth')``."""
    return home().joinpath(*parts)


def find_weights(source: str) -> str:
    """Where pretrained weights are looked for: the name behind ``open-mmlab://``, or of a URL, in ``$SDCNET_HOME/model``.

    Args:
        source: such as 'open-mmlab://resnet18_v1c'; a path stays what it is.

    Returns:
        a path; of the names ``resnet18_v1c.pth`` and ``resnet18_v1c-<digest>.pth`` the one that is there.
    """
    if "://" not in source:
        return source
    stem = source.rpartition("/")[2].removesuffix(".pth")
    folder = home_path("model")
    found = [path.name for path in (folder / f"{stem}.pth", *sorted(folder.glob(f"{stem}-*.pth"))) if path.is_file()]
    return f"{home_as_written()}/model/{found[0] if found else stem + '.pth'}"


def make_folder(path: str | Path, option: str) -> Path:
    """Make a folder and see that files can be written there, before anything heavy starts.

    Args:
        path: of the folder.
        option: by which the user can choose another.

    Raises:
        UserError: it cannot be made or written.
    """
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):  # a name of its own: several processes do this at once
            pass
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror}); choose another folder by {option}") from error
    return path
