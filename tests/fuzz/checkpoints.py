"""Checkpoints and pretrained weights: damaged archives, hostile pickles, and sound files with the wrong content."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from torch import nn

from mmseg.engine.checkpoint import checkpoint_config, read_checkpoint
from mmseg.engine.runner import load_weights
from mmseg.models.backbones.pretrained import PretrainedInit
from mmseg.utils.errors import UserError

from .mutations import damaged
from .surface import Surface, snapshot

__all__ = ["Checkpoints"]

_META = dict(
    format_version=1, iter=3, seed=0, config_json='{"model": {"type": "X"}}', classes=["MA"], palette=[[1, 2, 3]],
    thresholds={"MA": 0.5}, metrics={}, init="scratch", versions={},
)


def _model() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2))


def _saved(content: Any, zipped: bool = True) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=zipped)
    return buffer.getvalue()


def _whole() -> dict[str, Any]:
    return dict(state_dict=_model().state_dict(), optimizer={}, param_schedulers=[], rng=[], sampler={}, meta=dict(_META))


class Touch:
    """Unpickled without care, it makes a file."""

    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.victim,))


def _with_pickle(seed: bytes, pickled: bytes) -> bytes:
    """The archive with another ``data.pkl``, whose checksum is right."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(seed)) as old, zipfile.ZipFile(buffer, "w") as new:
        for info in old.infolist():
            new.writestr(info.filename, pickled if info.filename.endswith("data.pkl") else old.read(info))
    return buffer.getvalue()


def _pickle_of(seed: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(seed)) as archive:
        return archive.read(next(name for name in archive.namelist() if name.endswith("data.pkl")))


_PLAIN = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**40), 2**40), st.floats(), st.text(max_size=8)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=6), inner, max_size=3)), max_leaves=6,
)
_TENSORS = st.builds(lambda shape: torch.zeros(shape), st.lists(st.integers(0, 3), max_size=4))
_NAMES = st.sampled_from(["0.weight", "0.bias", "1.weight", "module.0.weight", "x", "fc.weight"])
_STATES = st.one_of(_PLAIN, st.dictionaries(_NAMES, st.one_of(_TENSORS, _PLAIN), max_size=4))
_METAS = st.one_of(_PLAIN, st.dictionaries(st.sampled_from(sorted(_META)), _PLAIN, max_size=4))
_TEXTS = st.one_of(st.text(max_size=20), _PLAIN.map(lambda value: json.dumps(value)), st.just("[" * 5000), st.just("{}"))


class Checkpoints(Surface):
    name = "checkpoint"
    modules = ("mmseg.engine.checkpoint", "mmseg.models.backbones.pretrained")

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.victim = folder / "victim"
        contents = [_whole(), _model().state_dict(), {"state_dict": Touch(self.victim)}]
        self.seeds = [*map(_saved, contents), _saved(_whole(), False)]

    def inputs(self) -> SearchStrategy[Any]:
        content = st.fixed_dictionaries({}, optional=dict(state_dict=_STATES, meta=_METAS, optimizer=_PLAIN, rng=_PLAIN))
        meta = st.builds(lambda text: dict(_whole(), meta=dict(_META, config_json=text)), _TEXTS)
        zipped = [seed for seed in self.seeds if seed[:2] == b"PK"]
        return st.one_of(damaged(self.seeds), self._damaged_pickle(zipped), st.one_of(content, meta, _PLAIN).map(_saved))

    @staticmethod
    @st.composite
    def _damaged_pickle(draw: Callable[..., Any], seeds: list[bytes]) -> bytes:
        seed = draw(st.sampled_from(seeds))
        return _with_pickle(seed, draw(damaged([_pickle_of(seed)])))

    def attempt(self, value: bytes) -> str:
        path = self.folder / "latest.pth"
        path.write_bytes(value)
        before = snapshot(self.folder)
        outcomes = [self._try(lambda: self._load(path)), self._try(lambda: PretrainedInit(str(path))(_model()))]
        assert snapshot(self.folder) == before, "the file was changed, or something in it ran"
        return "accepted" if "accepted" in outcomes else "refused"

    @staticmethod
    def _load(path: Path) -> None:
        checkpoint = read_checkpoint(path)
        load_weights(_model(), checkpoint["state_dict"], path, strict=False)
        checkpoint_config(checkpoint, path)

    @staticmethod
    def _try(action: Callable[[], Any]) -> str:
        try:
            action()
        except UserError:
            return "refused"
        return "accepted"
