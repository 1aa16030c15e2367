"""The model card: what is known is there, what is not known is said."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from mmseg.apis import init_model
from mmseg.compat.model_card import card_markdown, model_card, read_test_results
from mmseg.models.segmentors.base import BaseSegmentor
from mmseg.structures import LESIONS
from mmseg.utils.errors import UserError

SCORES = ("IoU", "Dice", "sensitivity", "precision", "AP", "AUPR11")


@pytest.fixture(scope="module")
def model(speckled: Path) -> BaseSegmentor:
    return init_model(checkpoint=speckled, device="cpu")


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """As ``tools/test.py`` writes them."""
    metrics: dict[str, Any] = {lesion: dict.fromkeys(SCORES, 0.25) for lesion in (*LESIONS, "mean")}
    metrics["SE"] = dict.fromkeys(SCORES)
    tested = dict(type="IDRiDDataset", split="train (only fold 0 of 5)")
    details = dict(
        images=27, threshold="p > 0.5", test_set=tested, checkpoint="a.pth, SHA-256 0", curves={"MA": [0.1]},
        intervals_95={"MA": {"Dice": [0.1, 0.3512]}})
    (tmp_path / "metrics.json").write_text(json.dumps(metrics))
    (tmp_path / "details.json").write_text(json.dumps(details))
    return tmp_path


def test_facts(model: BaseSegmentor, speckled: Path, results: Path) -> None:
    card = model_card(model, speckled, read_test_results(results))
    json.dumps(card, allow_nan=False)  # of JSON's types only
    assert card["model"]["sha256"] == hashlib.sha256(speckled.read_bytes()).hexdigest()
    assert card["model"]["parameters"] == sum(p.numel() for p in model.parameters())
    assert list(card["model"]["lesions"]) == list(card["thresholds"]) == list(LESIONS)
    assert card["data"] == dict(
        train=dict(type="SyntheticFundusDataset", split="train"),
        test=dict(type="IDRiDDataset", split="train (only fold 0 of 5)"))  # what was tested, not what the config names
    assert model_card(model, speckled)["data"]["test"] == dict(type="SyntheticFundusDataset", split="test")
    assert (card["training"]["iterations"], card["training"]["init"]) == (4, "scratch")
    assert card["training"]["config"] == "sdcnetplus_r18-d8_256x256_demo_synthetic"
    assert card["metrics"]["MA"]["Dice"] == 0.25
    assert card["protocol"] == dict(images=27, threshold="p > 0.5", checkpoint="a.pth, SHA-256 0")
    assert "not a medical device" in card["limits"][0] and card["tuned"] is None


def test_scores_at_the_models_own_thresholds(model: BaseSegmentor, speckled: Path, results: Path) -> None:
    """Beside those at 0.5, which are other numbers; left out where the test had other thresholds."""
    details = json.loads((results / "details.json").read_text())
    details["tuned"] = {lesion: dict(threshold=0.5, Dice_tuned=0.125) for lesion in LESIONS} | {"mean": dict(Dice_tuned=0.5)}
    (results / "details.json").write_text(json.dumps(details))
    card = model_card(model, speckled, read_test_results(results))
    assert card["tuned"] == dict.fromkeys(LESIONS, 0.125) | {"mean": 0.5}
    page = card_markdown(card)
    assert "| AUPR11 | Dice at the thresholds above |" in page and "at p > 0.5 where a threshold counts" in page
    assert "| MA | 25.00 | 25.00 (10.00 to 35.12) | 25.00 | 25.00 | 25.00 | 25.00 | 12.50 |" in page
    assert "| mean | 25.00 | 25.00 | 25.00 | 25.00 | 25.00 | 25.00 | 50.00 |" in page
    details["tuned"]["MA"]["threshold"] = 0.25
    (results / "details.json").write_text(json.dumps(details))
    card = model_card(model, speckled, read_test_results(results))
    assert card["tuned"] is None and "thresholds above |" not in card_markdown(card)


def test_page(model: BaseSegmentor, speckled: Path, results: Path) -> None:
    page = card_markdown(model_card(model, speckled, read_test_results(results)))
    assert "| MA | 25.00 | 25.00 (10.00 to 35.12) | 25.00 | 25.00 | 25.00 | 25.00 |" in page
    assert "| SE | n/a | n/a | n/a | n/a | n/a | n/a |" in page
    assert "not a medical device" in page.split("## Model")[0]
    assert "images: 27" in page and "240x160" in page and "95 % intervals over images in brackets" in page
    rows = [line for line in page.splitlines() if line.startswith("|")]
    assert all(line.endswith("|") for line in rows)


def test_scores_of_another_file_are_told(model: BaseSegmentor, speckled: Path, results: Path) -> None:
    card = model_card(model, speckled, read_test_results(results))
    told = "**Not known to be measured with this checkpoint**"
    assert told in card_markdown(card)
    del card["protocol"]["checkpoint"]  # of another program's predictions
    assert told in card_markdown(card)
    card["protocol"]["checkpoint"] = f"latest.pth, SHA-256 {card['model']['sha256']}"
    assert told not in card_markdown(card) and "**The model was trained on" not in card_markdown(card)
    card["protocol"]["trained_on"] = 27
    assert "**The model was trained on 27 of these images**" in card_markdown(card)


def test_what_is_not_known_is_said(model: BaseSegmentor, speckled: Path, results: Path) -> None:
    assert "Not measured for this card." in card_markdown(model_card(model, speckled))
    (results / "details.json").unlink()
    assert "intervals were not measured" in card_markdown(model_card(model, speckled, read_test_results(results)))


def test_mistakes(results: Path) -> None:
    (results / "details.json").write_text("[]")
    with pytest.raises(UserError, match=r"details\.json: got a list"):
        read_test_results(results)
    (results / "metrics.json").write_text('{"mIoU": 0.4}')
    with pytest.raises(UserError, match=r"metrics\.json: got a float, expected what tools/test.py writes, scores by lesion"):
        read_test_results(results)
    (results / "metrics.json").write_text("{")
    with pytest.raises(UserError, match=r"metrics\.json: cannot be read"):
        read_test_results(results)
    with pytest.raises(UserError, match=r".*No such file or directory.*tools/test.py"):
        read_test_results(results / "none")
