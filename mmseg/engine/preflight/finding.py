"""One thing that is wrong, or worth knowing, before a run."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from mmseg.utils.errors import UserError

__all__ = ["ERROR", "NOTE", "WARNING", "Finding", "build_or_finding", "exit_code", "from_user_error", "refuse"]

ERROR, WARNING, NOTE = "error", "warning", "note"


@dataclass(frozen=True)
class Finding:
    """One line of a report.

    Attributes:
        severity: 'error' (the run would fail or its numbers would be wrong), 'warning' (look at it) or 'note' (good to know).
        where: the file, or the dotted key of the configuration.
        got: what is there: a value where ``expected`` says what it should be, else a phrase.
        expected: what should be there; may be empty.
        fix: what to do; may be empty.
    """

    severity: str
    where: str
    got: str
    expected: str = ""
    fix: str = ""

    def __str__(self) -> str:
        """``where: got ..., expected ...; fix``, without the severity."""
        what = f"got {self.got}, expected {self.expected}" if self.expected else self.got
        return f"{self.where}: {what}{f'; {self.fix}' if self.fix else ''}"


def exit_code(findings: Iterable[Finding]) -> int:
    """0 without errors and warnings, 1 with warnings, 2 with errors."""
    severities = {finding.severity for finding in findings}
    return 2 if ERROR in severities else int(WARNING in severities)


def refuse(findings: Iterable[Finding], head: str) -> None:
    """Raise a UserError with the errors among these, a line each, below ``head``; where there is none, nothing is raised."""
    errors = [str(finding) for finding in findings if finding.severity == ERROR]
    if errors:
        raise UserError("\n  ".join([head, *errors]))


def from_user_error(error: Exception | str, where: str, severity: str = ERROR) -> Finding:
    """What the code that reads the thing says of it, as a finding.

    Args:
        error: ``where: got X, expected Y; fix``, or free text.
        where: taken where the text does not begin with it.
        severity: of the finding.
    """
    text = " ".join(str(error).split()).removeprefix(f"{where}: ")
    parts = re.fullmatch(r"got (.+?), expected (.+?)(?:; (.+))?", text)
    return Finding(severity, where, *(part or "" for part in parts.groups())) if parts else Finding(severity, where, text)


def build_or_finding(build: Callable[[], Any], where: str) -> Any:
    """What ``build`` makes of values of the user's; where it fails, a :class:`Finding` that says why."""
    try:
        return build()
    except (UserError, ValueError) as error:
        return from_user_error(error, where)
    except Exception as error:  # values of the user's, in a constructor of any library
        return Finding(ERROR, where, f"cannot be built ({type(error).__name__}: {error})")
