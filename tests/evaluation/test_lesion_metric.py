"""The metric against scikit-learn on all pixels at once, and the files it writes."""

from __future__ import annotations

import csv
import json
import logging
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.logging import MMLogger
from mmengine.structures import PixelData
from sklearn.metrics import average_precision_score, f1_score, jaccard_score, precision_score, recall_score
from test_score_histogram import inputs, literal_aupr11

from mmseg.evaluation import LesionMetric
from mmseg.evaluation.lesion_regions import FROC_THRESHOLDS, region_counts
from mmseg.registry import METRICS
from mmseg.structures import LESIONS, SegDataSample
from mmseg.utils.errors import UserError

REFERENCES = {"IoU": jaccard_score, "Dice": f1_score, "sensitivity": recall_score, "precision": precision_score}
KEYS = ["IoU", "Dice", "sensitivity", "precision", "AP", "AUPR11"]

Pair = tuple[np.ndarray, np.ndarray]


def random_pairs(ignore: float = 0.0) -> list[Pair]:
    """Probabilities and truths ``(4, H, W)`` of three photographs of different sizes; lesions of different shares."""
    random = np.random.RandomState(0)
    pairs = []
    for shape in ((20, 30), (8, 9), (31, 17)):
        truth = (random.rand(4, *shape) < np.array([0.02, 0.1, 0.3, 0.5])[:, None, None]).astype(np.uint8)
        probabilities = (0.4 * truth + 0.7 * random.rand(4, *shape)).clip(0, 1).astype(np.float32)
        truth[random.rand(4, *shape) < ignore] = 255
        pairs.append((probabilities, truth))
    return pairs


def sample(probabilities: np.ndarray, truth: np.ndarray, name: str = "a.jpg") -> dict[str, Any]:
    """As mmengine's evaluator hands it to the metric."""
    maps = dict(probabilities=torch.as_tensor(probabilities), gt_sem_seg=torch.as_tensor(truth))
    wrapped = {key: PixelData(data=value) for key, value in maps.items()}
    return SegDataSample(metainfo=dict(img_path=f"/somewhere/{name}"), **wrapped).to_dict()


def evaluate(pairs: list[Pair], out_dir: Path | None = None, **arguments: Any) -> dict[str, float]:
    metric = LesionMetric(out_dir=out_dir if out_dir is None else str(out_dir), **arguments)
    metric.dataset_meta = dict(classes=LESIONS)
    for number, pair in enumerate(pairs):
        metric.process(None, [sample(*pair, name=f"{number}.jpg")])
    return metric.evaluate(len(pairs))


def reference(pairs: list[Pair], channel: int, threshold: float = 0.5) -> dict[str, float]:
    """All pixels of all images in one list, without the ignored ones."""
    truth = np.concatenate([t[channel].ravel() for _, t in pairs])
    predicted = np.concatenate([p[channel].ravel() for p, _ in pairs]) > threshold
    counted = truth != 255
    return {name: score(truth[counted] == 1, predicted[counted], zero_division=0) for name, score in REFERENCES.items()}


def reference_ap(pairs: list[Pair], channel: int) -> float:
    truth, probabilities = (np.concatenate([pair[i][channel].ravel() for pair in pairs]) for i in (1, 0))
    return average_precision_score(truth[truth != 255] == 1, probabilities[truth != 255])


@pytest.mark.parametrize("ignore", [0.0, 0.3])
def test_against_scikit_learn_pooled(ignore: float, tmp_path: Path) -> None:
    pairs = random_pairs(ignore)
    logged = evaluate(pairs, tmp_path)
    written = json.loads((tmp_path / "metrics.json").read_text())
    references = [reference(pairs, c) for c in range(4)]
    for lesion, expected in zip(LESIONS, references, strict=True):
        for name, value in expected.items():
            assert written[lesion][name] == pytest.approx(value, abs=1e-9)
            assert logged[f"lesion/{name}.{lesion}"] == pytest.approx(value, abs=1e-9)
            assert 0.01 < value < 0.99, "nothing to compare"
    precisions = [reference_ap(pairs, c) for c in range(4)]
    assert [written[lesion]["AP"] for lesion in LESIONS] == pytest.approx(precisions, abs=1e-3)
    assert logged["lesion/mAP"] == written["mean"]["AP"] == pytest.approx(np.mean(precisions), abs=1e-3)
    assert logged["lesion/mAUPR11"] == written["mean"]["AUPR11"] > 0
    for name in REFERENCES:
        mean = np.mean([r[name] for r in references])
        assert written["mean"][name] == pytest.approx(mean, abs=1e-9)
        assert logged[f"lesion/m{name}"] == pytest.approx(mean, abs=1e-9)


def test_pooling_is_not_averaging_over_images() -> None:
    pairs = random_pairs()
    averages = np.mean([reference([pair], 3)["IoU"] for pair in pairs])
    pooled = reference(pairs, 3)["IoU"]
    assert abs(pooled - averages) > 1e-3, "nothing to compare"
    assert evaluate(pairs)["lesion/IoU.SE"] == pytest.approx(pooled, abs=1e-9)


def test_ignored_pixels_count_nowhere(tmp_path: Path) -> None:
    """Neither as hits, nor as misses, nor as false alarms."""
    truth = np.array([[[1, 1, 0, 255, 255]]] * 4, np.uint8)
    probabilities = np.array([[[0.9, 0.1, 0.9, 0.9, 0.1]]] * 4, np.float32)
    evaluate([(probabilities, truth)], tmp_path)
    with (tmp_path / "per_image.csv").open() as file:
        row = next(csv.DictReader(file))
    assert [row["true_positive"], row["false_positive"], row["false_negative"]] == ["1", "1", "1"]


def test_exactly_half_is_not_a_lesion() -> None:
    truth = np.array([[[1, 1]]] * 4, np.uint8)
    logged = evaluate([(np.array([[[0.5, 0.5000001]]] * 4, np.float32), truth)])
    assert logged["lesion/sensitivity.MA"] == 0.5


def test_the_files_keys_are_fixed(tmp_path: Path) -> None:
    """Other programs read them."""
    evaluate(random_pairs(), tmp_path)
    written = json.loads((tmp_path / "metrics.json").read_text())
    assert list(written) == ["MA", "HE", "EX", "SE", "mean"]
    assert all(list(values) == KEYS for values in written.values())
    details = json.loads((tmp_path / "details.json").read_text())
    assert details["images"] == 3
    assert details["threshold"] == "p > 0.5"
    assert details["absent"] == []
    assert details["null"] == {}
    assert all(0 <= error < 1e-3 for error in details["ap_error"].values())
    assert {path.name for path in tmp_path.iterdir()} == {"metrics.json", "details.json", "per_image.csv", "counts.npz"}


def test_every_image_and_lesion_has_a_row(tmp_path: Path) -> None:
    pairs = random_pairs()
    pairs[1][1][3] = 0
    evaluate(pairs, tmp_path / "new" / "folder")
    with (tmp_path / "new" / "folder" / "per_image.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["image"], row["lesion"]) for row in rows] == [(f"{i}.jpg", lesion) for i in range(3) for lesion in LESIONS]
    for number, row in enumerate(rows):
        image, channel = divmod(number, 4)
        probabilities, truth = pairs[image][0][channel] > 0.5, pairs[image][1][channel] == 1
        counts = [(probabilities & truth).sum(), (probabilities & ~truth).sum(), (~probabilities & truth).sum()]
        assert [int(row[k]) for k in ("true_positive", "false_positive", "false_negative")] == counts
        for name, value in reference([pairs[image]], channel).items():
            assert row[name] == (f"{value:.6f}" if truth.any() else "")
        if truth.any():
            assert float(row["AP"]) == pytest.approx(reference_ap([pairs[image]], channel), abs=1e-3)
            assert 0 < float(row["AUPR11"]) <= 1
        else:
            assert (row["AP"], row["AUPR11"], row["regions"]) == ("", "", "0")


def test_an_absent_lesion_has_no_score_and_the_table_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pairs = random_pairs()
    for _, truth in pairs:
        truth[3] = 0
    logged = evaluate(pairs, tmp_path)
    written = json.loads((tmp_path / "metrics.json").read_text())
    assert written["SE"] == dict.fromkeys(KEYS)
    assert not [name for name in logged if name.endswith(".SE")]
    for name in REFERENCES:
        assert written["mean"][name] == pytest.approx(np.mean([reference(pairs, c)[name] for c in range(3)]))
    assert json.loads((tmp_path / "details.json").read_text())["absent"] == ["SE"]
    lines = capsys.readouterr().out.splitlines()
    (row,) = {line.strip() for line in lines if line.startswith("SE ")}
    assert row.split() == ["SE", *["n/a"] * 6]
    assert any("no true pixel of SE in this set" in line and "left out of the mean" in line for line in lines)


def test_a_set_without_any_lesion(tmp_path: Path) -> None:
    pairs = [(np.full((4, 3, 3), 0.9, np.float32), np.zeros((4, 3, 3), np.uint8))]
    assert evaluate(pairs, tmp_path) == {}
    assert json.loads((tmp_path / "metrics.json").read_text())["mean"] == dict.fromkeys(KEYS)


def test_nothing_predicted_is_a_precision_of_0_not_an_exception(tmp_path: Path) -> None:
    pairs = random_pairs()
    for probabilities, _ in pairs:
        probabilities[0] = 0
    evaluate(pairs, tmp_path)
    written = json.loads((tmp_path / "metrics.json").read_text())
    share = np.mean(np.concatenate([t[0].ravel() for _, t in pairs]))  # p > 0 nowhere: no curve, and all pixels are tied
    assert written["MA"] == dict(IoU=0, Dice=0, sensitivity=0, precision=0, AP=pytest.approx(share), AUPR11=0)
    assert written["mean"]["Dice"] == pytest.approx(np.mean([0] + [reference(pairs, c)["Dice"] for c in (1, 2, 3)]))


def test_a_perfect_prediction_is_1() -> None:
    assert set(evaluate([(t.astype(np.float32), t) for _, t in random_pairs()]).values()) == {1.0}


def test_the_table_is_in_percent(capsys: pytest.CaptureFixture[str]) -> None:
    pairs = random_pairs()
    evaluate(pairs)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["lesion", *KEYS] in lines
    for c, lesion in enumerate(LESIONS):
        assert [lesion, *(f"{100 * v:.2f}" for v in reference(pairs, c).values())] in [line[:5] for line in lines]


@pytest.mark.parametrize("masks", [False, True])
def test_scores_of_masks_say_what_they_cannot_be_compared_with(
    masks: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """AP of masks is that of a single threshold: a fraction of what the probabilities behind them would have."""
    metric, random = LesionMetric(out_dir=str(tmp_path), bootstrap=10), np.random.RandomState(0)
    metric.dataset_meta = dict(classes=LESIONS)
    truth = (random.rand(4, 20, 30) < 0.2).astype(np.uint8)
    probabilities = np.clip(0.4 * random.rand(4, 20, 30) + 0.4 * truth, 0, 1).astype(np.float32)
    maps = dict(probabilities=(probabilities > 0.5).astype(np.float32) if masks else probabilities, gt_sem_seg=truth)
    data = {key: PixelData(data=torch.from_numpy(value)) for key, value in maps.items()}
    sample = SegDataSample(metainfo=dict(img_path="/x/a.jpg"), **data)
    metric.process(None, [sample.to_dict()])
    metric.evaluate(1)
    assert ("not to be compared with those of probabilities; judge by Dice" in capsys.readouterr().out) is masks
    assert (json.loads((tmp_path / "details.json").read_text())["note"] is not None) is masks


def test_intervals_stand_beside_the_means(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evaluate(random_pairs(), tmp_path)
    intervals = json.loads((tmp_path / "details.json").read_text())["intervals_95"]
    scores = json.loads((tmp_path / "metrics.json").read_text())
    assert list(intervals) == [*LESIONS, "mean"]
    for lesion, of_lesion in intervals.items():
        for name, (low, high) in of_lesion.items():
            assert low <= scores[lesion][name] + 1e-9 and scores[lesion][name] <= high + 1e-9
            assert 0 <= low < high <= 1
    row = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("95 %"))
    assert row.split()[2:5] == [f"{100 * intervals['mean']['IoU'][0]:.1f}", "to", f"{100 * intervals['mean']['IoU'][1]:.1f}"]


def test_the_models_own_thresholds(tmp_path: Path) -> None:
    pairs = random_pairs()
    evaluate(pairs, tmp_path, thresholds={"MA": 0.73, "SE": 0.2})
    tuned = json.loads((tmp_path / "details.json").read_text())["tuned"]
    assert [tuned[lesion]["threshold"] for lesion in LESIONS] == [0.73, 0.5, 0.5, 0.2]
    for c, lesion in enumerate(LESIONS):
        for name, value in reference(pairs, c, tuned[lesion]["threshold"]).items():
            assert tuned[lesion][f"{name}_tuned"] == pytest.approx(value)
    assert tuned["mean"]["Dice_tuned"] == pytest.approx(np.mean([tuned[lesion]["Dice_tuned"] for lesion in LESIONS]))
    assert json.loads((tmp_path / "metrics.json").read_text())["MA"]["Dice"] == pytest.approx(reference(pairs, 0)["Dice"])


def test_the_best_threshold_is_that_of_a_search(tmp_path: Path) -> None:
    """Against the Dice of the k likeliest pixels, for every k."""
    pairs = random_pairs()
    for _, truth in pairs:
        truth[3] = 0
    evaluate(pairs, tmp_path)
    best = json.loads((tmp_path / "details.json").read_text())["best_dice"]
    assert best["SE"] is None
    for c, lesion in enumerate(LESIONS[:3]):
        truth, probabilities = (np.concatenate([pair[i][c].ravel() for pair in pairs]) for i in (1, 0))
        hits = np.cumsum(truth[np.argsort(-probabilities)])
        assert best[lesion]["Dice"] == pytest.approx((2 * hits / (np.arange(len(hits)) + 1 + hits[-1])).max())
        assert best[lesion]["Dice"] == pytest.approx(reference(pairs, c, best[lesion]["threshold"])["Dice"])
        assert best[lesion]["Dice"] > reference(pairs, c)["Dice"] + 0.01, "nothing to choose"


def test_aupr11_rewards_silence(tmp_path: Path) -> None:
    """The worked example of docs/metrics.md: never above 0.1, and no better than chance, yet half of the points."""
    random = np.random.RandomState(0)
    truth = np.tile((random.rand(100, 100) < 0.01).astype(np.uint8), (4, 1, 1))
    silent = (0.1 * random.rand(4, 100, 100)).astype(np.float32)
    evaluate([(silent, truth)], tmp_path)
    scores = json.loads((tmp_path / "metrics.json").read_text())["mean"]
    share = truth.mean()
    assert scores["AUPR11"] == pytest.approx((1 + share) / 2)
    assert scores["AP"] == pytest.approx(share, abs=0.01)
    assert scores["Dice"] == 0


def test_regions_are_those_of_the_images_added_up(tmp_path: Path) -> None:
    pairs = random_pairs()
    evaluate(pairs, tmp_path)
    counts = np.array([
        [region_counts(torch.from_numpy(p), torch.from_numpy(t)) for p, t in zip(*pair, strict=True)] for pair in pairs
    ])  # images, lesions, thresholds, (found, all, alarms)
    assert counts[..., 0].any() and counts[..., 2].any(), "nothing to compare"
    told = json.loads((tmp_path / "details.json").read_text())["regions"]
    for lesion, of_it in zip(LESIONS, counts.sum(0), strict=True):
        assert told[lesion]["regions"] == of_it[0, 1]
        assert told[lesion]["sensitivity"] == pytest.approx(of_it[:, 0] / of_it[0, 1])
        assert told[lesion]["false_alarms_per_image"] == pytest.approx(of_it[:, 2] / len(pairs))
    with (tmp_path / "per_image.csv").open() as file:
        rows = [[int(row[key]) for key in ("regions_found", "regions", "false_alarms")] for row in csv.DictReader(file)]
    assert rows == counts[:, :, FROC_THRESHOLDS.index(0.5)].reshape(-1, 3).tolist()


def count_in_two_processes(rank: int, sets: dict[str, list[Pair]], folder: str) -> None:
    """Three images by two processes, of which one has the first again, as samplers fill up."""
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2,
                                         timeout=timedelta(seconds=60))
    for name, pairs in sets.items():
        metric = LesionMetric(out_dir=f"{folder}/{name}")
        metric.dataset_meta = dict(classes=LESIONS)
        for number in ((0, 2), (1, 0))[rank]:
            metric.process(None, [sample(*pairs[number], name=f"{number}.jpg")])
        metric.evaluate(3)
    torch.distributed.destroy_process_group()


def test_two_processes_against_scikit_learn_and_the_literal_rule(tmp_path: Path) -> None:
    """One kind of input for each lesion: random, tied, constant, lesion everywhere; and none of the first."""
    kinds = ("random", "tied", "constant", "all lesion")

    def image(seed: int) -> Pair:
        channels = [inputs(kind, 30 * 40, 10 * seed + c) for c, kind in enumerate(kinds)]
        probabilities, truth = (np.stack([channel[i] for channel in channels]).reshape(4, 30, 40) for i in (0, 1))
        return probabilities, truth

    pairs = [image(seed) for seed in range(3)]
    empty = [(p, t * np.uint8([0, 1, 1, 1])[:, None, None]) for p, t in pairs]
    torch.multiprocessing.spawn(count_in_two_processes, (dict(full=pairs, empty=empty), str(tmp_path)), nprocs=2)
    full, without = (json.loads((tmp_path / name / "metrics.json").read_text()) for name in ("full", "empty"))
    for c, lesion in enumerate(LESIONS):
        probabilities, truth = (np.concatenate([pair[i][c].ravel() for pair in pairs]) for i in (0, 1))
        assert full[lesion]["AP"] == pytest.approx(average_precision_score(truth, probabilities), abs=1e-3)
        assert full[lesion]["AUPR11"] == pytest.approx(literal_aupr11(probabilities, truth), abs=1e-12)
        assert full[lesion]["sensitivity"] == pytest.approx(reference(pairs, c)["sensitivity"], abs=1e-9)
    assert set(without["MA"].values()) == {None}
    assert without["mean"]["AP"] == pytest.approx(np.mean([full[lesion]["AP"] for lesion in LESIONS[1:]]), abs=1e-12)


@pytest.mark.gpu
def test_a_gpu_counts_the_same(tmp_path: Path) -> None:
    """Where the probabilities are, and only small counts leave it."""
    pairs = random_pairs(ignore=0.1)
    evaluate(pairs, tmp_path / "cpu")
    metric = LesionMetric(out_dir=str(tmp_path / "gpu"))
    metric.dataset_meta = dict(classes=LESIONS)
    for number, (probabilities, truth) in enumerate(pairs):
        on_gpu = torch.from_numpy(probabilities).cuda(), torch.from_numpy(truth)
        metric.process(None, [sample(*on_gpu, name=f"{number}.jpg")])
    assert {histogram.unresolved.device.type for histogram in metric._pooled} == {"cuda"}
    metric.evaluate(len(pairs))
    for name in ("metrics.json", "details.json", "per_image.csv"):
        assert (tmp_path / "gpu" / name).read_text() == (tmp_path / "cpu" / name).read_text()


@pytest.mark.parametrize("value", [1.5, 30, -0.1, float("nan")])
def test_thresholds_are_probabilities(value: float) -> None:
    with pytest.raises(ValueError, match=r"LesionMetric\.thresholds: got .*, expected probabilities from 0 to 1"):
        LesionMetric(thresholds={"MA": value})


@pytest.mark.parametrize("wrong", [dict(bootstrap=0), dict(bootstrap=-1), dict(seed=-1), dict(seed=2**32)])
def test_draws_that_there_cannot_be(wrong: dict[str, int]) -> None:
    """Told before any image is tested, not after all of them."""
    with pytest.raises(ValueError, match=rf"LesionMetric\.{next(iter(wrong))}: got .*, expected"):
        LesionMetric(**wrong)


def test_images_are_drawn_as_often_and_by_the_seed_that_is_asked_for(tmp_path: Path) -> None:
    found = []
    for i, (bootstrap, seed) in enumerate(((20, 5), (20, 5), (20, 6), (21, 5))):
        evaluate(random_pairs(), tmp_path / str(i), bootstrap=bootstrap, seed=seed)
        found.append(json.loads((tmp_path / str(i) / "details.json").read_text()))
        assert found[-1]["bootstrap"] == dict(samples=bootstrap, seed=seed)
    intervals = [details["intervals_95"] for details in found]
    assert intervals[0] == intervals[1]
    assert intervals[2] != intervals[0] != intervals[3]


def test_thresholds_of_a_lesion_that_there_is_not() -> None:
    metric = LesionMetric(thresholds={"Ma": 0.3})
    with pytest.raises(UserError, match=r"LesionMetric\.thresholds: got \['Ma'\], expected names of MA, HE, EX, SE"):
        metric.dataset_meta = dict(classes=LESIONS)


def test_quantised_probabilities_have_no_aupr11(tmp_path: Path) -> None:
    logged = evaluate(random_pairs(), tmp_path, quantised="8-bit PNGs")
    written = json.loads((tmp_path / "metrics.json").read_text())
    assert all(values["AUPR11"] is None and values["AP"] > 0 for values in written.values())
    assert not [name for name in logged if "AUPR11" in name]
    details = json.loads((tmp_path / "details.json").read_text())
    assert details["null"] == {"AUPR11": "8-bit PNGs"}
    assert all(of_lesion["AUPR11"] is None for of_lesion in details["intervals_95"].values())
    with (tmp_path / "per_image.csv").open() as file:
        assert {row["AUPR11"] for row in csv.DictReader(file)} == {""}


def test_the_curve_is_that_of_the_pixels(tmp_path: Path) -> None:
    pairs = random_pairs()
    evaluate(pairs, tmp_path)
    curve = json.loads((tmp_path / "details.json").read_text())["curves"]["SE"]
    truth, probabilities = (np.concatenate([pair[i][3].ravel() for pair in pairs]) for i in (1, 0))
    order = np.argsort(-probabilities, kind="stable")
    hits = np.cumsum(truth[order])
    expected = {round(hit / hits[-1], 5): hit / (i + 1) for i, hit in reversed(list(enumerate(hits)))}  # the first of each
    assert curve["recall"] == sorted(curve["recall"]) and curve["recall"][-1] == 1
    assert 50 < len(curve["recall"]) <= 201
    for recall, precision in list(zip(curve["recall"], curve["precision"], strict=True))[5:]:
        assert precision == pytest.approx(expected[recall], abs=1e-4)


def test_without_a_folder_only_what_is_logged_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: Any) -> None:
        raise AssertionError("validation counts regions")

    monkeypatch.setattr("mmseg.evaluation.lesion_metric.region_counts", stop)
    assert evaluate(random_pairs())["lesion/mAP"] > 0


def test_it_can_be_used_again() -> None:
    """As in validation: nothing of the first round is left in the second."""
    metric = LesionMetric()
    metric.dataset_meta = dict(classes=LESIONS)
    rounds = []
    for pairs in (random_pairs(), random_pairs()[:1], random_pairs()):
        for pair in pairs:
            metric.process(None, [sample(*pair)])
        rounds.append(metric.evaluate(len(pairs)))
    assert rounds[0] == rounds[2] != rounds[1]


@pytest.mark.parametrize("value", [float("nan"), 1.5, -0.5])
def test_what_is_no_probability_is_told_with_its_image(value: float) -> None:
    metric = METRICS.build(dict(type="LesionMetric"))
    metric.dataset_meta = dict(classes=LESIONS)
    with pytest.raises(ValueError, match=r"x\.jpg: got a probability that is negative, above 1, or not a number"):
        metric.process(None, [sample(np.full((4, 3, 3), value, np.float32), np.zeros((4, 3, 3), np.uint8), "x.jpg")])


def test_the_table_is_logged(tmp_path: Path) -> None:
    messages: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())  # type: ignore[method-assign]
    logger = MMLogger.get_current_instance()
    logger.addHandler(handler)
    evaluate(random_pairs())
    logger.removeHandler(handler)
    assert any("results over 3 images" in message and "sensitivity" in message for message in messages)


@pytest.mark.parametrize("truth", [(1, 8, 9), (4, 9, 8)])
def test_a_truth_of_another_shape_is_refused(truth: tuple[int, ...]) -> None:
    """An index map, or masks at another resolution."""
    metric = METRICS.build(dict(type="LesionMetric"))
    with pytest.raises(ValueError, match=r"0\.jpg: got probabilities \(4, 8, 9\), expected .*multi-label truth at the original"):
        metric.process(None, [sample(np.zeros((4, 8, 9), np.float32), np.zeros(truth, np.uint8), "0.jpg")])
