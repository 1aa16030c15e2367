"""What pip sees of the project, and what importing it costs."""

from __future__ import annotations

import ast
import re
import runpy
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

import mmseg

ROOT = Path(__file__).resolve().parents[1]


def names(file: str) -> set[str]:
    lines = (ROOT / "requirements" / file).read_text().splitlines()
    return {re.split(r"[<>=!~\[; ]", line)[0].lower().replace("_", "-") for line in lines if line and not line.startswith("#")}


@pytest.fixture
def metadata(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The arguments that setup.py hands to setuptools."""
    caught: dict[str, Any] = {}
    monkeypatch.setattr("setuptools.setup", lambda **arguments: caught.update(arguments))
    monkeypatch.chdir(ROOT)
    runpy.run_path(str(ROOT / "setup.py"))
    return caught


def test_metadata(metadata: dict[str, Any]) -> None:
    assert metadata["version"] == mmseg.__version__
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*", metadata["version"])
    assert metadata["python_requires"] == ">=3.11"
    assert metadata["long_description"].startswith("#")
    assert metadata["license"] in (ROOT / "LICENSE").read_text().replace("Apache License", "Apache-2.0")


def test_every_package_is_listed(metadata: dict[str, Any]) -> None:
    folders = {path.parent for path in (ROOT / "mmseg").rglob("*.py")}
    assert set(metadata["packages"]) == {".".join(folder.relative_to(ROOT).parts) for folder in folders}


def test_requirements_are_read_from_the_files(metadata: dict[str, Any]) -> None:
    assert "torch>=2.10" in metadata["install_requires"]
    assert set(metadata["extras_require"]) == {"tests", "optional"}
    assert not any(line.startswith(("#", "-")) or not line.strip() for line in metadata["install_requires"])


def test_the_source_archive_holds_what_setup_reads(tmp_path: Path) -> None:
    """``python -m build`` makes the wheel from it."""
    listed = shutil.which("git") and subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    files = listed.stdout.split() if listed else []
    if not files:
        pytest.skip("needs a git checkout: what it tracks is copied")
    for name in (name for name in files if not name.startswith(("docs/", "weights/", "tests/"))):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / "in" / name)
    command = [sys.executable, "setup.py", "-q", "sdist", "-d", str(tmp_path / "out")]
    subprocess.run(command, cwd=tmp_path / "in", capture_output=True, check=True)
    (archive,) = (tmp_path / "out").glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        inside = {name.partition("/")[2] for name in opened.getnames()}
    assert {"requirements/runtime.txt", "requirements/tests.txt", "README.md", "mmseg/version.py", "tools/train.py",
            "configs/default_runtime.py"} <= inside


def test_what_is_installed_is_pinned() -> None:
    lines = (ROOT / "requirements/constraints.txt").read_text().split()
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in lines)
    assert names("runtime.txt") | names("tests.txt") <= names("constraints.txt")


def test_the_pinned_versions_satisfy_the_requirements() -> None:
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    pinned = dict(line.split("==") for line in (ROOT / "requirements/constraints.txt").read_text().split())
    pinned = {canonicalize_name(name): version for name, version in pinned.items()}
    for line in (ROOT / "requirements/runtime.txt").read_text().splitlines():
        requirement = Requirement(line)
        assert requirement.specifier.contains(pinned[canonicalize_name(requirement.name)]), line


def test_every_import_of_the_package_is_required() -> None:
    """Pillow and matplotlib come with mmengine; what only an export needs is optional."""
    known = {"numpy": "numpy", "mmcv": "onedl-mmcv", "mmengine": "onedl-mmengine", "cv2": "opencv-python", "torch": "torch",
             "PIL": "pillow", "matplotlib": "matplotlib", "onnx": "onnx", "onnxruntime": "onnxruntime", "packaging": "packaging"}
    found: set[str] = set()
    for path in (*(ROOT / "mmseg").rglob("*.py"), *(ROOT / "tools").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                found.add(str(node.module).partition(".")[0])
    foreign = found - set(sys.stdlib_module_names) - {"mmseg", "_cli"}
    assert foreign <= set(known), foreign - set(known)
    extra = {"pillow", "matplotlib"} | (names("optional.txt") & {"onnx", "onnxruntime"})
    assert {known[name] for name in foreign} <= names("runtime.txt") | extra


def test_importing_the_package_is_cheap() -> None:
    code = "import sys, mmseg, mmseg.utils; sys.exit(bool({'torch', 'mmengine', 'mmcv', 'cv2', 'numpy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
