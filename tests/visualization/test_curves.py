"""The picture of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from mmseg.visualization import draw_curves

TRAINING = [
    {"step": step, "loss": 1 / step, "lr": 0.01, "decode_0.loss_dice": 0.5 / step, "decode_1.loss_focal": 0.4 / step, "time": 0.1}
    for step in range(1, 9)
]
VALIDATION = [{"step": 4, "lesion/mDice": 0.3, "lesion/mIoU": 0.2, "lesion/Dice.MA": 0.1}, {"step": 8, "lesion/mDice": 0.5}]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The figures that were drawn."""
    figures: list[Any] = []
    save = Figure.savefig

    def keep(figure: Figure, *args: Any, **more: Any) -> None:
        figures.append(figure)
        save(figure, *args, **more)

    monkeypatch.setattr(Figure, "savefig", keep)
    return figures


def test_every_curve_holds_what_was_logged(drawn: list[Any], tmp_path: Path) -> None:
    draw_curves([*VALIDATION, *TRAINING[::-1]], tmp_path / "curves.png")
    (figure,) = drawn
    panels = {axis.get_title(): {line.get_label(): line.get_xydata().tolist() for line in axis.lines} for axis in figure.axes}
    assert list(panels) == ["loss", "loss terms", "learning rate", "validation"]
    assert panels["loss"] == {"loss": [[r["step"], r["loss"]] for r in TRAINING]}
    assert set(panels["loss terms"]) == {"decode_0.loss_dice", "decode_1.loss_focal"}
    assert panels["learning rate"] == {"lr": [[r["step"], 0.01] for r in TRAINING]}
    assert panels["validation"] == {"lesion/mDice": [[4, 0.3], [8, 0.5]], "lesion/mIoU": [[4, 0.2]]}
    assert all(axis.get_xlabel() == "iteration" for axis in figure.axes)


def test_a_single_point_is_seen(drawn: list[Any], tmp_path: Path) -> None:
    """As of a run that was stopped after its first validation: a line of one point is none."""
    draw_curves([*TRAINING, VALIDATION[0]], tmp_path / "curves.png")
    markers = {line.get_label(): line.get_marker() for axis in drawn[0].axes for line in axis.lines}
    assert (markers["lesion/mDice"], markers["loss"]) == ("o", "None")


@pytest.mark.parametrize(
    "records", [TRAINING, TRAINING[:1], VALIDATION, TRAINING + VALIDATION], ids=["training", "one step", "validation", "both"]
)
def test_a_picture_that_can_be_read(records: list[dict[str, float]], tmp_path: Path) -> None:
    draw_curves(records, tmp_path / "curves.png")
    picture = np.asarray(Image.open(tmp_path / "curves.png").convert("L"))
    assert picture.shape[0] > 200
    assert picture.shape[1] > 400
    assert picture.std() > 5, "an empty picture"


def test_the_figures_of_a_notebook_are_left_alone(tmp_path: Path) -> None:
    """Neither does one more stay open, nor does the notebook's backend, which shows them, change."""
    import matplotlib
    from matplotlib import pyplot as plt

    before = matplotlib.get_backend()
    matplotlib.use("svg")
    try:
        draw_curves(TRAINING, tmp_path / "curves.png")
        assert (plt.get_fignums(), matplotlib.get_backend()) == ([], "svg")
    finally:
        matplotlib.use(before)


def test_scores_of_index_maps_are_drawn_too(drawn: list[Any], tmp_path: Path) -> None:
    """IoUMetric's names have no prefix."""
    scores = {"step": 4, "mIoU": 30.0, "aAcc": 90.0, "lesion/mprecision": 0.5, "memory": 3}
    draw_curves([*TRAINING, scores], tmp_path / "curves.png")
    (axis,) = [axis for axis in drawn[0].axes if axis.get_title() == "validation"]
    assert sorted(line.get_label() for line in axis.lines) == ["aAcc", "lesion/mprecision", "mIoU"]
