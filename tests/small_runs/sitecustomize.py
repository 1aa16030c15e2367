"""Imported by every Python that has this folder in PYTHONPATH: makes configurations small when they are first asked for."""

from __future__ import annotations

import importlib.abc
import importlib.util
import sys
from typing import Any

from shrinking import shrunk


class _Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        if name != "mmseg.engine.config":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        execute = spec.loader.exec_module  # type: ignore[union-attr]

        def exec_module(module: Any) -> None:
            execute(module)
            module.load_config = shrunk(module.load_config)

        spec.loader.exec_module = exec_module  # type: ignore[union-attr]
        return spec


sys.meta_path.insert(0, _Finder())
