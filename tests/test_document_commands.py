"""The commands of the documents are run as they are typed, with configurations made small (``small_runs/``).

By default the examples of data sets and modules run in this process; with ``-m slow`` every document runs as a script of bash.
A block that a test cannot run says what it needs (``document_blocks.py``).
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import releases
from document_blocks import DOCUMENTS, NEEDS, PAIRS, ROOT, blocks, shell_lines
from small_runs.shrinking import shrunk

ENGLISH = [name for name in DOCUMENTS if name not in PAIRS.values()]
RUN = [name for name in ENGLISH if any(b.language == "bash" and not b.needs for b in blocks(name))]
PYTHON = [name for name in ENGLISH if any(b.language == "python" and not b.needs and not b.file for b in blocks(name))]
IN_THIS_PROCESS = ["docs/custom_dataset.md", "docs/custom_module.md"]
LINKED = ("benchmarks", "configs", "docs", "mmseg", "requirements", "tests", "tools", "weights", "Makefile", "pyproject.toml")


@pytest.fixture
def desk(tmp_path: Path, tiny_data: Path, speckled: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that looks like a user's checkout after a training: data sets, photographs, a checkpoint."""
    for name in LINKED:
        (tmp_path / name).symlink_to(ROOT / name)
    for name in ("data/synthetic", "data/IDRID"):
        shutil.copytree(tiny_data, tmp_path / name)
    releases.write_ddr(tmp_path / "data/DDR")
    releases.write_fgadr(tmp_path / "data/FGADR")
    photographs = sorted((tiny_data / "images/test").iterdir())
    shutil.copy(photographs[0], tmp_path / "fundus.jpg")
    shutil.copytree(photographs[0].parent, tmp_path / "photos")
    (tmp_path / "work_dirs/sdcnetplus_r18-d8_512x512_40k_IDRiD").mkdir(parents=True)
    for name in ("latest.pth", "work_dirs/sdcnetplus_r18-d8_512x512_40k_IDRiD/latest.pth"):
        shutil.copy(speckled, tmp_path / name)
    for name in [name for name in os.environ if name.startswith(("SDCNET_", "IDRID_", "DDR_", "FGADR_", "PYTHONPATH"))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def on_the_desk(code: str, desk: Path) -> str:
    """Paths such as ``/data/IDRID`` lie below the desk, the photographs that are drawn are those of ``tiny_data``, and a
    training may find the run of another document."""
    code = re.sub(r"(tools/train\.py \S+|tools/dist_train\.sh \S+ \d+)(?![^\n]*--resume)", r"\1 --overwrite", code)
    code = re.sub(r"(?m)(make_synthetic_dataset\.py --out data/synthetic)$", r"\1 --train 4 --test 3 --size 240 160", code)
    return re.sub(r"(?<![\w.$}/])/data/", f"{desk}/data/", code)


class TestMarks:
    @pytest.mark.parametrize("document", DOCUMENTS)
    def test_are_known(self, document: str) -> None:
        for block in blocks(document):
            assert set(block.needs) <= set(NEEDS), block
            assert block.language in ("bash", "python", "text", "json", "powershell", "dockerfile", "yaml"), block
            if "docker" in block.needs:
                assert re.search(r"docker|/app|/SDC-Net_use|container", block.code), f"{block} needs no Docker"
            if "network" in block.needs and "docker" not in block.needs:
                assert re.search(r"pip (install|download)|git clone|make |apt", block.code), f"{block} needs no network"

    @pytest.mark.parametrize("document", IN_THIS_PROCESS)
    def test_examples_are_short(self, document: str) -> None:
        files = [block for block in blocks(document) if block.file]
        assert files
        assert all(block.code.count("\n") <= 30 for block in files)

    @pytest.mark.parametrize("document", DOCUMENTS)
    def test_no_command_stands_outside_of_a_block(self, document: str) -> None:
        text = (ROOT / document).read_text(encoding="utf-8")
        assert not re.search(r"(?m)^    (python|make|bash|nohup|docker) ", text), "use a ```bash block"


@pytest.mark.parametrize("document", IN_THIS_PROCESS)
def test_examples_work(
    document: str, desk: Path, call: Callable[..., int], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Files are written, ``export`` is obeyed, Python tools run here, other commands but those of several processes in bash."""
    import mmseg.apis.init
    import mmseg.engine.config

    for module in (mmseg.engine.config, mmseg.apis.init):
        monkeypatch.setattr(module, "load_config", shrunk(module.load_config))
    monkeypatch.setattr("yapf.yapflib.yapf_api.FormatCode", lambda text, **_: (text, False))
    monkeypatch.setattr("mmengine.runner.runner.collect_env", dict)
    monkeypatch.syspath_prepend(str(desk))
    ran = 0
    for block in blocks(document):
        if block.file:
            (desk / block.file).parent.mkdir(parents=True, exist_ok=True)
            (desk / block.file).write_text(block.code)
        elif block.language == "bash" and not block.needs:
            for line in shell_lines(block):
                words = shlex.split(on_the_desk(line, desk))
                if words[0] == "export":
                    monkeypatch.setenv(*os.path.expandvars(words[1]).split("=", 1))
                elif words[0] == "python" and words[1].startswith("tools/"):
                    code = call(Path(words[1]).relative_to("tools").as_posix(), *words[2:])
                    assert code <= (words[1] == "tools/check.py"), f"{block}: {line}\n{capsys.readouterr().err}"
                    ran += 1
                elif words[0] not in ("bash", "nohup"):
                    subprocess.run(["bash", "-c", on_the_desk(line, desk)], check=True)
    assert ran >= 2


@pytest.mark.slow
@pytest.mark.parametrize("document", RUN)
def test_every_command(document: str, desk: Path) -> None:
    """In bash, with Python processes of their own, in the order of the document; jobs in the background, too."""
    script = ["set -e"]
    for block in blocks(document):
        if block.file:
            (desk / block.file).parent.mkdir(parents=True, exist_ok=True)
            (desk / block.file).write_text(block.code)
        elif block.language == "bash" and not block.needs:
            script += [f"echo '+ {block}' >&2", on_the_desk(block.code, desk)]
    script += ["for job in $(jobs -p); do wait $job; done"]
    # check.py says 1 for warnings, which a small copy of a data set gets
    text = re.sub(r"(?m)^(python tools/check\.py .*)$", r"\1 || test $? = 1", "\n".join(script).replace("\\\n", " "))
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHON": sys.executable,
        "PYTHONPATH": f"{ROOT / 'tests/small_runs'}:{desk}", "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(["bash", "-c", text], cwd=desk, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout[-1500:]}\n{done.stderr[-3000:]}"


@pytest.mark.parametrize("document", PYTHON)
def test_python_blocks_run(document: str, desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import mmseg.apis.init

    monkeypatch.setattr(mmseg.apis.init, "load_config", shrunk(mmseg.apis.init.load_config))
    names: dict = {}
    for block in blocks(document):
        if block.language == "python" and not block.needs and not block.file:
            exec(compile(block.code, str(block), "exec"), names)
