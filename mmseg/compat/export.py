"""A trained model as files that run without this project: ONNX and ``torch.export``."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.export import ExportedProgram

from mmseg.compat.export_check import check_sizes, compare, expected_results, open_onnx, open_torch
from mmseg.compat.export_network import ExportNetwork, trace
from mmseg.models.segmentors.base import BaseSegmentor
from mmseg.utils.errors import UserError
from mmseg.utils.paths import make_folder
from mmseg.version import NOTICE, __version__

__all__ = ["FORMATS", "OPSET", "check_packages", "export_model"]

FORMATS = {"onnx": ".onnx", "torch": ".pt2"}
"""Formats and their file endings."""

OPSET = 18
"""ONNX operator set written by default: the oldest that PyTorch's exporter writes, for the most runtimes."""

_PACKAGES = ("onnx", "onnxscript", "onnxruntime")


def check_packages(formats: Sequence[str]) -> None:
    """See that what a format needs is installed.

    Raises:
        UserError: an unknown format, or packages are missing.
    """
    for name in formats:
        if name not in FORMATS:
            raise UserError(f"format: got {name!r}, expected {' or '.join(FORMATS)}")
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None] if "onnx" in formats else []
    if missing:
        raise UserError(f"format onnx: {', '.join(missing)} is not installed. Fix: pip install -c "
                        f"requirements/constraints.txt {' '.join(missing)}")


def export_model(
    model: BaseSegmentor,
    out_dir: str | Path,
    name: str,
    formats: Sequence[str] = ("onnx", "torch"),
    preprocessing: bool = True,
    opset: int = OPSET,
    sizes: Sequence[tuple[int, int, int]] | None = None,
    progress: Callable[[str], None] = lambda text: None,
) -> dict[str, dict[str, Any]]:
    """Write a model as graphs of open batch and image size, each checked against PyTorch before it gets its name.

    In goes ``image``, uint8 RGB ``(B, 3, H, W)`` at the working size; out comes ``probabilities``, float32 ``(B, L, H, W)``.
    Classes, palette, thresholds and working size travel inside the file, as ``metadata``.

    Args:
        model: from :func:`mmseg.apis.init_model`, on the CPU.
        out_dir: folder.
        name: file name without its ending.
        formats: of :data:`FORMATS`.
        preprocessing: put the normalisation inside; otherwise ``image`` is float32, ``(RGB - mean) / std``.
        opset: ONNX operator set, 18 or newer.
        sizes: ``(batch, height, width)`` to check at; None takes :func:`~mmseg.compat.export_check.check_sizes`.
        progress: told in one line what comes next.

    Returns:
        by format: ``path``, ``bytes``, ``metadata``, ``checks`` (see :func:`~mmseg.compat.export_check.compare`) and, for
        ONNX, ``opset``.

    Raises:
        UserError: packages are missing, the model is not on the CPU or cannot be exported, the folder cannot be written, or an
            exported graph does not say what the model says; then no file of that format is left.
    """
    check_packages(formats)
    _check_opset(opset, formats)
    if (device := next(model.parameters()).device.type) != "cpu":
        raise UserError(f"export: got a model on {device}, expected one on the CPU: init_model(..., device='cpu')")
    out_dir = make_folder(out_dir, "out_dir (--out-dir)")
    network = ExportNetwork(model, preprocessing)
    about = metadata(model, preprocessing)
    progress("tracing the network")
    program = trace(network)
    progress("running it in PyTorch, at the sizes to check")
    expected = expected_results(network, sizes or check_sizes(about["size"]))
    written: dict[str, dict[str, Any]] = {}
    for kind in dict.fromkeys(formats):
        path = out_dir / f"{name}{FORMATS[kind]}"
        temporary = path.with_name(f".{path.name}.new{path.suffix}")
        progress(f"writing {path.name}, and checking it")
        try:
            if kind == "onnx":
                _write_onnx(program, temporary, about, opset)
            else:
                torch.export.save(program, temporary, extra_files={"metadata.json": json.dumps(about)})
            checks = compare(open_onnx(temporary) if kind == "onnx" else open_torch(temporary), expected)
            temporary.replace(path)
        except Exception as error:  # torch and onnxruntime say of a full disk and of a graph what they like
            raise UserError(f"{path}: not written: {error}") from error
        finally:
            temporary.unlink(missing_ok=True)
        extra = {"opset": opset} if kind == "onnx" else {}
        written[kind] = dict(path=str(path), bytes=path.stat().st_size, **extra, metadata=about, checks=checks)
    return written


def metadata(model: BaseSegmentor, preprocessing: bool) -> dict[str, Any]:
    """What somebody who has the file alone must know: JSON's types only.

    Returns:
        ``classes``, ``palette``, ``thresholds`` (by class), ``size`` (the box ``[width, height]``, turned for a photograph that
        lies the other way, into which it is scaled, its shape kept: by area where it is larger, else bilinearly; None for its
        own size), ``preprocessing`` ('inside', or what is left to do),
        ``mean``, ``std``, ``version``, ``notice``.
    """
    preprocessor: Any = model.data_preprocessor
    mean, std = (
        getattr(preprocessor, key).flatten().tolist() if hasattr(preprocessor, key) else None for key in ("mean", "std"))
    classes, palette = model.shown_classes(model.dataset_meta)
    return dict(
        classes=list(classes),
        palette=[list(colour) for colour in palette],
        thresholds=model.lesion_thresholds(classes),
        size=None if model.working_size is None else list(model.working_size),
        preprocessing="inside" if preprocessing else "image = (RGB - mean) / std",
        mean=mean, std=std, version=__version__, notice=NOTICE,
    )


def _check_opset(opset: int, formats: Sequence[str]) -> None:
    if "onnx" not in formats:
        return
    from onnx.defs import onnx_opset_version

    if not OPSET <= opset <= onnx_opset_version():
        raise UserError(f"opset: got {opset}, expected {OPSET} to {onnx_opset_version()}")


def _write_onnx(program: ExportedProgram, path: Path, about: dict[str, Any], opset: int) -> None:
    """One file, weights included; every entry of ``about`` becomes a metadata property holding JSON."""
    with _quiet_exporter():
        exported: Any = torch.onnx.export(
            program, dynamo=True, opset_version=opset, input_names=["image"], output_names=["probabilities"],
            dynamic_shapes=({0: "batch", 2: "height", 3: "width"},), verbose=False)
    written = exported.model.opset_imports.get("")  # the exporter goes back to its own where it cannot convert
    if written != opset:
        raise UserError(f"opset: got {opset}, but PyTorch's exporter could only write {written}")
    exported.model.metadata_props.update({key: json.dumps(value) for key, value in about.items()})
    exported.save(path)


@contextlib.contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Hold back what torch's exporter says of itself: its deprecations, and that torchvision's operators are not at hand."""
    logger = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
