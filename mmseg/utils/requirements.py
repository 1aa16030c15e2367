"""What is installed, held against what ``requirements/`` lists. Needs no torch, so that it works where torch is missing."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib.metadata import Distribution, distributions
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from mmseg.utils.errors import UserError

__all__ = ["Differences", "compare_requirements"]

_NOT_COUNTED = {"pip", "setuptools", "wheel", "sdc-net"}
"""Every environment has the first three; the fourth is this project."""


@dataclass
class Differences:
    """What :func:`compare_requirements` found; every list holds one line a package.

    Attributes:
        unlisted: installed and neither listed nor a dependency of something listed, as ``pip freeze`` writes it.
        wanting: of ``runtime.txt``, not installed, or in a version that it does not allow.
        moved: installed in another version than ``constraints.txt`` pins.
        spare: of the other files, not installed.
    """

    unlisted: list[str] = field(default_factory=list)
    wanting: list[str] = field(default_factory=list)
    moved: list[str] = field(default_factory=list)
    spare: list[str] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """2 where the program cannot run as it should, 1 where the files and the environment differ, else 0."""
        return 2 if self.wanting else int(bool(self.unlisted or self.moved))

    def __str__(self) -> str:
        """A text in which only the unlisted packages are no comments, so that it can be appended to a requirements file."""
        parts = (
            ("installed, but in no file of requirements/: copy what the project needs", self.unlisted, ""),
            ("in runtime.txt, but not installed so: pip install -c requirements/constraints.txt -r requirements/runtime.txt",
             self.wanting, "#   "),
            ("installed in another version than constraints.txt pins", self.moved, "#   "),
            ("not installed, and needed for tests or extras only", self.spare, "#   "),
        )
        lines = [line for title, found, mark in parts if found for line in (f"# {title}", *(mark + name for name in found))]
        warnings = len(self.unlisted) + len(self.moved)
        return "\n".join([*lines, f"# {len(self.wanting)} errors, {warnings} warnings"])


def compare_requirements(folder: str | Path, installed: Iterable[Distribution] | None = None) -> Differences:
    """Hold an environment against the files of a folder.

    Args:
        folder: with ``runtime.txt``, ``constraints.txt`` and any other lists.
        installed: by default what this Python can import.

    Raises:
        UserError: ``runtime.txt`` is missing, or a line of a file is no requirement.
    """
    folder = Path(folder)
    lists = {path.name: _read(path) for path in sorted({*folder.glob("*.txt"), folder / "runtime.txt"})}
    pins = lists.pop("constraints.txt", [])
    found: dict[str, Distribution] = {}
    for distribution in distributions() if installed is None else installed:
        found.setdefault(canonicalize_name(distribution.metadata["Name"] or "?"), distribution)  # the first one is imported
    result = Differences()
    for name, requirements in lists.items():
        for requirement in requirements:
            own = found.get(canonicalize_name(requirement.name))
            if own is None and name != "runtime.txt":
                result.spare.append(str(requirement))
            elif own is None:
                result.wanting.append(f"{requirement}, not installed")
            elif not requirement.specifier.contains(own.version, prereleases=True) and name == "runtime.txt":
                result.wanting.append(f"{requirement}, installed is {own.version}")
    for pin in pins:
        own = found.get(canonicalize_name(pin.name))
        if own is not None and not pin.specifier.contains(own.version, prereleases=True):
            result.moved.append(f"{pin.name} {own.version}, expected {pin.specifier}")
    listed = _with_dependencies([r for requirements in lists.values() for r in requirements], found)
    result.unlisted = [_frozen(found[name]) for name in sorted(set(found) - listed - _NOT_COUNTED)]
    result.spare = sorted(set(result.spare))
    return result


def _read(path: Path) -> list[Requirement]:
    """The requirements of a file that hold on this machine."""
    try:
        lines = [line.partition(" #")[0].strip() for line in path.read_text(encoding="utf-8").splitlines()]
        requirements = [Requirement(line) for line in lines if line and not line.startswith(("#", "-"))]
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); expected the requirements/ of a checkout") from error
    except InvalidRequirement as error:
        raise UserError(f"{path}: {' '.join(str(error).split())}; expected lines such as numpy or torch>=2.6") from error
    return [requirement for requirement in requirements if requirement.marker is None or requirement.marker.evaluate()]


def _with_dependencies(requirements: list[Requirement], found: dict[str, Distribution]) -> set[str]:
    """The names of requirements, of what they depend on, and so on."""
    queue, seen = list(requirements), set[tuple[str, str]]()
    while queue:
        requirement = queue.pop()
        name = canonicalize_name(requirement.name)
        for extra in {"", *requirement.extras}:
            if (name, extra) in seen:
                continue
            seen.add((name, extra))
            for line in (found[name].requires if name in found else None) or []:
                needed = Requirement(line)
                if needed.marker is None or needed.marker.evaluate({"extra": extra}):
                    queue.append(needed)
    return {name for name, _ in seen}


def _frozen(distribution: Distribution) -> str:
    """``name==version``, or ``name @ address`` for what was installed from an address."""
    name, text = distribution.metadata["Name"], distribution.read_text("direct_url.json")
    if not text:
        return f"{name}=={distribution.version}"
    origin = json.loads(text)
    revision = origin.get("vcs_info")
    return f"{name} @ " + (f"{revision['vcs']}+{origin['url']}@{revision['commit_id']}" if revision else origin["url"])
