"""Plug-ins written for mmsegmentation 1.x: a head, a loss, a data set and a metric, through ``custom_imports``."""

from __future__ import annotations

import importlib
import importlib.util
import itertools
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from mmengine.structures import PixelData

from mmseg.apis import build_runner, inference_model, init_model, register_all_modules
from mmseg.engine import load_config
from mmseg.registry import ALL_REGISTRIES, MODELS
from mmseg.structures import SegDataSample
from mmseg.utils.errors import UserError

PLUGIN = '''
import torch
import torch.nn as nn
from mmcv.cnn import ConvModule
from mmengine.evaluator import BaseMetric

from mmseg.datasets.basesegdataset import BaseSegDataset
from mmseg.models.builder import LOSSES
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.losses.utils import weighted_loss
from mmseg.models.utils import resize
from mmseg.registry import DATASETS, METRICS, MODELS
from mmseg.structures import SegDataSample
from mmseg.utils import ConfigType, OptConfigType, OptMultiConfig, SampleList


@MODELS.register_module()
class PluginHead(BaseDecodeHead):
    def __init__(self, width: int, init_cfg: OptMultiConfig = None, **kwargs) -> None:
        super().__init__(input_transform='multiple_select', init_cfg=init_cfg, **kwargs)
        self.mix = nn.ModuleList(
            [ConvModule(c, width, 1, norm_cfg=self.norm_cfg, act_cfg=self.act_cfg) for c in self.in_channels])
        self.out = ConvModule(width * len(self.mix), self.channels, 1, norm_cfg=self.norm_cfg)
        assert self.conv_seg.out_channels == self.out_channels

    def forward(self, inputs):
        inputs = self._transform_inputs(inputs)
        size = inputs[0].shape[2:]
        mixed = [conv(x) for conv, x in zip(self.mix, inputs)]
        outs = [resize(x, size=size, mode='bilinear', align_corners=self.align_corners) for x in mixed]
        return self.cls_seg(self.out(torch.cat(outs, dim=1)))

    def loss_by_feat(self, seg_logits, batch_data_samples: SampleList) -> dict:
        label = self._stack_batch_gt(batch_data_samples)
        seg_logits = resize(seg_logits, size=label.shape[2:], mode='bilinear', align_corners=self.align_corners)
        weight = self.sampler.sample(seg_logits, label) if self.sampler is not None else None
        losses = self.loss_decode if isinstance(self.loss_decode, nn.ModuleList) else [self.loss_decode]
        return {l.loss_name: l(seg_logits, label.squeeze(1), weight=weight, ignore_index=self.ignore_index) for l in losses}


@weighted_loss
def squares(pred, target):
    return (pred - target) ** 2


@LOSSES.register_module()
class PluginLoss(nn.Module):
    def __init__(self, reduction='mean', loss_weight=1.0, loss_name='loss_squares'):
        super().__init__()
        self.reduction, self.loss_weight, self._loss_name = reduction, loss_weight, loss_name

    def forward(self, pred, target, weight=None, avg_factor=None, ignore_index=255, **kwargs):
        valid = (target != ignore_index).float()[:, None]
        one_hot = nn.functional.one_hot(target.clamp(0, pred.shape[1] - 1), pred.shape[1]).movedim(-1, 1).float()
        return self.loss_weight * squares(pred.softmax(1), one_hot, weight=valid, reduction=self.reduction, avg_factor=avg_factor)

    @property
    def loss_name(self):
        return self._loss_name


@DATASETS.register_module()
class PluginDataset(BaseSegDataset):
    METAINFO = dict(classes=('sky', 'sea', 'sand'), palette=[[0, 0, 255], [0, 255, 0], [255, 255, 0]])

    def __init__(self, img_suffix='.png', seg_map_suffix='_labels.png', **kwargs) -> None:
        super().__init__(img_suffix=img_suffix, seg_map_suffix=seg_map_suffix, **kwargs)


@METRICS.register_module()
class PluginMetric(BaseMetric):
    default_prefix = 'plugin'

    def process(self, data_batch: dict, data_samples) -> None:
        for sample in data_samples:
            pred = sample['pred_sem_seg']['data'].squeeze()
            label = sample['gt_sem_seg']['data'].squeeze().to(pred)
            self.results.append((pred == label)[label != 255].float().mean().item())

    def compute_metrics(self, results: list) -> dict:
        return dict(accuracy=sum(results) / len(results), classes=len(self.dataset_meta['classes']))
'''

CONFIG = """
_base_ = ['{repo}/configs/default_runtime.py']
custom_imports = dict(imports=['seg_plugin_for_tests'], allow_failed_imports=False)
norm_cfg = dict(type='BN', requires_grad=True)
model = dict(
    type='EncoderDecoder',
    backbone=dict(type='ResNetV1c', depth=18, base_channels=8, stem_channels=8, norm_cfg=norm_cfg),
    decode_head=dict(
        type='PluginHead', width=8, in_channels=[8, 16, 32, 64], in_index=[0, 1, 2, 3], channels=16, num_classes=3,
        norm_cfg=norm_cfg, dropout_ratio=0.1, align_corners=False,
        loss_decode=[dict(type='CrossEntropyLoss', loss_weight=0.5), dict(type='PluginLoss', loss_weight=2.0)]),
    test_cfg=dict(mode='whole', thresholds=None))
data_preprocessor = dict(
    type='LesionDataPreprocessor', mean=[127.5] * 3, std=[127.5] * 3, target='index',
    train_transforms=[dict(type='BatchLegacyAffine', crop_size=(48, 64), flip_prob=0.5)])
folders = dict(img_path='img', seg_map_path='ann')
train_dataloader = dict(
    batch_size=2, num_workers=0, sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(type='PluginDataset', data_root='{data}', data_prefix=folders))
val_dataloader = dict(
    batch_size=1, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='PluginDataset', data_root='{data}', data_prefix=folders, test_mode=True))
test_dataloader = val_dataloader
val_evaluator = dict(type='PluginMetric')
test_evaluator = val_evaluator
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1, momentum=0.9))
train_cfg = dict(type='IterBasedTrainLoop', max_iters=2, val_interval=2)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
"""


@pytest.fixture(autouse=True, scope="module")
def _registries_as_they_were() -> Iterator[None]:
    """Other tests count what is registered."""
    register_all_modules()
    before = [dict(registry.module_dict) for registry in ALL_REGISTRIES]
    yield
    for registry, classes in zip(ALL_REGISTRIES, before, strict=True):
        for name in registry.module_dict.keys() - classes.keys():
            del registry.module_dict[name]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three images of three bands, each of a colour of its own."""
    root = tmp_path_factory.mktemp("bands")
    labels = np.repeat([0, 1, 2], 24)[:, None].repeat(96, 1).astype(np.uint8)
    for name in "abc":
        for folder, suffix, picture in (("img", ".png", np.eye(3, dtype=np.uint8)[labels] * 200), ("ann", "_labels.png", labels)):
            (root / folder).mkdir(exist_ok=True)
            cv2.imwrite(str(root / folder / f"{name}{suffix}"), picture)
    return root


@pytest.fixture(scope="module")
def config_path(repo: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plugin")
    (folder / "seg_plugin_for_tests.py").write_text(PLUGIN)
    path = folder / "config.py"
    path.write_text(CONFIG.replace("{repo}", str(repo)).replace("{data}", str(data)))
    return path


@pytest.mark.parametrize("change", [
    {}, {"model.decode_head.num_classes": 4}, {"data_preprocessor.target": "multilabel"},
])
@pytest.mark.usefixtures("briefly")
def test_they_train_and_predict(
    config_path: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, object]
) -> None:
    monkeypatch.syspath_prepend(str(config_path.parent))
    config = load_config(config_path, change)
    config.work_dir, config.experiment_name = str(tmp_path), f"plugin{len(change)}{list(change.values())}"
    if change:
        with pytest.raises(UserError, match=r"expected (3|'index') for softmax over the classes of PluginDataset"):
            build_runner(config)
        return
    runner = build_runner(config)
    runner.train()
    logged = runner.message_hub.log_scalars
    assert {"train/decode.loss_ce", "train/decode.loss_squares"} <= set(logged)
    assert 0 <= logged["val/plugin/accuracy"].current() <= 1
    assert logged["val/plugin/classes"].current() == 3
    model = init_model(config_path, tmp_path / "latest.pth", "cpu")
    assert model.dataset_meta["classes"] == ("sky", "sea", "sand")
    sample = inference_model(model, data / "img/a.png")
    assert sample.pred_sem_seg.data.shape == (1, 72, 96)
    assert sample.probabilities.data.shape == (3, 72, 96)


@pytest.mark.usefixtures("briefly")
def test_the_preprocessor_of_1_x(config_path: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A data set whose own pipeline gives BGR, as mmcv's reader does, and what is given for inference, which is RGB."""
    monkeypatch.syspath_prepend(str(config_path.parent))
    settings = dict(
        _delete_=True, type="SegDataPreProcessor", mean=[10.0, 20.0, 30.0], std=[50.0, 60.0, 70.0], size=[80, 96],
        bgr_to_rgb=True)
    config = load_config(config_path, {"data_preprocessor": settings})
    config.work_dir, config.experiment_name = str(tmp_path), "preprocessor_of_1_x"
    with pytest.raises(UserError, match=r"data_preprocessor\.bgr_to_rgb: .*without a pipeline of their own data sets give RGB"):
        build_runner(config)
    config.data_preprocessor.bgr_to_rgb = False
    runner = build_runner(config)
    runner.train()
    model = runner.bare_model.eval()
    model.cfg = config
    straight = inference_model(model, data / "img/a.png").probabilities.data
    turned = MODELS.build({**config.data_preprocessor, "bgr_to_rgb": True})
    model.data_preprocessor = turned
    torch.testing.assert_close(inference_model(model, data / "img/a.png").probabilities.data, straight)


def test_a_module_that_is_not_there(config_path: Path, tmp_path: Path) -> None:
    path = tmp_path / "config.py"
    path.write_text(config_path.read_text().replace("seg_plugin_for_tests", "no_such_plugin"))
    with pytest.raises(UserError, match="no_such_plugin"):
        load_config(path)


def test_weighted_losses() -> None:
    from mmseg.models.losses import weighted_loss

    loss = weighted_loss(lambda pred, target: (pred - target).abs())
    pred, target, weight = torch.tensor([0.0, 2.0, 3.0]), torch.tensor([1.0, 1.0, 1.0]), torch.tensor([1.0, 0.0, 1.0])
    assert loss(pred, target).item() == pytest.approx(4 / 3)
    assert loss(pred, target, weight).item() == 1
    assert loss(pred, target, weight, reduction="sum").item() == 3
    assert loss(pred, target, reduction="none").tolist() == [1, 1, 2]
    assert loss(pred, target, weight, avg_factor=2).item() == pytest.approx(1.5)
    with pytest.raises(ValueError, match="avg_factor"):
        loss(pred, target, reduction="sum", avg_factor=2)


class TestOfThePackageItself:
    """Files of onedl-mmsegmentation, loaded by path; ``ONEDL_MMSEGMENTATION`` names the unpacked package's ``mmseg`` folder."""

    @pytest.fixture
    def package(self) -> Path:
        root = os.environ.get("ONEDL_MMSEGMENTATION")
        if not root:
            pytest.skip("ONEDL_MMSEGMENTATION is not set: the files of onedl-mmsegmentation are not at hand")
        register_all_modules()
        return Path(root)

    def load(self, package: Path, path: str) -> ModuleType:
        """Load a file as a module of this package, so that its relative imports find what is here."""
        name = "mmseg." + path.removesuffix(".py").replace("/", ".")
        spec = importlib.util.spec_from_file_location(name, package / path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    def test_segformer_head_and_tversky_loss(self, package: Path) -> None:
        self.load(package, "models/decode_heads/segformer_head.py")
        tversky = self.load(package, "models/losses/tversky_loss.py").TverskyLoss
        head = MODELS.build(dict(
            type="SegformerHead", in_channels=[8, 16], in_index=[0, 1], channels=16, num_classes=3, norm_cfg=dict(type="BN"),
            loss_decode=dict(type="TverskyLoss", loss_weight=0.5)))
        from mmengine.structures import PixelData

        from mmseg.structures import SegDataSample

        sample = SegDataSample()
        sample.gt_sem_seg = PixelData(data=torch.randint(0, 3, (1, 32, 32)))
        features = [torch.randn(2, 8, 16, 16), torch.randn(2, 16, 8, 8)]
        losses = head.loss(features, [sample, sample])
        assert list(losses) == ["loss_tversky"] and 0 < losses["loss_tversky"].item() < 0.5
        losses["loss_tversky"].backward()
        assert head.predict(features, [dict(img_shape=(32, 32))]).shape == (2, 3, 32, 32)
        perfect = torch.full((1, 3, 4, 4), -50.0)
        perfect[:, 1] = 50
        assert tversky()(perfect, torch.ones(1, 4, 4, dtype=torch.long)).item() == pytest.approx(0, abs=1e-6)

    @pytest.fixture
    def theirs(self, package: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], ModuleType]]:
        """Their losses with their own helpers, beside ours: as a package of another name, registered nowhere."""
        parent = ModuleType("onedl_losses")
        parent.__path__ = [str(package / "models/losses")]
        monkeypatch.setitem(sys.modules, parent.__name__, parent)
        monkeypatch.setattr(MODELS, "register_module", lambda *args, **kwargs: lambda cls: cls)

        def load(name: str) -> ModuleType:
            return importlib.import_module(f"onedl_losses.{name}")

        yield load
        for name in [name for name in sys.modules if name.startswith("onedl_losses.")]:
            del sys.modules[name]

    @pytest.mark.parametrize(("name", "settings"), [
        ("CrossEntropyLoss", {}), ("CrossEntropyLoss", {"avg_non_ignore": True}),
        ("CrossEntropyLoss", {"class_weight": [0.5, 1.0, 2.0, 3.0, 4.0]}),
        ("CrossEntropyLoss", {"use_sigmoid": True}), ("CrossEntropyLoss", {"use_sigmoid": True, "avg_non_ignore": True}),
        ("DiceLoss", {}), ("DiceLoss", {"naive_dice": True, "eps": 0.5}), ("DiceLoss", {"use_sigmoid": False, "ignore_index": 0}),
        ("DiceLoss", {"activate": False}),
    ])
    def test_losses(self, theirs: Callable[[str], ModuleType], name: str, settings: dict) -> None:
        """Values and gradients. Their FocalLoss cannot be run on a CPU with index maps; see the next test."""
        file = "cross_entropy_loss" if name == "CrossEntropyLoss" else "dice_loss"
        classes = [getattr(theirs(file), name), MODELS.get(name)]
        random = torch.Generator().manual_seed(0)
        logit = 3 * torch.randn(2, 5, 6, 7, generator=random)
        label = torch.randint(0, 5, (2, 6, 7), generator=random)
        label[:, 0] = 255
        weights = torch.rand((2, 6, 7) if name == "CrossEntropyLoss" else (2,), generator=random)
        for reduction, weight, factor in itertools.product(("mean", "sum", "none"), (None, weights), (None, 11)):
            if (reduction, factor) == ("sum", 11):
                continue  # an error in both
            results = []
            for cls in classes:
                x = logit.clone().requires_grad_()
                value = cls(reduction=reduction, loss_weight=0.7, **settings)(x, label, weight, factor, ignore_index=255)
                value.sum().backward()
                results.append((value.detach(), x.grad))
            torch.testing.assert_close(*results, rtol=1e-5, atol=1e-6)

    @pytest.mark.parametrize("settings", [
        {}, {"alpha": [0.1, 0.2, 0.3, 0.4], "class_weight": [1.0, 2.0, 3.0, 4.0]}, {"gamma": 0.5},
    ])
    def test_focal_loss_and_accuracy(self, theirs: Callable[[str], ModuleType], settings: dict) -> None:
        random = torch.Generator().manual_seed(0)
        logit, label = torch.randn(2, 4, 6, 7, generator=random), torch.randint(0, 2, (2, 4, 6, 7), generator=random)
        pixels = torch.rand(2 * 6 * 7, generator=random)
        for reduction in ("mean", "sum", "none"):
            for weight, factor in ((None, None), (pixels, None if reduction == "sum" else 11)):
                both = [cls(reduction=reduction, **settings)(logit, label, weight, factor)
                        for cls in (theirs("focal_loss").FocalLoss, MODELS.get("FocalLoss"))]
                torch.testing.assert_close(*both, rtol=1e-5, atol=1e-6)
        from mmseg.models.losses import accuracy

        for settings in ({}, {"topk": (1, 3)}, {"ignore_index": 1, "topk": 2}):
            both = [function(logit, label[:, 0], **settings) for function in (theirs("accuracy").accuracy, accuracy)]
            torch.testing.assert_close(*both)

    def test_data_preprocessor(self, package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from mmengine.structures import PixelData

        import mmseg.utils
        from mmseg.structures import SegDataSample

        parent = ModuleType("onedl_utils")
        parent.__path__ = [str(package / "utils")]
        monkeypatch.setitem(sys.modules, "onedl_utils", parent)
        for name in ("onedl_utils.misc", "onedl_utils.typing_utils"):
            monkeypatch.delitem(sys.modules, name, raising=False)
        monkeypatch.setattr(mmseg.utils, "stack_batch", importlib.import_module("onedl_utils.misc").stack_batch, raising=False)
        with monkeypatch.context() as patch:
            patch.setattr(MODELS, "register_module", lambda *args, **kwargs: lambda cls: cls)
            theirs = self.load(package, "models/data_preprocessor.py").SegDataPreProcessor
        random = torch.Generator().manual_seed(0)
        images = [torch.randint(0, 256, (3, *size), generator=random, dtype=torch.uint8) for size in ((8, 12), (10, 9))]
        labels = [torch.randint(0, 5, (1, *image.shape[1:]), generator=random) for image in images]
        for settings in (dict(size=(16, 16)), dict(size_divisor=8, bgr_to_rgb=True), dict(size=(4, 20), rgb_to_bgr=True)):
            for training, count in ((True, 2), (False, 1)):
                results = []
                for cls in (theirs, MODELS.get("SegDataPreProcessor")):
                    samples = [SegDataSample(gt_sem_seg=PixelData(data=label.clone())) for label in labels[:count]]
                    settings = {**settings, "test_cfg": dict(size_divisor=32), "pad_val": 3, "seg_pad_val": 9}
                    try:
                        out = cls([1.0, 2.0, 3.0], [4.0, 5.0, 6.0], **settings)(
                            dict(inputs=images[:count], data_samples=samples), training)
                    except RuntimeError as error:  # images of several sizes that are larger than asked for
                        results.append(type(error))
                        continue
                    results.append((out["inputs"], [s.gt_sem_seg.data for s in samples], [dict(s.metainfo) for s in samples]))
                assert repr(results[0]) == repr(results[1])

    def test_iou_metric(self, package: Path) -> None:
        from mmseg.registry import METRICS

        taken = METRICS.module_dict.pop("IoUMetric", None)
        try:
            metric = self.load(package, "evaluation/metrics/iou_metric.py").IoUMetric(iou_metrics=["mIoU", "mDice"])
        finally:
            METRICS.module_dict.pop("IoUMetric", None)
            if taken is not None:
                METRICS.module_dict["IoUMetric"] = taken
        metric.dataset_meta = dict(classes=("a", "b"))
        truth = torch.tensor([[[0, 0, 1, 255]]], dtype=torch.uint8)
        sample = dict(pred_sem_seg=dict(data=torch.tensor([[[0, 1, 1, 1]]], dtype=torch.uint8)), gt_sem_seg=dict(data=truth))
        metric.process({}, [sample])
        assert metric.evaluate(1)["mIoU"] == pytest.approx(50)
        assert "prettytable" in sys.modules


def test_a_segmentor_of_1x(data: Path) -> None:
    """Its ``loss`` and ``extract_feat`` ask for parts by the names that mmsegmentation's base class has."""
    from mmseg.models.segmentors import EncoderDecoder
    from mmseg.utils import add_prefix, stack_batch

    class Plugin(EncoderDecoder):
        def extract_feat(self, inputs: torch.Tensor) -> Any:
            features = self.backbone(inputs)
            return self.neck(features) if self.with_neck else features

        def loss(self, inputs: torch.Tensor, data_samples: Any) -> dict[str, torch.Tensor]:
            features = self.extract_feat(inputs)
            assert self.with_decode_head and not self.align_corners
            losses = add_prefix(self.decode_head.loss(features, data_samples, self.train_cfg), "own")
            if self.with_auxiliary_head:
                losses.update(self._auxiliary_head_forward_train(features, data_samples))
            return losses

    def head(channels: int) -> dict[str, Any]:
        return dict(type="FCNHead", in_channels=channels, channels=8, num_convs=1, num_classes=3,
                    in_index=-1 if channels == 64 else 2)

    backbone = dict(type="ResNetV1c", depth=18, base_channels=8, stem_channels=8)
    model = Plugin(backbone, head(64), auxiliary_head=head(32))
    assert model.out_channels == 3
    sample = SegDataSample(gt_sem_seg=PixelData(data=torch.zeros(1, 64, 64, dtype=torch.long)), metainfo=dict(img_shape=(64, 64)))
    losses = model.loss(torch.zeros(2, 3, 64, 64), [sample, sample])
    assert {name.partition(".")[0] for name in losses} == {"own", "aux"}
    assert stack_batch([torch.zeros(3, 4, 4)], size=(8, 8))[0].shape == (1, 3, 8, 8)
