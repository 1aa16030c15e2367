"""The report: one file, nothing from outside, every text escaped, and it works in a browser."""

from __future__ import annotations

import base64
import csv
import io
import itertools
import json
import pickle
import re
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from mmengine.structures import PixelData
from PIL import Image

from mmseg.apis import init_model
from mmseg.engine.hooks.report_hook import ReportHook
from mmseg.evaluation import LesionMetric
from mmseg.structures import LESIONS, SegDataSample
from mmseg.visualization import ReportPictures, write_report
from mmseg.visualization.report_pictures import ERROR_COLOURS, WIDTH, error_layer

EVIL = "<script>alert('x')</script> & \"co\".jpg"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of seven images; SE occurs in none. One image has a nasty name."""
    out = tmp_path_factory.mktemp("report")
    metric, pictures, random = LesionMetric(str(out), dict.fromkeys(LESIONS, 0.5)), ReportPictures(), np.random.RandomState(0)
    metric.dataset_meta = dict(classes=LESIONS)
    names = [*(f"eye_{i}.jpg" for i in range(6)), EVIL.replace("/", "-")]
    for i, name in enumerate(names):
        truth = np.zeros((4, 96, 144), np.uint8)
        truth[0, 10:20, 10:20], truth[1, 40:60, 30:70], truth[2, 20:30, 90:110] = 1, 1, i > 0
        shifted = np.roll(truth, i, axis=2)
        shifted[3, i : 2 * i, :5] = 1  # false alarms; none in the first
        shifted[2, 50:60, 50:60] |= i == 0
        probabilities = (0.8 * shifted + 0.2 * random.rand(4, 96, 144)).astype(np.float32)
        maps = dict(probabilities=torch.from_numpy(probabilities), gt_sem_seg=torch.from_numpy(truth))
        sample = SegDataSample(
            metainfo=dict(img_path=f"/x/{name}"), **{key: PixelData(data=value) for key, value in maps.items()}
        )
        metric.process(None, [sample.to_dict()])
        pictures.add(name, np.full((48, 72, 3), (160, 80, 20 + 30 * i), np.uint8), probabilities > 0.5, truth)
    metric.about = dict(training=dict(config_name="sdcnet_<own>", iter=40000, seed=3, init="scratch"))
    metric.evaluate(len(names))
    write_report(out, pictures, "python tools/test.py <config> & co", dict(lr="'</pre><b>'"))
    return out


@pytest.fixture(scope="module")
def page(folder: Path) -> str:
    return (folder / "report.html").read_text()


def test_one_file_that_needs_nothing_else(page: str) -> None:
    sources = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert sources and all(source.startswith("data:image/") for source in sources)
    assert not re.search(r"https?://|@import|url\(", page)
    assert len(page) < 2_000_000


def test_texts_are_escaped(page: str) -> None:
    assert page.count("<script>") == 1
    assert "alert('x')<" not in page
    assert "&lt;script&gt;alert(" in page
    assert "python tools/test.py &lt;config&gt; &amp; co" in page
    assert "&quot;lr&quot;: &quot;&#x27;&lt;/pre&gt;&lt;b&gt;&#x27;&quot;" in page


def test_it_says_how_the_network_was_trained(page: str) -> None:
    assert "trained by sdcnet_&lt;own&gt;.py, 40000 iterations, seed 3, starting from scratch;" in page


def test_scores_with_their_intervals(page: str, folder: Path) -> None:
    scores, details = (json.loads((folder / name).read_text()) for name in ("metrics.json", "details.json"))
    for lesion in ("MA", "HE", "EX", "mean"):
        for name, value in scores[lesion].items():
            low, high = details["intervals_95"][lesion][name]
            assert f"<td>{100 * value:.2f}<small>{100 * low:.1f} to {100 * high:.1f}</small></td>" in page
    for lesion, images in (("MA", 7), ("EX", 6), ("SE", 0)):
        assert f"<td>{lesion}<small>in {images} images</small></td>" in page
    assert page.count("<td>n/a</td>") == 6 + 3
    assert "no true pixel of SE in this set" in page


def test_thresholds(page: str, folder: Path) -> None:
    details = json.loads((folder / "details.json").read_text())
    for lesion in ("MA", "HE", "EX"):
        mine, best = details["tuned"][lesion], details["best_dice"][lesion]
        assert f"<td>{lesion}</td><td>0.5</td><td>{100 * mine['Dice_tuned']:.2f}</td><td>{best['threshold']:.3g}</td>" in page
        assert best["Dice"] >= mine["Dice_tuned"]


def drawn(svg: str) -> list[tuple[float, float]]:
    """The points of a curve, read as one reads it: against the numbers beside the axes."""

    def axis(labels: list[tuple[str, str]]) -> tuple[list[float], list[float]]:
        places, numbers = zip(*sorted((float(place), float(number)) for place, number in labels), strict=True)
        return list(places), list(numbers)

    x = axis(re.findall(r'<text x="([\d.]+)" y="[\d.]+" text-anchor="middle">([\d.]+)</text>', svg))
    down, level = axis(re.findall(r'<text x="[\d.]+" y="([\d.]+)" text-anchor="end">([\d.]+)</text>', svg))
    assert x[1] == sorted(x[1]) and (level[0], level[-1]) == (1, 0), "an axis runs backwards"
    points = re.findall(r"([\d.]+),([\d.]+)", re.findall(r'<polyline points="([^"]*)"', svg)[0])
    across, up = np.array(points, float).T
    return list(zip(np.interp(across, *x), np.interp(up + 4, down, level), strict=True))  # a number's foot is 4 below its line


def test_curves_are_those_of_the_numbers(page: str, folder: Path) -> None:
    details, svgs = json.loads((folder / "details.json").read_text()), re.findall(r"<svg.*?</svg>", page)
    for i, lesion in enumerate(("MA", "HE", "EX")):
        curve, regions = details["curves"][lesion], details["regions"][lesion]
        assert f"<title>{lesion}</title>" in svgs[i] and f"<title>{lesion}, " in svgs[3 + i]
        expected = list(zip(curve["recall"], curve["precision"], strict=True))
        np.testing.assert_allclose(drawn(svgs[i]), expected, atol=0.005)
        assert max(precision for _, precision in expected) - min(precision for _, precision in expected) > 0.2
        found, alarms = np.array(regions["sensitivity"]), np.array(regions["false_alarms_per_image"])
        shown = np.array(drawn(svgs[3 + i]))
        np.testing.assert_allclose(shown[:, 1], found, atol=0.005)
        few = alarms <= 1  # beyond, the axis is logarithmic
        np.testing.assert_allclose(shown[few, 0], alarms[few], atol=0.02)


def test_each_figure_shows_its_image_and_its_lesion(page: str) -> None:
    """Truth, prediction and photograph, out of the page, against what was put in."""
    places = {"MA": (10, 20, 10, 20), "HE": (40, 60, 30, 70), "EX": (20, 30, 90, 110)}
    seen = 0
    for figure in re.findall(r"<figure>.*?</figure>", page, re.DOTALL):
        match = re.search(r"<figcaption>eye_(\d)\.jpg: Dice", figure)
        group = re.search(r'name="(\w+)-(?:worst|best)', figure)
        if match is None or group is None:
            continue
        number, (top, bottom, left, right) = int(match[1]), places[group[1]]
        images = [np.array(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGBA"))
                  for data in re.findall(r'src="data:image/\w+;base64,([^"]*)"', figure)]
        photograph, truth, prediction, error = images
        assert abs(int(photograph[5, 5, 2]) - (20 + 30 * number)) < 12
        scale = WIDTH / 144
        area = np.zeros(truth.shape[:2], bool)
        area[round(top * scale) : round(bottom * scale), round(left * scale) : round(right * scale)] = True
        assert ((truth[..., 3] > 0) == area).mean() > 0.999
        both = (error[..., :3] == ERROR_COLOURS["TP"]).all(-1) & (error[..., 3] > 0)
        np.testing.assert_array_equal(both, (truth[..., 3] > 0) & (prediction[..., 3] > 0))
        moved = np.roll(area, round(number * scale), axis=1)
        assert ((prediction[..., 3] > 0) == moved)[:, ::7].mean() > 0.97
        seen += 1
    assert seen > 12


def test_the_legend_says_what_the_colours_are(page: str) -> None:
    for kind, name in (("TP", "found"), ("FP", "false alarm"), ("FN", "missed")):
        assert f'<span style="background:rgb{ERROR_COLOURS[kind]}"></span>{name}' in page


_DICHROMATS = {  # Machado, Oliveira and Fernandes, IEEE TVCG 2009, severity 1.0, on linear RGB
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


@pytest.mark.parametrize("kind", _DICHROMATS)
def test_the_colour_blind_can_tell_the_colours_apart(kind: str) -> None:
    """By CIE 1976's difference, of which 2.3 can just be seen; red against green, as usual elsewhere, would fail."""

    def seen(rgb: tuple[int, ...]) -> np.ndarray:
        srgb = np.array(rgb) / 255
        linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
        simulated = np.clip(np.array(_DICHROMATS[kind]) @ linear, 0, 1)
        srgb = np.where(simulated <= 0.0031308, 12.92 * simulated, 1.055 * simulated ** (1 / 2.4) - 0.055)
        return cv2.cvtColor(srgb[None, None].astype(np.float32), cv2.COLOR_RGB2Lab)[0, 0]

    pairs = itertools.combinations(ERROR_COLOURS.values(), 2)
    assert min(np.linalg.norm(seen(a) - seen(b)) for a, b in pairs) > 20
    if kind == "deuteranopia":
        assert np.linalg.norm(seen((160, 110, 0)) - seen((110, 140, 0))) < 20


def test_curves_and_pictures(page: str) -> None:
    assert page.count("<svg ") == 2 * 3
    assert page.count("<figure>") == 3 * 6 + 4  # three of false alarms of SE, one of EX
    for view in ("truth", "prediction", "error"):
        assert page.count(f'<img class="layer {view}"') == 3 * 6 + 4
    assert page.index("MA: worst") < page.index("MA: best") < page.index("HE: worst")


def test_false_alarms_where_there_is_no_lesion_are_shown_the_most_first(page: str) -> None:
    assert "SE occurs in no image; 0.86 false alarms an image at p &gt; 0.5." in page  # in six of seven
    assert "MA: false alarms" not in page
    shown = page[page.index("SE: false alarms where there is none") :]
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", shown)
    assert [caption.split(": ")[-1] for caption in captions[:3]] == ["1 false alarms"] * 3
    assert captions[1].startswith("eye_5.jpg") and captions[2].startswith("eye_4.jpg")
    (of_ex,) = re.findall(r"<figcaption>(.*?)</figcaption>", page[page.index("EX: false alarms") : page.index("Every image")])[:1]
    assert of_ex == "eye_0.jpg: 1 false alarms"


def test_the_worst_come_first(page: str, folder: Path) -> None:
    with (folder / "per_image.csv").open() as file:
        dices = {row["image"]: float(row["Dice"]) for row in csv.DictReader(file) if row["lesion"] == "MA"}
    order = sorted(dices, key=lambda name: dices[name])
    shown = re.findall(r"<figcaption>(eye_\d\.jpg|&lt;.*?jpg): Dice", page)[:6]
    assert [name for name in shown if name.startswith("eye")] == [
        name for name in [*order[:3], *order[:-4:-1]] if name.startswith("eye")
    ]


def test_layers() -> None:
    errors = np.array([[0, 1, 2, 3]], np.uint8)
    seen = {}
    for view in ("truth", "prediction", "error"):
        seen[view] = np.array(Image.open(io.BytesIO(error_layer(errors, view))).convert("RGBA"))[0]
        assert seen[view][0, 3] == 0
    assert [seen["truth"][i, 3] for i in (1, 2, 3)] == [0, 255, 255]
    assert [seen["prediction"][i, 3] for i in (1, 2, 3)] == [255, 0, 255]
    assert [tuple(seen["error"][i, :3]) for i in (1, 2, 3)] == [ERROR_COLOURS[kind] for kind in ("FP", "FN", "TP")]


def test_reduced_errors() -> None:
    pictures = ReportPictures()
    truth, predicted = np.zeros((1, 4 * 100, 4 * WIDTH), np.uint8), np.zeros((1, 4 * 100, 4 * WIDTH), bool)
    truth[0, :4, :4] = 1  # a whole pixel, missed
    predicted[0, :4, 40:44], truth[0, :4, 40:44] = True, 1  # found
    predicted[0, :2, 80:82] = True  # a quarter, false
    predicted[0, 0, 120] = True  # a sixteenth
    truth[0, 8:12, 8:12] = 255
    predicted[0, 8:12, 8:12] = True
    pictures.add("a", np.zeros((10, 10, 3), np.uint8), predicted, truth)
    errors = pictures.errors("a", 0)
    assert errors.shape == (100, WIDTH)
    assert [errors[0, 0], errors[0, 10], errors[0, 20], errors[0, 30], errors[2, 2]] == [2, 3, 1, 0, 0]


def test_little_is_kept_of_an_image() -> None:
    """Some 0.1 MB, as the class says, of which the photograph takes most."""
    pictures, truth = ReportPictures(), np.zeros((4, 531, 800), np.uint8)
    truth[:, ::40, ::40] = 1
    pictures.add("a", np.zeros((531, 800, 3), np.uint8), np.roll(truth, 1, 2) > 0, truth)
    assert len(pickle.dumps(pictures)) < 50_000


PROBE = """
<script>
addEventListener("load", () => {
  const table = document.querySelector("table.sortable"), heads = [...table.querySelectorAll("th")];
  const dice = heads.findIndex(head => head.textContent === "Dice");
  const column = () => [...table.tBodies[0].rows].map(row => row.cells[dice].textContent);
  heads[dice].click(); const up = column();
  heads[dice].click(); const down = column();
  const figure = document.querySelector("figure"), shown = {};
  const visible = image => getComputedStyle(image).display !== "none";
  for (const button of figure.querySelectorAll("input[type=radio]")) {
    button.click();
    shown[button.value] = [...figure.querySelectorAll("img.layer")].filter(visible).map(image => image.className);
  }
  const small = figure.offsetWidth;
  figure.querySelector(".large input").click();
  const enlarged = figure.offsetWidth / small;
  const pictures = [...document.images].every(image => image.complete && image.naturalWidth > 0);
  const out = document.createElement("output");
  const wide = document.documentElement.scrollWidth - innerWidth;
  out.textContent = JSON.stringify({up, down, shown, enlarged, pictures, wide});
  document.body.append(out);
});
</script></body>"""


@pytest.fixture(scope="module")
def chromium() -> str:
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no Chromium here: apt-get install chromium")
    return program


def test_in_a_browser(page: str, chromium: str, tmp_path: Path) -> None:
    """Sorting by a column, the toggle of the views, and that every picture is one."""
    probe = tmp_path / "probe.html"
    probe.write_text(page.replace("</body>", PROBE))
    command = [
        chromium, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
        f"--user-data-dir={tmp_path}/profile", "--virtual-time-budget=4000", "--window-size=1280,900", "--dump-dom",
        probe.as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    answer = re.search(r"<output>(.*?)</output>", done.stdout, re.DOTALL)
    assert answer, done.stderr[-2000:]
    found = json.loads(answer[1])
    up = [float(text) for text in found["up"] if text]
    assert up == sorted(up) and len(set(up)) > 3
    assert found["down"][: len(up)] == [f"{value:.4f}" for value in reversed(up)]
    assert found["up"][len(up):] == found["down"][len(up):] == [""] * 8  # n/a stays at the end
    assert found["shown"] == {"photograph": [], **{view: [f"layer {view}"] for view in ("truth", "prediction", "error")}}
    assert found["enlarged"] > 2.5  # three stand in a row of this window
    assert found["pictures"] is True
    assert found["wide"] <= 0


@pytest.mark.parametrize(("of_metric", "of_model", "expected"), [
    ({}, None, [0.1, 0.1, 0.1, 0.1]), ({}, [0.2, 0.3, 0.4, 0.5], [0.2, 0.3, 0.4, 0.5]),
    ({"HE": 0.9}, [0.2, 0.3, 0.4, 0.5], [0.2, 0.9, 0.4, 0.5]),
])
def test_the_nearest_thresholds_go_first(
    trained: Path, of_metric: dict[str, float], of_model: list[float] | None, expected: list[float]
) -> None:
    """The metric's, then those of the config's model, then those in the checkpoint."""
    model = init_model(None, trained, device="cpu")
    model.test_cfg = {"thresholds": of_model} if of_model else {}
    metric = LesionMetric(thresholds=of_metric)
    metric.dataset_meta = dict(classes=LESIONS)
    runner = SimpleNamespace(cfg={}, bare_model=model, test_evaluator=SimpleNamespace(metrics=[metric]))
    ReportHook("unused").after_load_checkpoint(runner, dict(meta=dict(thresholds=dict.fromkeys(LESIONS, 0.1))))
    assert [metric.thresholds[lesion] for lesion in LESIONS] == expected
