"""Values of a configuration against the annotations of the arguments that take them."""

from __future__ import annotations

import inspect
import types
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import torch

__all__ = ["describe", "hints", "matches"]


@cache
def hints(found: type) -> dict[str, Any]:
    """Annotations of a class's constructor, those of its parents included; without those that cannot be read."""
    functions = [vars(c)["__init__"] for c in reversed(found.__mro__) if "__init__" in vars(c)]
    known: dict[str, Any] = {}
    for function in functions:
        try:
            known |= get_type_hints(function)
        except Exception:  # names that only a type checker sees, annotations of other tools
            known = {name: hint for name, hint in known.items() if name not in getattr(function, "__annotations__", {})}
    return known


def matches(value: Any, hint: Any) -> bool:
    """Whether a value may stand for an argument of this type; in doubt, yes.

    Lists stand for tuples and integers for floating-point numbers. A dictionary stands for what will be built from it.
    """
    origin, inner = get_origin(hint) or hint, get_args(hint)
    if origin in (Union, types.UnionType):
        return any(matches(value, choice) for choice in inner)
    if origin is Literal:
        return value in inner
    if hint in (None, type(None)):
        return value is None
    if value is None:  # an annotation rarely tells that None is the default
        return True
    if isinstance(value, dict):
        return not inspect.isclass(origin) or not issubclass(origin, (int, float, str, Sequence))
    return _matches_class(value, origin, inner) if inspect.isclass(origin) else True


def _matches_class(value: Any, origin: type, inner: tuple[Any, ...]) -> bool:
    if origin in (int, float):
        return isinstance(value, (int, origin)) and not isinstance(value, bool)
    if origin in (bool, str):
        return isinstance(value, origin)
    if issubclass(origin, Sequence):
        return isinstance(value, (list, tuple)) and _items_match(value, origin, inner)
    return not issubclass(origin, (Mapping, torch.Tensor, torch.nn.Module)) or isinstance(value, origin)


def _items_match(value: Sequence[Any], origin: type, inner: tuple[Any, ...]) -> bool:
    if issubclass(origin, tuple) and inner and inner[-1] is not Ellipsis:
        return len(value) == len(inner) and all(map(matches, value, inner))
    return not inner or all(matches(item, inner[0]) for item in value)


def describe(hint: Any) -> str:
    """A type as a user reads it: ``int or None``, ``tuple[int, int]``."""
    if get_origin(hint) in (Union, types.UnionType):
        return " or ".join(describe(choice) for choice in get_args(hint))
    if hint in (None, type(None)):
        return "None"
    return hint.__name__ if inspect.isclass(hint) and not get_args(hint) else str(hint).replace("typing.", "")
