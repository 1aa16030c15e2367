"""What is installed, held against requirements/: on made-up packages, and by the command itself."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import PathDistribution
from pathlib import Path

import pytest

from mmseg.utils.errors import UserError
from mmseg.utils.requirements import Differences, compare_requirements

Compare = Callable[..., Differences]


@pytest.fixture
def compare(tmp_path: Path) -> Compare:
    """Compare ``name=version`` or ``name=(version, needs...)`` with lists of requirements."""

    def run(files: dict[str, str], address: str = "", **installed: str | tuple[str, ...]) -> Differences:
        folder = tmp_path / "requirements"
        folder.mkdir()
        for name, text in files.items():
            (folder / f"{name}.txt").write_text(text)
        found = []
        for name, given in installed.items():
            version, *needs = given if isinstance(given, tuple) else (given,)
            info = tmp_path / f"{name}-{version}.dist-info"
            info.mkdir()
            lines = [f"Name: {name}", f"Version: {version}", *(f"Requires-Dist: {need}" for need in needs)]
            (info / "METADATA").write_text("\n".join(["Metadata-Version: 2.1", *lines, "", ""]))
            if address:
                (info / "direct_url.json").write_text(address)
            found.append(PathDistribution(info))
        return compare_requirements(folder, found)

    return run


def test_all_is_well(compare: Compare) -> None:
    lists = {"runtime": "# a comment\ntorch>=2.6\n", "constraints": "torch==2.13.0"}
    differences = compare(lists, torch="2.13.0+cpu", pip="26.0")
    assert differences == Differences()
    assert (str(differences), differences.exit_code) == ("# 0 errors, 0 warnings", 0)


def test_what_was_installed_by_hand_is_a_line_to_copy(compare: Compare) -> None:
    differences = compare({"runtime": "torch"}, torch="2.13.0", Some_Loss="0.3", einops="0.8.1")
    assert differences.unlisted == ["einops==0.8.1", "Some_Loss==0.3"]
    assert differences.exit_code == 1
    copied = [line for line in str(differences).splitlines() if not line.startswith("#")]
    assert copied == differences.unlisted
    assert str(differences).endswith("# 0 errors, 2 warnings")


def test_dependencies_of_what_is_listed_do_not_count(compare: Compare) -> None:
    """Nor those of dependencies; an extra counts only where it is asked for, a marker where it holds."""
    needs = ("1.0", "b_x", "c; extra == 'more'", "d; extra == 'other'", "e; python_version < '3'")
    differences = compare({"runtime": "a[more]"}, a=needs, b_x=("1.0", "f", "a"), c="1.0", d="1.0", e="1.0", f="1.0")
    assert differences.unlisted == ["d==1.0", "e==1.0"]


def test_what_a_list_of_tests_needs_counts_as_listed(compare: Compare) -> None:
    differences = compare({"runtime": "a", "tests": "pytest\nhypothesis"}, a="1", pytest=("9", "pluggy"), pluggy="1")
    assert differences == Differences(spare=["hypothesis"])
    assert differences.exit_code == 0


def test_what_is_missing_or_too_old(compare: Compare) -> None:
    differences = compare({"runtime": "torch>=2.6\nnumpy", "constraints": "torch==2.13.0"}, torch="2.1.0")
    assert differences.wanting == ["torch>=2.6, installed is 2.1.0", "numpy, not installed"]
    assert differences.moved == ["torch 2.1.0, expected ==2.13.0"]
    assert differences.exit_code == 2
    assert "pip install -c requirements/constraints.txt -r requirements/runtime.txt" in str(differences)


def test_another_version_than_the_pinned_is_a_warning(compare: Compare) -> None:
    differences = compare({"runtime": "numpy", "constraints": "numpy==2.4.6\nscipy==1.17.1"}, numpy="2.3.0")
    assert (differences.moved, differences.exit_code) == (["numpy 2.3.0, expected ==2.4.6"], 1)


def test_what_came_from_an_address(compare: Compare) -> None:
    address = '{"url": "https://example.org/x.git", "vcs_info": {"vcs": "git", "commit_id": "abc"}}'
    assert compare({"runtime": ""}, address, x="1").unlisted == ["x @ git+https://example.org/x.git@abc"]


def test_no_folder_and_a_line_that_is_none(compare: Compare, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"runtime\.txt: cannot be read"):
        compare_requirements(tmp_path / "none", [])
    with pytest.raises(UserError, match="expected lines such as"):
        compare({"runtime": "torch = 2"})


def test_the_command(repo: Path) -> None:
    """In the environment of the tests nothing is missing; it works without torch, which takes seconds to import."""
    command = [sys.executable, "-X", "importtime", str(repo / "tools/check.py"), "--requirements"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stdout
    assert "# 0 errors, " in done.stdout
    assert " torch" not in done.stderr
    done = subprocess.run([*command, "config.py"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "expected a CONFIG, --machine or --requirements, one of them" in done.stderr
