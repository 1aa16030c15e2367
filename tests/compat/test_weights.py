"""Weights of other projects: whose they are, where each tensor goes, and what the report says."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from isdnet_reference import DUPLICATES, REFERENCE, drawn, first_name, noise, reference_shapes
from mmengine.structures import PixelData
from torch import Tensor, nn

from mmseg.apis import inference_model, init_model, register_all_modules
from mmseg.compat import match_weights
from mmseg.compat.weights import recognise
from mmseg.engine.checkpoint import read_checkpoint
from mmseg.engine.runner import load_weights
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from mmseg.utils.errors import UserError

CONFIG = Path(__file__).resolve().parents[2] / "configs/isdnet/isdnet_r18-d8_1224x1224_80k_DeepGlobe.py"


@pytest.fixture(scope="module")
def authors() -> dict[str, Tensor]:
    """A checkpoint as ISDNet's authors' code writes it: twice the ShallowNet, a prefix, no counters."""
    shapes = {key: shape for key, shape in reference_shapes().items() if not key.endswith("num_batches_tracked")}
    return {f"module.{key}": drawn(first_name(key), shape) for key, shape in shapes.items()}


@pytest.fixture(scope="module")
def checkpoint(authors: dict[str, Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    meta = dict(mmcv_version="1.3.9", mmseg_version="0.16.0", iter=79999, config="raise SystemExit('executed')",
                CLASSES=tuple("abcdefg"), PALETTE=[[i, i, i] for i in range(7)], best_score=np.float64(73.3))
    path = tmp_path_factory.mktemp("isdnet") / "iter_80000.pth"
    torch.save(dict(meta=meta, state_dict=authors, optimizer={}), path)
    return path


@pytest.fixture(scope="module")
def model(checkpoint: Path) -> nn.Module:
    return init_model(CONFIG, checkpoint, "cpu", {"test_dataloader.dataset.size": (128, 96)})


class TestISDNet:
    def test_logits(self, model: nn.Module) -> None:
        with torch.no_grad():
            logits = model(noise(3, (1, 3, 192, 224)))[..., ::4, ::4].numpy()
        assert logits.shape == (1, 7, 48, 56)
        np.testing.assert_allclose(logits, REFERENCE["logits"], rtol=1e-4, atol=1e-4 * abs(REFERENCE["logits"]).max())

    def test_every_loss_term(self, checkpoint: Path) -> None:
        model = init_model(CONFIG, checkpoint, "cpu").train()
        for module in model.modules():
            if isinstance(module, nn.Dropout2d):
                module.eval()
        samples = [SegDataSample() for _ in range(2)]
        for sample, label in zip(samples, np.random.RandomState(5).randint(0, 7, (2, 1, 192, 224)), strict=True):
            sample.gt_sem_seg = PixelData(data=torch.from_numpy(label))
        with torch.no_grad():
            losses = model(noise(4, (2, 3, 192, 224)), samples, mode="loss")
        expected = dict(zip((str(name) for name in REFERENCE["loss_names"]), REFERENCE["loss_values"], strict=True))
        assert {key: value.item() for key, value in losses.items()} == pytest.approx(expected, rel=1e-4)

    def test_the_report(self, model: nn.Module) -> None:
        report = model.load_report
        weights = {name for name in model.state_dict() if not name.endswith("num_batches_tracked")}
        assert report.layout == "ISDNet"
        assert (set(report.loaded), report.missing, report.unexpected, report.renamed) == (weights, [], {}, {})
        assert len(report.left_out) == sum(
            any(second in str(key) for second in DUPLICATES) for key in REFERENCE["keys"] if "num_batches" not in str(key))
        assert "left out" in str(report) and "second names of tensors that are loaded" in str(report)

    def test_an_image_through_the_api(self, model: nn.Module) -> None:
        image = np.random.RandomState(0).randint(0, 256, (96, 128, 3), np.uint8)
        sample = inference_model(model, image)
        assert model.dataset_meta == dict(classes=tuple("abcdefg"), palette=[(i, i, i) for i in range(7)])
        assert sample.probabilities.data.shape == (7, 96, 128)
        torch.testing.assert_close(sample.probabilities.data.sum(0), torch.ones(96, 128))
        assert torch.equal(sample.pred_sem_seg.data[0].long(), sample.probabilities.data.argmax(0))

    def test_colours_that_were_drawn(self, authors: dict[str, Tensor], tmp_path: Path) -> None:
        """0.x stores those of a CustomDataset without a palette as an array."""
        palette = np.random.RandomState(42).randint(0, 255, (7, 3))
        meta = dict(CLASSES=tuple("abcdefg"), PALETTE=palette)
        torch.save(dict(meta=meta, state_dict=authors), tmp_path / "drawn.pth")
        model = init_model(CONFIG, tmp_path / "drawn.pth", "cpu")
        assert model.dataset_meta["palette"] == [tuple(colour) for colour in palette.tolist()]
        json.dumps(model.dataset_meta)

    def test_the_config_has_the_authors_values(self, model: nn.Module) -> None:
        config = model.cfg
        assert config.optim_wrapper.optimizer == dict(type="SGD", lr=0.01, momentum=0.9, weight_decay=0.0005)
        assert (config.train_cfg.max_iters, config.train_dataloader.batch_size) == (80000, 2)
        assert [head.num_classes for head in (*config.model.decode_head, config.model.auxiliary_head)] == [7, 7, 7]
        assert (model.down_ratio, model.down_mode, model.multi_label) == (4, "nearest", False)
        assert config.model.auxiliary_head.loss_decode.loss_weight == 0.4

    def test_only_second_names(self, authors: dict[str, Tensor], model: nn.Module) -> None:
        state = {key: value for key, value in authors.items() if ".stdc_net.features." not in key}
        fitting, report = match_weights(state, model.state_dict(), "x.pth")
        assert report.differences == ""
        assert report.renamed["refine_head.stdc_net.x2.0.0.conv.weight"] == "refine_head.stdc_net.features.0.conv.weight"
        assert all(torch.equal(fitting[name], model.state_dict()[name]) for name in fitting)

    def test_second_names_that_differ_are_told(self, authors: dict[str, Tensor], model: nn.Module) -> None:
        key = "module.refine_head.stdc_net.x8.0.2.avd_layer.0.weight"
        with pytest.raises(UserError, match=r"1 tensors unexpected \(refine_head.stdc_net.x8.0.2.avd_layer.0.weight\)"):
            load_weights(model, {**authors, key: authors[key] + 1}, "x.pth")

    def test_strict_for_testing(self, authors: dict[str, Tensor], model: nn.Module) -> None:
        state = {**authors, "module.decode_head.extra.weight": torch.zeros(1)}
        del state["module.backbone.stem.0.weight"]
        text = r"1 tensors missing \(backbone.stem.0.weight\); 1 tensors unexpected \(decode_head.extra.weight\)"
        with pytest.raises(UserError, match=text):
            load_weights(model, state, "x.pth")


@pytest.fixture(scope="module")
def small() -> nn.Module:
    register_all_modules()
    head = dict(type="FCNHead", in_channels=512, channels=8, num_convs=1, num_classes=4, multi_label=True)
    return MODELS.build(dict(type="EncoderDecoder", backbone=dict(type="ResNet", depth=18), decode_head=head))


def test_names_with_the_background_of_a_sigmoid_network(small: nn.Module) -> None:
    """As M2MRF's and HRDecoder's checkpoints have them: five names, four channels."""
    info = dict(classes=("bg", "EX", "HE", "SE", "MA"), palette=[(i, i, i) for i in range(5)])
    assert small.shown_classes(info) == (("EX", "HE", "SE", "MA"), [(i, i, i) for i in range(1, 5)])


def of_backbone(model: nn.Module) -> dict[str, Tensor]:
    return {key: torch.randn(value.shape) for key, value in model.backbone.state_dict().items() if "num_batches" not in key}


class TestBackbones:
    @pytest.mark.parametrize(("layout", "prefix", "classifier"), [
        ("torchvision", "", "fc.weight"), ("mmpretrain", "backbone.", "head.fc.weight")])
    def test_resnet(
        self, small: nn.Module, layout: str, prefix: str, classifier: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        weights = of_backbone(small)
        state = {f"{prefix}{key}": value for key, value in weights.items()} | {classifier: torch.zeros(1000, 512)}
        torch.save(state if layout == "torchvision" else dict(meta={}, state_dict=state), tmp_path / "resnet18.pth")
        loaded = read_checkpoint(tmp_path / "resnet18.pth")["state_dict"]
        report = load_weights(small, loaded, "resnet18.pth", strict=False)
        assert report.layout == layout
        assert list(report.left_out) == [classifier] and report.unexpected == {}
        assert len(report.renamed) == (len(weights) if layout == "torchvision" else 0)
        assert all(name.startswith("decode_head.") for name in report.missing)
        assert all(torch.equal(small.backbone.state_dict()[key], value) for key, value in weights.items())
        with pytest.raises(UserError, match="tensors missing"):
            load_weights(small, loaded, "resnet18.pth")

    def test_stdc(self, model: nn.Module, tmp_path: Path) -> None:
        """STDCNet813M_73.91.tar: a 3-channel stem, ImageNet's last layers, torch's old format, the trainer's own numbers."""
        shapes = {key: value.shape for key, value in model.refine_head.stdc_net.state_dict().items() if "num_batches" not in key}
        state = {f"module.{key}": torch.randn(shape) for key, shape in shapes.items()}
        state["module.features.0.conv.weight"] = torch.randn(32, 3, 3, 3)
        of_imagenet = ("features.6.conv_list.0.conv", "conv_last.conv", "fc", "linear")
        state |= {f"module.{key}.weight": torch.zeros(3) for key in of_imagenet}
        path = tmp_path / "STDCNet813M_73.91.tar"
        torch.save(dict(epoch=300, state_dict=state, best=np.float32(73.91)), path, _use_new_zipfile_serialization=False)
        fitting, report = match_weights(read_checkpoint(path)["state_dict"], model.state_dict(), path.name)
        assert report.layout == "STDC"
        assert len(report.left_out) == 4 and report.unexpected == {}
        assert set(fitting) == {f"refine_head.stdc_net.{key}" for key in shapes}
        stem = state["module.features.0.conv.weight"]
        assert torch.equal(fitting["refine_head.stdc_net.features.0.conv.weight"], torch.cat([stem, stem], 1))


@pytest.mark.parametrize(("keys", "layout"), [
    (["backbone.conv1.weight", "decode_head.conv_seg.weight"], "mmsegmentation"),
    (["backbone.layer1.0.conv1.weight", "head.fc.bias"], "mmpretrain"),
    (["conv1.weight", "layer1.0.conv1.weight", "fc.weight"], "torchvision"),
    (["features.0.conv.weight", "conv_last.conv.weight"], "STDC"),
    (["refine_head.stdc_net.features.0.conv.weight", "refine_head.stdc_net.x2.0.0.conv.weight"], "ISDNet"),
    (["0.weight"], "mmsegmentation"),
])
def test_recognised_by_its_keys(keys: list[str], layout: str) -> None:
    assert recognise(keys) == layout


def test_a_checkpoint_of_its_own_is_no_news(small: nn.Module, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        report = load_weights(small, small.state_dict(), "own.pth")
    assert report.loaded == list(small.state_dict())
    assert caplog.text == ""
