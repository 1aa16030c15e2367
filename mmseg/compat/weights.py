"""Weights under the names that other projects gave them: whose they are is told from the keys."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from mmseg.models.backbones.pretrained import fit_tensor

__all__ = ["LoadReport", "match_weights", "recognise"]

_SECOND_NAMES = {
    "stdc_net.x2.0.0.": "stdc_net.features.0.", "stdc_net.x4.0.1.": "stdc_net.features.1.",
    "stdc_net.x8.0.2.": "stdc_net.features.2.", "stdc_net.x8.0.3.": "stdc_net.features.3.",
    "stdc_net.x16.0.4.": "stdc_net.features.4.", "stdc_net.x16.0.5.": "stdc_net.features.5.",
}
"""In ISDNet's checkpoints the blocks of ShallowNet occur twice, since its authors put each into two containers."""

_CLASSIFIERS = {
    "torchvision": ("fc.",), "mmpretrain": ("head.",),
    "STDC": ("conv_last.", "bn.", "fc.", "linear.", "features.6.", "features.7."),
}
"""What these networks have for ImageNet and a segmentor has not (of STDC-1 only the first six blocks are used)."""


@dataclass
class LoadReport:
    """What became of every tensor of a weight file.

    Attributes:
        source: the file.
        layout: whose names its keys are: 'mmsegmentation' (this project's, too), 'ISDNet', 'mmpretrain', 'torchvision', 'STDC'.
        loaded: names in the model.
        renamed: from the name in the file to that in the model, where they differ by more than ``module.``.
        left_out: name in the file and why it is not needed.
        unexpected: name in the file and why it could not be used.
        missing: names in the model that got nothing (``num_batches_tracked``, which old files lack, is not counted).
    """

    source: str
    layout: str
    loaded: list[str] = field(default_factory=list)
    renamed: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    unexpected: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)

    @property
    def differences(self) -> str:
        """What does not fit, in one line; empty where everything fits."""
        shapes = [f"{name}: {why}" for name, why in self.unexpected.items() if why.startswith("got ")]
        unknown = [name for name, why in self.unexpected.items() if not why.startswith("got ")]
        reshaped = {name.partition(":")[0] for name in shapes}
        missing = [name for name in self.missing if name not in reshaped]
        kinds = (("missing", missing), ("unexpected", unknown), ("of another shape", shapes))
        return "; ".join(f"{len(names)} tensors {what} ({_first(names)})" for what, names in kinds if names)

    def __str__(self) -> str:
        lines = [f"{self.source}: keys of {self.layout}; {len(self.loaded)} tensors loaded"]
        if self.renamed:
            lines.append(f"  renamed ({len(self.renamed)}): " + _first([f"{old} -> {new}" for old, new in self.renamed.items()]))
        for title, reasons in (("left out", self.left_out), ("not used", self.unexpected)):
            for why in dict.fromkeys(reasons.values()):
                names = [name for name, reason in reasons.items() if reason == why]
                lines.append(f"  {title} ({len(names)}), {why}: {_first(names)}")
        if self.missing:
            lines.append(f"  missing ({len(self.missing)}): {_first(self.missing)}")
        return "\n".join(lines)


def recognise(keys: Iterable[str]) -> str:
    """Whose names these are; see :attr:`LoadReport.layout`. Keys are without ``module.``."""
    keys = list(keys)
    if any(second in key for key in keys for second in _SECOND_NAMES):
        return "ISDNet"
    if any(key.startswith(("decode_head.", "refine_head.")) for key in keys):
        return "mmsegmentation"
    if any(key.startswith("features.") for key in keys):
        return "STDC"
    if any(key.startswith("backbone.") for key in keys):
        return "mmpretrain"
    return "torchvision" if any(key.startswith("layer1.") for key in keys) else "mmsegmentation"


def match_weights(
    state: Mapping[str, Tensor], own: Mapping[str, Tensor], source: str
) -> tuple[dict[str, Tensor], LoadReport]:
    """Find the place of every tensor of a file in a model.

    Args:
        state: the file's tensors by name.
        own: the model's ``state_dict()``.
        source: name of the file, for the report.

    Returns:
        tensors by the model's names, each of the right shape; and the report.
    """
    state = {key.removeprefix("module."): tensor for key, tensor in state.items()}
    report = LoadReport(source, recognise(state))
    prefix = _prefix(report.layout, own)
    fitting: dict[str, Tensor] = {}
    for key, tensor in state.items():
        name = key if key in own else prefix + _first_name(key)
        if name != key and name in state:  # a second name
            if torch.equal(tensor, state[name]):
                report.left_out[key] = "second names of tensors that are loaded"
            else:
                report.unexpected[key] = f"differs from {name}, whose second name it is"
        elif name not in own:
            needless = key.startswith(_CLASSIFIERS.get(report.layout, ()))
            (report.left_out if needless else report.unexpected)[key] = (
                f"parts of {report.layout}'s network that a segmentor has not" if needless else "no such tensor in the model")
        elif (fitted := fit_tensor(tensor, own[name])) is None:
            report.unexpected[key] = f"got {tuple(tensor.shape)}, expected {tuple(own[name].shape)}"
        else:
            fitting[name] = fitted
            if name != key:
                report.renamed[key] = name
    report.loaded = list(fitting)
    report.missing = [name for name in own if name not in fitting and not name.endswith("num_batches_tracked")]
    return fitting, report


def _prefix(layout: str, own: Iterable[str]) -> str:
    """What stands before a backbone's own names in the model."""
    if layout == "torchvision":
        return "backbone."
    if layout == "STDC":
        last = "features.0.conv.weight"
        return next((name.removesuffix(last) for name in own if name.endswith(last)), "")
    return ""


def _first_name(key: str) -> str:
    for second, first in _SECOND_NAMES.items():
        if second in key:
            return key.replace(second, first)
    return key


def _first(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
