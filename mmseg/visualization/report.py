"""Everything that a test found, as one page that opens without a server and without a network."""

from __future__ import annotations

import base64
import csv
import json
import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from mmseg.utils.whole_files import whole_file
from mmseg.version import NOTICE
from mmseg.visualization.report_curves import draw_svg_curve
from mmseg.visualization.report_page import SCRIPT, STYLE
from mmseg.visualization.report_pictures import ERROR_COLOURS, ReportPictures, error_layer

__all__ = ["write_report"]

SHOWN = 3
"""Images from either end, for each lesion."""

_VIEWS = ("photograph", "truth", "prediction", "error")
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


def write_report(folder: str | Path, pictures: ReportPictures, command: str, config: Mapping[str, Any]) -> Path:
    """Write ``report.html`` from the files of a test.

    Args:
        folder: holds ``metrics.json``, ``details.json`` and ``per_image.csv`` of :class:`mmseg.evaluation.LesionMetric`.
        pictures: of the images; those that are worst and best for a lesion are shown.
        command: that was typed, for the end of the page.
        config: the whole configuration, for the same.

    Returns:
        the path written.
    """
    folder = Path(folder)
    scores, details = (json.loads((folder / name).read_text()) for name in ("metrics.json", "details.json"))
    with (folder / "per_image.csv").open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        rows = list(csv.DictReader(file))
    lesions = [name for name in scores if name != "mean"]
    test_set = details.get("test_set") or {}
    told = [details.get("checkpoint"), _training(details.get("training") or {}), " ".join(map(str, test_set.values())),
            details.get("prediction")]
    told = [text for text in told if text]
    parts = [
        f"<h1>Lesion segmentation: test results</h1><p>{details['images']} images, {escape(details['threshold'])}, "
        f"{escape(details['pooling'])}; mmseg {escape(details['version'])}</p>"
        f"<p class=note>{escape('; '.join([*told, NOTICE]))}</p>",
        _section("Scores", _score_table(scores, details)),
        _section("Thresholds", _threshold_table(lesions, details)),
        _section("Precision and recall, pixels", _pr_curves(lesions, details)),
        _section("Free response: lesions found against false alarms", _froc_curves(lesions, details)),
        _section("Worst and best images", _pictures(lesions, rows, pictures)),
        f'<div id="images">{_section("Every image", _image_table(rows))}</div>',
        _section("Command", f"<pre>{escape(command)}</pre>"),
        _section("Configuration", f"<pre>{escape(json.dumps(config, indent=2, default=str))}</pre>"),
    ]
    page = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" '
        f'content="{_POLICY}"><meta name="viewport" content="width=device-width, initial-scale=1"><title>Test results</title>'
        f"<style>{STYLE}</style></head><body>{''.join(parts)}<script>{SCRIPT}</script></body></html>\n"
    )
    path = folder / "report.html"
    with whole_file(path) as unfinished:
        unfinished.write_text(page, encoding="utf-8", errors="replace")
    return path


def _training(meta: Mapping[str, Any]) -> str:
    """How a checkpoint says that it was trained."""
    words = {"config_name": "trained by {}.py", "iter": "{} iterations", "seed": "seed {}", "init": "starting from {}"}
    return ", ".join(words[key].format(meta[key]) for key in words if key in meta)


def _section(title: str, body: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{body}</section>"


def _table(names: Sequence[str], lines: Sequence[str], attributes: str = "") -> str:
    """A table of finished lines that scrolls by itself where it is too wide."""
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    return f"<div class=wide><table{attributes}><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"


def _score_table(scores: dict, details: dict) -> str:
    names = list(scores["mean"])
    lines = []
    for lesion, values in scores.items():
        holding = details["images_with_lesion"].get(lesion)
        small = "" if holding is None else f"<small>in {holding} image{'' if holding == 1 else 's'}</small>"
        lines.append(f'<tr class="{"mean" if lesion == "mean" else ""}"><td>{escape(lesion)}{small}</td>')
        for name in names:
            interval = details["intervals_95"][lesion][name]
            small = f"<small>{100 * interval[0]:.1f} to {100 * interval[1]:.1f}</small>" if interval else ""
            lines.append("<td>n/a</td>" if values[name] is None else f"<td>{100 * values[name]:.2f}{small}</td>")
        lines.append("</tr>")
    notes = [
        f"Percent. Small: 95 % interval from {details['bootstrap']['samples']} draws of the images with replacement "
        f"(seed {details['bootstrap']['seed']}); none for what one image alone holds.",
        details.get("note") or "AUPR11 rewards silence (see docs/metrics.md): judge by AP and Dice.",
    ]
    if trained := details.get("trained_on"):
        notes.insert(0, f"THE MODEL WAS TRAINED ON {trained} OF THESE IMAGES: these scores say nothing of other images.")
    if details["absent"]:
        notes.append(f"n/a: no true pixel of {', '.join(details['absent'])} in this set; left out of the mean.")
    notes += [f"{name}: {reason}." for name, reason in details["null"].items()]
    return _table(("lesion", *names), lines) + f"<p class=note>{escape(' '.join(notes))}</p>"


def _threshold_table(lesions: Sequence[str], details: dict) -> str:
    lines, tuned = [], details["tuned"]
    for lesion in lesions:
        best, cells = details["best_dice"][lesion], [lesion]
        if tuned:
            mine = tuned[lesion]
            cells += [f"{mine['threshold']:.3g}", f"{100 * mine['Dice_tuned']:.2f}" if best else "n/a"]
        cells += [f"{best['threshold']:.3g}", f"{100 * best['Dice']:.2f}"] if best else ["n/a", "n/a"]
        lines.append("".join(["<tr>", *(f"<td>{escape(cell)}</td>" for cell in cells), "</tr>"]))
    note = "The best threshold for these images flatters on them: choose on images held out of training (docs/metrics.md)."
    names = ("lesion", *(("of the model", "Dice") if tuned else ()), "best for these images", "Dice")
    return _table(names, lines) + f"<p class=note>{note}</p>"


def _pr_curves(lesions: Sequence[str], details: dict) -> str:
    ticks = [(i / 5, f"{i / 5:.1f}") for i in range(6)]
    drawn = [
        draw_svg_curve(lesion, curve["recall"], curve["precision"], ("recall", "precision"), ticks)
        for lesion in lesions if (curve := details["curves"][lesion])
    ]
    return f"<div class=curves>{''.join(drawn)}</div>"


def _froc_curves(lesions: Sequence[str], details: dict) -> str:
    regions, drawn = details["regions"], []
    for lesion in lesions:
        alarms, found = (regions[lesion][key] for key in ("false_alarms_per_image", "sensitivity"))
        if found is not None:
            marks = [
                f"p > {t:g}: sensitivity {s:.3f}, {a:.2f} false alarms an image"
                for t, s, a in zip(regions["thresholds"], found, alarms, strict=True)
            ]
            title = f"{lesion}, {regions[lesion]['regions']} lesions"
            labels = ("false alarms an image (logarithmic from 1)", "sensitivity")
            steps = [0, *(4**i for i in range(max(2, math.ceil(math.log(max(*alarms, 1), 4)) + 1)))]
            ticks = [(_scaled(step), str(step)) for step in steps]
            points = "".join(f"<li>{escape(mark)}" for mark in marks)
            curve = draw_svg_curve(title, [_scaled(a) for a in alarms], found, labels, ticks, marks)
            drawn.append(f"<div>{curve}<details><summary>its points</summary><ul>{points}</ul></details></div>")
    half = regions["thresholds"].index(0.5)
    absent = []
    for lesion in lesions:
        if regions[lesion]["sensitivity"] is None:
            alarms = regions[lesion]["false_alarms_per_image"][half]
            absent.append(f"{lesion} occurs in no image; {alarms:.2f} false alarms an image at p > 0.5.")
    notes = " ".join([f"{regions['rule']}.", *absent])
    return f"<div class=curves>{''.join(drawn)}</div><p class=note>{escape(notes)}</p>"


def _scaled(alarms: float) -> float:
    """Where a number of false alarms stands on the axis: evenly up to one, then by its logarithm."""
    return alarms if alarms < 1 else 1 + math.log2(alarms)


def _pictures(lesions: Sequence[str], rows: Sequence[dict], pictures: ReportPictures) -> str:
    names = {"TP": "found", "FP": "false alarm", "FN": "missed"}
    key = "".join(f'<span style="background:rgb{ERROR_COLOURS[kind]}"></span>{name}' for kind, name in names.items())
    parts = [
        f"<p class=key>Error view:{key}</p><p class=note>Images that have the lesion, by Dice at p &gt; 0.5, and images without "
        "it, by their false pixels. The pictures are reduced; a pixel is coloured where a quarter of it is predicted or true. "
        "Enlarge one to see small lesions.</p>"
    ]
    for lesion in lesions:
        mine = [row for row in rows if row["lesion"] == lesion and row["Dice"] and row["image"] in pictures.photographs]
        mine.sort(key=lambda row: float(row["Dice"]))
        worst = mine[: min(SHOWN, (len(mine) + 1) // 2)]
        best = mine[max(len(worst), len(mine) - SHOWN) :][::-1]
        without = [row for row in rows if row["lesion"] == lesion and not row["Dice"] and int(row["false_positive"])
                   and row["image"] in pictures.photographs]
        without.sort(key=lambda row: -int(row["false_positive"]))
        for title, chosen in (("worst", worst), ("best", best), ("false alarms where there is none", without[:SHOWN])):
            if chosen:
                channel = lesions.index(lesion)
                figures = [_figure(f"{lesion}-{title}-{i}", row, channel, pictures) for i, row in enumerate(chosen)]
                parts.append(f"<h3>{escape(lesion)}: {title}</h3><div class=pictures>{''.join(figures)}</div>")
    return "".join(parts)


def _figure(group: str, row: dict, channel: int, pictures: ReportPictures) -> str:
    """A photograph with three layers, of which the radio buttons below show one or none."""
    name, errors = row["image"], pictures.errors(row["image"], channel)
    layers = "".join(
        f'<img class="layer {view}" alt="" src="{_data(error_layer(errors, view), "png")}">' for view in _VIEWS[1:]
    )
    buttons = "".join(
        f'<label><input type=radio name="{escape(group)}" value={view}{" checked" if view == "error" else ""}>{view}</label>'
        for view in _VIEWS
    )
    buttons += "<label class=large><input type=checkbox>enlarge</label>"
    scores = f"Dice {100 * float(row['Dice']):.1f}, AP {100 * float(row['AP']):.1f}; " if row["Dice"] else ""
    found = f"{row['regions_found']} of {row['regions']} lesions found, " if row["Dice"] else ""
    return (
        f'<figure><div class=stack><img alt="{escape(name)}" src="{_data(pictures.photographs[name], "jpeg")}">{layers}</div>'
        f"<div class=views>{buttons}</div><figcaption>{escape(name)}: {escape(scores + found)}{escape(row['false_alarms'])} "
        "false alarms</figcaption></figure>"
    )


def _image_table(rows: Sequence[dict]) -> str:
    names = list(rows[0]) if rows else []
    lines = ["<tr>" + "".join(f"<td>{escape(_cell(row[name]))}</td>" for name in names) + "</tr>" for row in rows]
    return _table([name.replace("_", " ") for name in names], lines, " class=sortable")


def _cell(text: Any) -> str:
    return f"{float(text):.4f}" if text.count(".") == 1 and text.replace(".", "").isdigit() else text


def _data(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
