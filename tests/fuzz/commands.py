"""Command lines: the tools themselves, in this process, with what builds and runs a model replaced."""

from __future__ import annotations

import contextlib
import io
import os
import runpy
import shutil
import sys
from pathlib import Path
from typing import Any
from unittest import mock

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from mmengine.config import Config

from mmseg.apis import register_all_modules
from mmseg.datasets.synthetic import make_dataset
from mmseg.engine.config import check_config

from .configs import BASE, ROOT, WORDS, narrow, tools
from .surface import Surface, snapshot

__all__ = ["CommandLines"]

_FLAGS = {
    "train.py": ["--work-dir", "--cfg-options", "--options", "--launcher", "--resume", "--load-from", "--amp", "--seed",
                 "--no-check", "--deterministic", "--no-validate", "--resume-from", "--auto-resume", "--local-rank"],
    "test.py": ["--work-dir", "--cfg-options", "--out", "--show-dir", "--tta", "--eval", "--launcher"],
    "check.py": ["--cfg-options", "--work-dir", "--json"],
    "inference.py": ["--checkpoint", "--config", "--out-dir", "--device", "--save-probabilities", "--threshold", "--batch-size",
                     "--overwrite", "--launcher"],
    "print_config.py": ["--cfg-options"],
    "browse_dataset.py": ["--out-dir", "--cfg-options"],
}

_GOOD = {
    "--work-dir": "w", "--cfg-options": "train_cfg.max_iters=100", "--options": "randomness.seed=2", "--launcher": "none",
    "--seed": "3", "--local-rank": "0", "--out": "o", "--show-dir": "s", "--eval": "mIoU", "--json": "f.json",
    "--out-dir": "d", "--device": "cpu", "--threshold": "MA=0.3", "--batch-size": "2",
}
"""A right value; flags that are not here take none, or a file."""


class CommandLines(Surface):
    name = "command"
    modules = ("mmseg.engine.config", "mmseg.apis.inputs", "mmseg.utils.paths")

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        register_all_modules()
        tools()
        self.data = folder / "data"
        make_dataset(self.data, 1, 1, (120, 96), 0, 1)
        config = narrow()
        for loader in (config.train_dataloader.dataset.dataset, config.test_dataloader.dataset):
            loader.data_root = str(self.data)
        config.pop("work_dir")
        config.dump(self.data / "tiny.py")
        (self.data / "bad.pth").write_bytes(b"PK\x03\x04")
        shutil.copytree(ROOT / "configs", self.data / "configs")  # since a command that is broken may write anywhere
        self.kept = snapshot(self.data)

    def inputs(self) -> SearchStrategy[Any]:
        text = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8)
        photograph = str(next((self.data / "images/test").iterdir()))
        base = str(self.data / "configs" / BASE.relative_to(ROOT / "configs"))
        tiny, bad = str(self.data / "tiny.py"), str(self.data / "bad.pth")
        files = st.sampled_from([tiny, base, bad, photograph, str(self.data), "none", "", "*"])
        options = st.sampled_from(["train_cfg.max_iters=2", "model.backbone.depth=19", "a", "=", "work_dir=5"])
        others = st.sampled_from(["pytorchh", "cpu", "MA=0.3", "0.5", "x.json"])
        word = st.one_of(text, files, options, st.sampled_from(WORDS), others)

        def of(tool: str) -> SearchStrategy[Any]:
            flags = st.sampled_from(_FLAGS[tool])
            good = flags.map(lambda flag: [flag, _GOOD[flag]] if flag in _GOOD else [flag])
            piece = st.one_of(good, good, good, word.map(lambda w: [w]), st.tuples(flags, word).map(list))
            right = {"test.py": [tiny, bad], "inference.py": [photograph, "--checkpoint", bad]}.get(tool, [tiny])
            first = st.sampled_from([right, right, right, [tiny], []])
            return st.builds(lambda head, rest: (tool, head + [w for p in rest for w in p]), first, st.lists(piece, max_size=4))

        return st.sampled_from(sorted(_FLAGS)).flatmap(of)

    def attempt(self, value: tuple[str, list[str]]) -> str:
        tool, words = value
        home = self.folder / "home"
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir()
        code = self._run(tool, words + {"check.py": ["--quick"], "browse_dataset.py": ["--number=1"]}.get(tool, []), home)
        assert code in (0, 1, 2), f"exit code {code}"
        after = snapshot(self.data)
        lost = [name for name, content in self.kept.items() if after.get(name) != content]
        for name in lost:
            (self.data / name).write_bytes(self.kept[name] or b"")
        assert not lost, f"{lost} lost or changed"
        return "refused" if code else "accepted"

    @staticmethod
    def _run(tool: str, words: list[str], home: Path) -> int:
        """The exit code; what would train or test ends after the configuration has been checked."""

        def build(config: Config, *_: Any) -> None:
            check_config(config)
            raise SystemExit(0)

        environment = {**os.environ, "SDCNET_HOME": str(home), "LOCAL_RANK": "0"}
        there = Path.cwd()
        os.chdir(home)
        try:
            with (
                mock.patch.dict(os.environ, environment), mock.patch.object(sys, "argv", [tool, *words]),
                mock.patch("mmseg.apis.build_runner", build), mock.patch("mmseg.apis.runs.build_runner", build),
                mock.patch.object(sys, "path", [str(ROOT / "tools"), *sys.path]),
                contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()),
            ):
                runpy.run_path(str(ROOT / "tools" / tool), run_name="__main__")
        except SystemExit as done:
            return int(done.code or 0)
        finally:
            os.chdir(there)
        return 0
