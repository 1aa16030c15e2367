"""The user's mistakes: one exception, one message, one exit code."""

from __future__ import annotations

import contextlib
import difflib
import sys
from collections.abc import Iterable, Iterator

__all__ = ["UserError", "exit_on_user_error", "nearest"]


class UserError(Exception):
    """A mistake only the user can mend; the tools print its text and exit with code 2, without a traceback.

    Its message says what is wrong, where, what was got, what was expected, and the fix.
    """


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
    """Print a :class:`UserError` as one message on stderr and exit with code 2; let every other exception through."""
    try:
        yield
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
