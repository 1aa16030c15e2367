"""The type names that plug-ins written for mmsegmentation annotate with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from mmengine.config import ConfigDict
from torch import Tensor

__all__ = [
    "ConfigType", "ForwardResults", "MultiConfig", "OptConfigType", "OptMultiConfig", "OptSampleList", "SampleList", "TensorDict",
    "TensorList",
]

ConfigType: TypeAlias = ConfigDict | dict
OptConfigType: TypeAlias = ConfigType | None
MultiConfig: TypeAlias = ConfigType | Sequence[ConfigType]
OptMultiConfig: TypeAlias = MultiConfig | None
SampleList = Sequence[Any]
"""Of :class:`mmseg.structures.SegDataSample`, which lives on a floor above."""
OptSampleList = SampleList | None
TensorDict = dict[str, Tensor]
TensorList = Sequence[Tensor]
ForwardResults = dict[str, Tensor] | list[Any] | tuple[Tensor, ...] | Tensor
