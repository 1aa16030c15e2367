"""The user's mistakes: one exception, one message, one exit code."""

from __future__ import annotations

import contextlib
import difflib
import errno
import sys
from collections.abc import Iterable, Iterator

__all__ = ["UserError", "exit_on_user_error", "first_line", "is_gone", "nearest"]


_OF_THE_DISK = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}
"""It is full, or may not be written."""

_GONE = {getattr(errno, name) for name in ("EIO", "ESTALE", "ENOTCONN", "EHOSTDOWN", "ETIMEDOUT") if hasattr(errno, name)}
"""A network drive, which may come back."""

_PASSES = 75
"""``EX_TEMPFAIL`` of sysexits.h: the same command may succeed later; ``tools/_launch.py`` begins again."""


_PACKAGES = {"PIL", "cv2", "matplotlib", "mmcv", "mmengine", "numpy", "packaging", "torch"}
"""By the names under which they are imported: what an environment that was not activated lacks."""

_LIBRARIES = "libgl1 libglib2.0-0 libxcb1"
"""Debian's packages of what OpenCV links to."""

_OF_OPENCV = ("libGL", "libglib", "libgthread", "libxcb")


class UserError(Exception):
    """A mistake only the user can mend; the tools print its text and exit with code 2, without a traceback.

    Its message says what is wrong, where, what was got, what was expected, and the fix.
    """


def is_gone(error: BaseException) -> bool:
    """Whether the reason of an error is a network drive that has gone, and may come back."""
    return getattr(error.__cause__, "errno", None) in _GONE


def first_line(error: BaseException) -> str:
    """What a library's error says first; the name of its class where it says nothing."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def nearest(name: str, choices: Iterable[str], likeness: float = 0.5) -> str:
    """Phrase the nearest right name for a misspelt one.

    Args:
        name: what the user wrote.
        choices: the names that would have been right.
        likeness: how much alike the two must be at least, 0 to 1.

    Returns:
        ``"; did you mean 'X'?"`` or an empty string where nothing is near.
    """
    found = difflib.get_close_matches(name, sorted(set(choices)), n=1, cutoff=likeness)
    return f"; did you mean {found[0]!r}?" if found else ""


@contextlib.contextmanager
def exit_on_user_error() -> Iterator[None]:
    """Print a :class:`UserError` as one message on stderr and exit with code 2; let other exceptions through.

    A disk that is full or may not be written is told in the same way, so is a package or a library of the system that is not
    installed; with code 75, since they may pass, a GPU without room and a drive that has gone; and Ctrl-C in one word (code 130).
    """
    try:
        yield
    except UserError as error:
        _tell(f"error: {error}")
        raise SystemExit(_PASSES if is_gone(error) else 2) from None
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _PACKAGES:
            raise
        _tell(f"error: the package {error.name!r} is not installed in {sys.executable}; activate the environment by "
              ". .venv/bin/activate, or install it (docs/getting_started.md)")
        raise SystemExit(2) from None
    except ImportError as error:
        if "cannot open shared object file" not in str(error) or not str(error).startswith(_OF_OPENCV):
            raise
        _tell(f"error: {error}: the system lacks a library; on Debian and Ubuntu: sudo apt install {_LIBRARIES} "
              "(docs/getting_started.md)")
        raise SystemExit(2) from None
    except RuntimeError as error:
        if type(error).__name__ != "OutOfMemoryError":  # torch's, which is not imported here
            raise
        _tell(f"error: the GPU has no room left ({str(error).partition('. ')[0]}); see by nvidia-smi what else is on it, take a "
              "smaller batch, or --device cpu where there is such an option (docs/troubleshooting.md)")
        raise SystemExit(_PASSES) from None
    except OSError as error:
        if error.errno not in _OF_THE_DISK | _GONE:
            raise
        _tell(f"error: {error.filename or 'a file'}: cannot be read or written ({error.strerror})")
        raise SystemExit(_PASSES if error.errno in _GONE else 2) from None
    except KeyboardInterrupt:
        _tell("stopped")
        raise SystemExit(130) from None


def _tell(text: str) -> None:
    """On stderr, which may be a file on the disk that is full: then the message is lost, and not the exit code, too."""
    for name, write in (("stderr", lambda: print(text, file=sys.stderr, flush=True)), ("stdout", sys.stdout.flush)):
        try:
            write()
        except OSError:
            setattr(sys, name, None)  # what is left in it would fail again at the end, with a code of Python's own
