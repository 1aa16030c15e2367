"""What a user of a trained model must know, as data and as a page (Mitchell et al., Model Cards for Model Reporting, 2019)."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmseg.datasets.leaves import summarise_datasets
from mmseg.evaluation.lesion_scores import SCORES
from mmseg.models.segmentors.base import BaseSegmentor
from mmseg.utils.digests import file_sha256
from mmseg.utils.errors import UserError
from mmseg.version import __version__

__all__ = ["card_markdown", "model_card", "read_test_results"]

_LESIONS = {"MA": "microaneurysms", "HE": "haemorrhages", "EX": "hard exudates", "SE": "soft exudates"}

_USE = [
    "Research on the segmentation of diabetic-retinopathy lesions in colour fundus photographs.",
    "A first annotation that a trained reader corrects, and a baseline that other methods are compared with.",
]

_LIMITS = [
    "Research use, not a medical device: no diagnosis, screening or treatment may rest on its output.",
    "Known only on photographs like those it was trained on; other cameras, fields, populations and diseases were not tested "
    "unless the metrics below say so.",
    "It knows the lesions listed here and no others, and finds them also where there is none.",
    "Probabilities are the network's own; that they are calibrated was not shown.",
]

def model_card(
    model: BaseSegmentor, checkpoint: str | Path, results: Mapping[str, Any] | None = None,
    files: Mapping[str, Mapping[str, Any]] | None = None, config: str | None = None,
) -> dict[str, Any]:
    """Collect a model card, of JSON's types only; what is not known is null.

    Args:
        model: from :func:`mmseg.apis.init_model`.
        checkpoint: the file it came from.
        results: see :func:`read_test_results`.
        files: what :func:`~mmseg.compat.export.export_model` returned.
        config: name of the training configuration, where the checkpoint does not carry it.

    Returns:
        ``name, version, model, training, data, input, thresholds, protocol, metrics, tuned, intervals_95, intended_use, limits,
        files``; ``tuned`` is the Dice at ``thresholds`` where that was measured, ``metrics`` are at 0.5.
    """
    meta, cfg, results = model.checkpoint_meta, model.cfg, results or {}
    details = results.get("details") or {}
    classes, _ = model.shown_classes(model.dataset_meta)
    thresholds = model.lesion_thresholds(classes)
    return dict(
        name=f"{type(model).__name__} ({config or meta.get('config_name') or Path(checkpoint).stem})",
        version=__version__,
        created=time.strftime("%Y-%m-%d"),
        model=dict(
            type=type(model).__name__, parameters=sum(p.numel() for p in model.parameters()),
            checkpoint=Path(checkpoint).name, sha256=file_sha256(checkpoint),
            lesions={name: _LESIONS.get(name, name) for name in classes}),
        training=dict(
            config=config or meta.get("config_name"), iterations=meta.get("iter"), seed=meta.get("seed"),
            init=meta.get("init"), finished=meta.get("time"), versions=meta.get("versions")),
        data=dict(
            train=summarise_datasets((cfg.get("train_dataloader") or {}).get("dataset")),
            test=details.get("test_set") if results else summarise_datasets((cfg.get("test_dataloader") or {}).get("dataset"))),
        input=dict(
            kind="colour fundus photograph, RGB, 8 bit", size=None if model.working_size is None else list(model.working_size),
            resize="scaled into the box of size (width, height), turned for a photograph that lies the other way, its shape kept "
            "(by area where it is larger, else bilinearly); probabilities are enlarged bilinearly"),
        thresholds=thresholds,
        protocol={key: value for key, value in details.items() if isinstance(value, str | int | float)} or None,
        metrics=results.get("metrics"), tuned=_tuned(details, thresholds), intervals_95=details.get("intervals_95"),
        intended_use=_USE, limits=_LIMITS, files=files or {},
    )


def _tuned(details: Mapping[str, Any], thresholds: Mapping[str, float]) -> dict[str, float | None] | None:
    """By lesion and mean, the Dice of a test at these very thresholds; None where it had others."""
    tuned = details.get("tuned") or {}
    if {name: (tuned.get(name) or {}).get("threshold") for name in thresholds} != dict(thresholds):
        return None
    return {name: scores.get("Dice_tuned") for name, scores in tuned.items()}


def read_test_results(folder: str | Path) -> dict[str, Any]:
    """``metrics`` and ``details`` of a folder that ``tools/test.py`` wrote; ``details`` is None where it has none.

    Raises:
        UserError: no such folder, or no readable ``metrics.json`` in it, or one of another program.
    """
    found: dict[str, Any] = {}
    for name in ("metrics", "details"):
        path = Path(folder, f"{name}.json")
        if name == "details" and not path.is_file():
            found[name] = None
            continue
        try:
            found[name] = json.loads(path.read_text())
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise UserError(
                f"{path}: cannot be read ({reason}); expected a folder written by tools/test.py") from error
        scores = found[name].values() if isinstance(found[name], dict) and name == "metrics" else ()
        wrong = [type(value).__name__ for value in (found[name], *scores) if not isinstance(value, dict)]
        if wrong:
            raise UserError(f"{path}: got a {wrong[0]}, expected what tools/test.py writes, scores by lesion")
    return found


def card_markdown(card: Mapping[str, Any]) -> str:
    """A model card as a page of Markdown; the same facts as in the JSON."""
    model, training, size = card["model"], card["training"], card["input"]["size"]
    lines = [f"# Model card: {card['name']}", "", f"**{card['limits'][0]}**", "", "## Model", ""]
    lines += _table(("", ""), [
        ("network", f"{model['type']}, {model['parameters']:,} parameters"),
        ("finds", ", ".join(f"{name} ({text})" for name, text in model["lesions"].items())),
        ("checkpoint", f"`{model['checkpoint']}`, SHA-256 `{model['sha256']}`"),
        ("training config", training["config"]),
        ("iterations, seed", f"{_say(training['iterations'])}, {_say(training['seed'])}"),
        ("first weights", training["init"]),
        ("versions", ", ".join(f"{name} {version}" for name, version in (training["versions"] or {}).items()) or None),
        ("written by", f"version {card['version']}, {card['created']}"),
    ])
    lines += ["", "## Data", ""]
    lines += _table(("", "set", "split"), [(role, *(data or {}).values()) for role, data in card["data"].items() if data])
    box = "in its own size" if size is None else f"scaled into {size[0]}x{size[1]}, or {size[1]}x{size[0]}, its shape kept"
    lines += ["", f"Input: {card['input']['kind']}, {box}; probabilities are enlarged bilinearly to the photograph's size.", ""]
    lines += ["## Thresholds", "", *_table(("lesion", "probability above"), list(card["thresholds"].items()))]
    lines += ["", "## Metrics", "", *_metrics(card)]
    for title, key in (("Intended use", "intended_use"), ("Limits", "limits")):
        lines += ["", f"## {title}", "", *(f"- {text}" for text in card[key])]
    return "\n".join([*lines, *_files(card["files"]), ""])


def _metrics(card: Mapping[str, Any]) -> list[str]:
    if not card["metrics"]:
        return ["Not measured for this card. `tools/export.py --metrics DIR` takes in what `tools/test.py` wrote."]
    intervals = card["intervals_95"] or {}
    tuned, rows = card["tuned"], []
    for lesion, scores in card["metrics"].items():
        cells = [_score(scores.get(score), (intervals.get(lesion) or {}).get(score)) for score in SCORES]
        rows.append((lesion, *cells, *([_score(tuned.get(lesion), None)] if tuned else [])))
    head = ("lesion", *SCORES, *(["Dice at the thresholds above"] if tuned else []))
    said = "95 % intervals over images in brackets" if intervals else "intervals were not measured"
    lines = [f"Percent, at p > 0.5 where a threshold counts; {said}; n/a where a score was not measured or the lesion does not "
             "occur.", ""]
    lines += [*_table(head, rows), ""]
    protocol = card["protocol"] or {}
    if card["model"]["sha256"] not in protocol.get("checkpoint", ""):
        lines += ["**Not known to be measured with this checkpoint**, but with another file (below) or program: these are "
                  "its scores only where one was published from the other.", ""]
    if protocol.get("trained_on"):
        lines += [f"**The model was trained on {protocol['trained_on']} of these images**: the scores say nothing of others.", ""]
    return [*lines, *(f"- {name}: {value}" for name, value in protocol.items())]


def _score(value: float | None, interval: Sequence[float] | None) -> str:
    if value is None:
        return "n/a"
    return f"{100 * value:.2f}" + (f" ({100 * interval[0]:.2f} to {100 * interval[1]:.2f})" if interval else "")


def _files(files: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The exported files and how far they are from PyTorch."""
    if not files:
        return []
    rows = []
    for file in files.values():
        kind = f"`{Path(file['path']).name}`" + (f", opset {file['opset']}" if "opset" in file else "")
        rows += [
            (kind, "x".join(map(str, (c["size"][0], 3, *c["size"][1:]))), f"{c['max_difference']:.1e}", f"{c['seconds']:.3g}",
             f"{c['torch_seconds']:.3g}") for c in file["checks"]]
    return ["", "## Files", "", "Each was run beside PyTorch on synthetic photographs of these sizes, on a CPU "
            f"({next(iter(files.values()))['checks'][0]['threads']} threads).", "",
            *_table(("file", "batch", "largest difference of a probability", "seconds", "PyTorch, seconds"), rows)]


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return [*lines, *("| " + " | ".join(_say(cell) for cell in row) + " |" for row in rows)]


def _say(value: Any) -> str:
    return "not recorded" if value is None else " ".join(str(value).split())  # on one line, whatever a checkpoint says
