"""Curves and pictures for TensorBoard, where it is installed."""

from __future__ import annotations

import importlib.util
from typing import Any

from mmengine.visualization import TensorboardVisBackend as MMEngineTensorboardVisBackend

from mmseg.registry import VISBACKENDS

__all__ = ["TensorboardVisBackend"]


@VISBACKENDS.register_module()
class TensorboardVisBackend(MMEngineTensorboardVisBackend):
    """mmengine's, but writes nothing where ``tensorboard`` is not installed, so that a config can always name it.

    Args:
        save_dir: folder of the event files.
    """

    def __init__(self, save_dir: str) -> None:
        super().__init__(save_dir)
        self._installed = importlib.util.find_spec("tensorboard") is not None

    def _init_env(self) -> None:
        if self._installed:
            super()._init_env()

    def add_config(self, config: Any, **kwargs: Any) -> None:
        """The configuration as text."""
        if self._installed:
            super().add_config(config, **kwargs)

    def add_image(self, name: str, image: Any, step: int = 0, **kwargs: Any) -> None:
        """uint8 ``(H, W, 3)``, RGB."""
        if self._installed:
            super().add_image(name, image, step, **kwargs)

    def add_scalar(self, name: str, value: Any, step: int = 0, **kwargs: Any) -> None:
        """One number."""
        if self._installed:
            super().add_scalar(name, value, step, **kwargs)

    def add_scalars(self, scalar_dict: dict, step: int = 0, file_path: str | None = None, **kwargs: Any) -> None:
        """Several numbers by name."""
        if self._installed:
            super().add_scalars(scalar_dict, step, file_path, **kwargs)
