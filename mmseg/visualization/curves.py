"""What was logged, drawn over the iterations."""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["draw_curves"]


def draw_curves(records: list[dict[str, float]], path: Path) -> None:
    """Draw losses, learning rate and validation metrics as one PNG.

    Args:
        records: one dictionary a logging step: ``step``, ``loss``, ``lr``, losses named ``<part>.loss_<kind>``, metrics
            named ``lesion/m<metric>``, or ``aAcc`` and ``m<Metric>`` as :class:`mmseg.evaluation.IoUMetric` has them.
        path: of the picture; nothing is written where no record holds any of these.
    """
    from matplotlib.figure import Figure  # without pyplot, whose backend may be a notebook's

    records = sorted(records, key=lambda record: record["step"])
    names = {name for record in records for name in record}
    groups = {
        "loss": ["loss"],
        "loss terms": sorted(n for n in names if "loss" in n and n != "loss"),
        "learning rate": ["lr"],
        "validation": sorted(n for n in names if re.fullmatch(r"(\w+/)?(aAcc|m[A-Zs]\w*|mprecision)", n)),
    }
    shown = {title: group for title, group in groups.items() if names & set(group)}
    if not shown:
        return
    figure = Figure(figsize=(5.2 * len(shown), 4.6), layout="constrained")
    for axis, (title, group) in zip(figure.subplots(1, len(shown), squeeze=False)[0], shown.items(), strict=True):
        for name in group:
            points = [(record["step"], record[name]) for record in records if name in record]
            axis.plot(*zip(*points, strict=True), label=name, marker="o" if len(points) == 1 else None)
        axis.set(title=title, xlabel="iteration")
        axis.grid(alpha=0.3)
        if len(group) > 1:
            axis.legend(fontsize=7, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.16))
    figure.savefig(path, dpi=110)
