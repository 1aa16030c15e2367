"""Config files and overrides: what people write by hand."""

from __future__ import annotations

import copy
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from mmengine.config import Config

from mmseg.apis import register_all_modules
from mmseg.engine.config import load_config, merge_options
from mmseg.engine.preflight.config import config_findings, pretrained_findings
from mmseg.engine.preflight.disk import disk_findings
from mmseg.engine.preflight.memory import shm_findings
from mmseg.engine.preflight.model import build_parts
from mmseg.engine.preflight.splits import find_splits
from mmseg.utils.errors import UserError

from .mutations import damaged_text
from .surface import Surface, snapshot

__all__ = ["ConfigFiles", "Overrides", "tools"]

ROOT = Path(__file__).resolve().parents[2]
BASE = ROOT / "configs/sdcnet/sdcnetplus_r18-d8_256x256_demo_synthetic.py"
MODULES = (
    "mmseg.engine.config", "mmseg.engine.preflight.config", "mmseg.engine.preflight.keys", "mmseg.engine.preflight.types",
)
WORDS = (
    "0", "1", "-1", "2.5", "1e-3", "1e400", "True", "None", "''", "'x'", "'SGD'", "'bfloat16'", "[]", "{}", "()", "[1, 2]",
    "(0.5, 2.0)", "dict()", "dict(type='X')", "dict(type='SGD', lr=0.1)", "[dict(type='EMAHook')]", "model", "lambda: 0",
    "'{{$HOME:x}}'",
    "{{_base_.model}}", "'lesion/mDice'", "type", "interval", "max_iters", "num_classes", "_base_", "_delete_", "99999999999",
    "{'a': {'b': [1]}}", "'\\ud800'", "float('nan')", "b'x'", "...", "set()",
)
"""What stands on a side of a ``=``."""


def tools() -> Any:
    """``tools/_cli.py``."""
    sys.path.insert(0, str(ROOT / "tools"))
    try:
        import _cli
    finally:
        sys.path.remove(str(ROOT / "tools"))
    return _cli


def narrow() -> Config:
    """The demo's configuration with a network that is built in no time."""
    return load_config(BASE, {
        "model.backbone.base_channels": 8, "model.backbone.stem_channels": 8, "model.decode_head.0.in_channels": 64,
        "model.decode_head.0.channels": 16, "model.decode_head.1.prev_channels": 16,
        "model.decode_head.1.fuse_channels": [16] * 3,
        "model.auxiliary_head.in_channels": 32, "model.auxiliary_head.channels": 16, "work_dir": "work_dirs/x",
    })


def check(config: Config, build: bool) -> None:
    """What a command does with a configuration before it reads images; everything wrong is a finding."""
    findings = [*config_findings(config), *pretrained_findings(config)]
    wrong = tuple(finding.where for finding in findings if finding.severity == "error")
    if build:
        config.setdefault("work_dir", "work_dirs/x")  # as the tools do
        parts = build_parts(config, wrong)
        splits, _ = find_splits(config, skip=wrong)
        list(shm_findings(config, splits))
        if parts.model is not None and not wrong:
            list(disk_findings(config, parts.model, free=2**40))


class ConfigFiles(Surface):
    name = "config"
    modules = MODULES

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        register_all_modules()
        self.seeds = [narrow().pretty_text, f"_base_ = ['{BASE}']\ntrain_cfg = dict(max_iters=3)\nmodel = dict(down_ratio=4)\n"]

    def inputs(self) -> SearchStrategy[Any]:
        texts = st.one_of(damaged_text(self.seeds, WORDS), damaged_text(self.seeds[1:], WORDS))
        return st.tuples(texts, st.integers(0, 19).map(lambda n: n == 0))

    def attempt(self, value: tuple[str, bool]) -> str:
        text, build = value
        path = self.folder / "config.py"
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        before = snapshot(self.folder)
        state = random.getstate()
        try:
            check(load_config(path), build)
        except UserError:
            return "refused"
        finally:
            random.setstate(state)
            assert snapshot(self.folder) == before
        return "accepted"


def _keys(value: Any, where: str = "") -> Iterator[str]:
    """Every dotted key."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, (list, tuple)) else ()
    for key, item in items:
        yield f"{where}{key}"
        yield from _keys(item, f"{where}{key}.")


class Overrides(Surface):
    name = "override"
    modules = MODULES

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        register_all_modules()
        self.config = narrow()
        self.keys = sorted(_keys(self.config._cfg_dict.to_dict()))
        self.options = tools().options

    def inputs(self) -> SearchStrategy[Any]:
        keys = st.one_of(
            st.sampled_from(self.keys), st.text(max_size=12),
            st.builds(str.__add__, st.sampled_from(self.keys), st.sampled_from([".x", ".0", "."])),
        )
        atoms = st.one_of(st.sampled_from(WORDS), st.integers().map(str), st.floats().map(str), st.text(max_size=8))
        lists = st.builds(lambda o, items, c: o + ",".join(items) + c, st.sampled_from("[({ "), st.lists(atoms, max_size=4),
                          st.sampled_from("])} "))
        signs = st.sampled_from(["=", "=", "=", "=", "==", "", "= "])
        pairs = st.builds(lambda key, sign, value: key + sign + value, keys, signs, st.one_of(atoms, lists))
        return st.tuples(st.lists(pairs, max_size=4), st.integers(0, 19).map(lambda n: n == 0))

    def attempt(self, value: tuple[list[str], bool]) -> str:
        pairs, build = value
        try:
            check(merge_options(copy.deepcopy(self.config), self.options(pairs)), build)
        except UserError:
            return "refused"
        return "accepted"
