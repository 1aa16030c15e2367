"""The weight initialiser ``Pretrained``: published backbone weights, read without executing anything in the file."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch
from mmengine.logging import print_log
from mmengine.model import update_init_info
from torch import Tensor, nn

from mmseg.models.defaults import ConfigType
from mmseg.registry import WEIGHT_INITIALIZERS
from mmseg.utils import UserError
from mmseg.utils.digests import named_source
from mmseg.utils.paths import find_weights
from mmseg.utils.weight_files import load_plain

__all__ = ["PretrainedInit", "fit_tensor", "in_scope"]

_CLASSIFIERS = ("fc.", "head.fc.", "head.", "linear.", "conv_last.", "bn.")
"""Beginnings of keys that belong to the classifier of an ImageNet network: left out without a word."""


def in_scope(init_cfg: ConfigType | list[ConfigType] | None) -> ConfigType | list[ConfigType] | None:
    """Tie every ``Pretrained`` in an ``init_cfg`` to :class:`PretrainedInit`, whatever the default scope is.

    mmengine's own initialiser of that name falls back to unrestricted unpickling, and it is what the name means outside
    the scope ``mmseg``.

    Args:
        init_cfg: mmengine's initialisation config, as a user gave it.

    Returns:
        the same, with the scope added.
    """
    if isinstance(init_cfg, list | tuple):
        return [{**cfg, "_scope_": "mmseg"} if cfg.get("type") == "Pretrained" else cfg for cfg in init_cfg]
    return in_scope([init_cfg])[0] if init_cfg else init_cfg  # type: ignore[index]


@WEIGHT_INITIALIZERS.register_module(name="Pretrained")
class PretrainedInit:
    """Load a checkpoint into a backbone; ``init_cfg=dict(type='Pretrained', checkpoint=PATH)``.

    Understands plain torchvision keys (``conv1.weight``, ``layer1.0...``), mmpretrain's (``state_dict`` with ``backbone.*``),
    STDC's (``features.*``), a ``module.`` prefix, and files without ``num_batches_tracked``. Tensors that do not fit, such as
    the stem of a plain ResNet for a V1c one, are left out and named in the log. A first convolution for 3 channels is
    repeated for a network that takes 6.

    Afterwards ``module.init_source`` says what was loaded, ``"<file name> sha256:<12 digits>"``, or ``"scratch"``.

    Args:
        checkpoint: path of the file, or an address such as 'open-mmlab://resnet18_v1c', whose file is looked for in
            ``$SDCNET_HOME/model``. Nothing is downloaded: an absent file is one warning, and the network keeps its random
            weights.
        prefix: load only the keys that begin with it, such as ``"backbone."``; by default found out from the file.
    """

    def __init__(self, checkpoint: str | Path, prefix: str | None = None) -> None:
        if not isinstance(checkpoint, (str, Path)):
            raise ValueError(f"Pretrained.checkpoint: got {checkpoint!r}, expected a path; for random weights init_cfg=None")
        self.checkpoint = find_weights(str(checkpoint))
        self.prefix = prefix

    def __call__(self, module: nn.Module) -> None:
        """Initialise ``module`` in place.

        Raises:
            UserError: if the file exists but cannot be read safely, or if no tensor in it fits.
        """
        path = Path(self.checkpoint)
        module.init_source = "scratch"  # type: ignore[assignment]
        if not path.exists():
            print_log(
                f"pretrained weights not found: {path}; training from scratch. To start from them, put the file there "
                "(nothing is downloaded) or set init_cfg.checkpoint of the backbone",
                logger="current", level=logging.WARNING)
            return
        own = module.state_dict()
        found = self._strip(_read(path), own)
        fitting = {key: fitted for key, tensor in found.items() if (fitted := fit_tensor(tensor, own.get(key))) is not None}
        if not fitting:
            raise UserError(
                f"{path}: none of its {len(found)} tensors fits {type(module).__name__}; got keys such as {sorted(found)[:3]}, "
                f"expected such as {sorted(own)[:3]}. Fix: name the file of this very network in init_cfg.checkpoint")
        module.load_state_dict(fitting, strict=False)
        module.init_source = named_source(path)  # type: ignore[assignment]
        _report(path, own, found, fitting)
        if hasattr(module, "_params_init_info"):
            update_init_info(module, init_info=f"PretrainedInit: loaded from {path}")

    def _strip(self, state: dict[str, Tensor], own: dict[str, Tensor]) -> dict[str, Tensor]:
        state = {key.removeprefix("module."): tensor for key, tensor in state.items()}
        prefix = self.prefix if self.prefix is not None else "backbone."
        inner = {key.removeprefix(prefix): tensor for key, tensor in state.items() if key.startswith(prefix)}
        whole_model = self.prefix is None and any(key.startswith(prefix) for key in own)
        return inner if self.prefix is not None or (inner and not whole_model) else state


def _read(path: Path) -> dict[str, Tensor]:
    try:
        content: Any = load_plain(path)
    except UserError as error:
        reason = str(error).removeprefix(f"{path}: ")
        raise UserError(
            f"{path}: cannot be read as pretrained weights ({reason}). Only files of plain tensors are read, since others can "
            "run code. Fix: fetch the file again, or save its state_dict() alone with torch.save") from error
    state = content.get("state_dict", content) if isinstance(content, dict) else None
    named = state.items() if isinstance(state, dict) else ()
    tensors = {key: value for key, value in named if isinstance(key, str) and isinstance(value, Tensor)}
    if not tensors:
        raise UserError(f"{path}: holds no tensors by name; got {type(content).__name__}, expected a state_dict or a dictionary "
                        "with the key 'state_dict'. Fix: save the network's state_dict() with torch.save")
    return tensors


def fit_tensor(tensor: Tensor, own: Tensor | None) -> Tensor | None:
    """The tensor in the shape of ``own``, or None where it does not fit; a stem for 3 channels is repeated for 6."""
    if own is None:
        return None
    if tensor.ndim == 4 and tensor.shape[1] == 3 and own.shape == (tensor.shape[0], 6, *tensor.shape[2:]):
        return torch.cat([tensor, tensor], dim=1)
    return tensor if tensor.shape == own.shape else None


def _report(path: Path, own: dict[str, Tensor], found: dict[str, Tensor], fitting: dict[str, Tensor]) -> None:
    missing = [key for key in own if key not in fitting and not key.endswith("num_batches_tracked")]
    unused = [key for key in found if key not in fitting and not key.startswith(_CLASSIFIERS)]
    print_log(f"pretrained weights: loaded {len(fitting)} tensors from {path}", logger="current")
    if missing:
        print_log(f"{path}: kept at random: {', '.join(missing)}; in the file but not used: {', '.join(unused) or 'none'}",
                  logger="current", level=logging.WARNING)
