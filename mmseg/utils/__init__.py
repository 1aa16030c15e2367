"""Small things every floor may use.

``register_all_modules``, ``add_prefix``, ``stack_batch`` and the type names of ``typing_utils`` are importable from here, as in
mmsegmentation; they are loaded when they are asked for, because the tools answer ``--help`` without torch.
"""

from __future__ import annotations

import importlib
from typing import Any

from mmseg.utils.errors import UserError, exit_on_user_error, nearest
from mmseg.utils.paths import home, home_path

__all__ = ["UserError", "exit_on_user_error", "home", "home_path", "nearest"]


_ELSEWHERE = {
    "add_prefix": "mmseg.models.decode_heads.decode_head", "register_all_modules": "mmseg.apis",
    "stack_batch": "mmseg.models.data_preprocessors.seg_data_preprocessor",
}


def __getattr__(name: str) -> Any:
    if name in _ELSEWHERE:
        return getattr(importlib.import_module(_ELSEWHERE[name]), name)
    typing_utils = importlib.import_module("mmseg.utils.typing_utils") if name[:1].isupper() else None
    if typing_utils is None or name not in typing_utils.__all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(typing_utils, name)
