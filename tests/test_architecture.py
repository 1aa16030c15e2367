"""The floors of docs/architecture.md: a room imports only from the same floor or below."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

FLOORS = {
    "apis": 4, "compat": 3, "engine": 3, "datasets": 2, "models": 2, "evaluation": 2, "visualization": 2, "structures": 1,
    "utils": 0, "registry": 0, "version": 0,
}
ROOT = Path(__file__).resolve().parents[1]
FILES = sorted((ROOT / "mmseg").rglob("*.py"))


def module_imports(path: Path) -> list[str]:
    """Names imported when a file is imported; what functions import later does not count."""
    names = []
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.append(node.module)
    return names


def room(name: str) -> str | None:
    parts = name.split(".")
    return parts[1] if parts[0] == "mmseg" and len(parts) > 1 else None


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_room_imports_from_its_floor_or_below(path: Path) -> None:
    own = path.relative_to(ROOT / "mmseg").parts[0].removesuffix(".py")
    if own == "__init__":
        return
    above = [n for n in module_imports(path) if (r := room(n)) and FLOORS[r] > FLOORS[own]]
    assert not above, f"{path} is on floor {FLOORS[own]} and imports {above}"


def test_no_module_needs_itself() -> None:
    """Imports run one way, also between rooms of one floor; a package stands for its ``__init__``."""
    modules = {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in FILES}

    def packages(name: str) -> set[str]:
        parts = name.split(".")
        return {".".join(parts[:n]) for n in range(1, len(parts) + 1)}

    graph = {
        name: {needed for found in module_imports(path) for needed in packages(found) & modules.keys()} - packages(name)
        for name, path in modules.items()
    }
    assert len(graph) > 100 and "mmseg.compat.old_config" in graph["mmseg.engine.config"]
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


def test_layers_know_no_registry_and_no_head() -> None:
    for path in (ROOT / "mmseg/models/layers").glob("*.py"):
        wrong = [n for n in module_imports(path) if n == "mmseg.registry" or "decode_heads" in n or "losses" in n]
        assert not wrong, f"{path} imports {wrong}"


def test_only_one_file_names_cuda() -> None:
    named = {p.relative_to(ROOT).as_posix() for p in FILES if "torch.cuda" in p.read_text() or ".cuda(" in p.read_text()}
    assert named == {"mmseg/utils/device.py"}


def test_only_paths_and_the_command_line_read_the_environment() -> None:
    # config.py hides empty values from mmengine's templates; device.py looks whether GPUs are hidden
    allowed = {"mmseg/utils/paths.py", "mmseg/engine/config.py", "mmseg/utils/device.py"}
    assert {p.relative_to(ROOT).as_posix() for p in FILES if "os.environ" in p.read_text()} == allowed


def test_every_public_file_says_what_it_exports() -> None:
    without = [p for p in FILES if "__all__" not in p.read_text() and p.name != "version.py"]
    assert not without
