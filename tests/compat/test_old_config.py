"""Configurations of mmsegmentation 0.x, written for the purpose: every key of the table, held against its own formulas."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partialmethod
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper

from mmseg.apis import build_runner, register_all_modules
from mmseg.compat.old_config import is_old, upgrade_config, upgrade_settings
from mmseg.compat.upgrade_files import upgrade_files
from mmseg.engine import check_config, load_config
from mmseg.engine.preflight.config import config_findings
from mmseg.engine.runner import LesionRunner
from mmseg.registry import MODELS
from mmseg.utils.errors import UserError
from mmseg.utils.paths import find_weights

MODEL = """
norm_cfg = dict(type='SyncBN', requires_grad=True)
model = dict(
    type='EncoderDecoder',
    pretrained='open-mmlab://resnet18_v1c',
    backbone=dict(type='ResNetV1c', depth=18, base_channels=8, stem_channels=8, norm_cfg=norm_cfg, norm_eval=False),
    decode_head=dict(
        type='FCNHead', in_channels=64, in_index=3, channels=8, num_convs=1, concat_input=False, dropout_ratio=-1, num_classes=5,
        norm_cfg=norm_cfg, align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, use_mask=False, loss_weight=0.7)),
    auxiliary_head=dict(
        type='FCNHead', in_channels=32, in_index=2, channels=8, num_convs=1, num_classes=5, norm_cfg=norm_cfg,
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=0.4)),
    train_cfg=dict(),
    test_cfg=dict(mode='slide', crop_size=(48, 64), stride=(32, 40)))
"""

DATA = """
dataset_type = 'CustomDataset'
data_root = 'data/old'
img_norm_cfg = dict(mean=[116.5, 56.4, 16.3], std=[80.2, 41.2, 13.3], to_rgb=True)
crop_size = (48, 64)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', reduce_zero_label=True),
    dict(type='Resize', img_scale=(240, 160), ratio_range=(0.5, 2.0)),
    dict(type='RandomCrop', crop_size=crop_size, cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.3, direction='vertical'),
    dict(type='RandomRotate', prob=0.25, degree=20, pad_val=0, seg_pad_val=255),
    dict(type='PhotoMetricDistortion', brightness_delta=16, contrast_range=(0.8, 1.2)),
    dict(type='Normalize', **img_norm_cfg),
    dict(type='Pad', size=crop_size, pad_val=0, seg_pad_val=255),
    dict(type='DefaultFormatBundle'),
    dict(type='Collect', keys=['img', 'gt_semantic_seg']),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(
        type='MultiScaleFlipAug', img_scale=(240, 160), img_ratios=[0.5, 1.0], flip=True, flip_direction='vertical',
        transforms=[
            dict(type='Resize', keep_ratio=True), dict(type='RandomFlip'), dict(type='Normalize', **img_norm_cfg),
            dict(type='ImageToTensor', keys=['img']), dict(type='Collect', keys=['img'])
        ])
]
data = dict(
    samples_per_gpu=2, workers_per_gpu=0,
    train=dict(
        type='RepeatDataset', times=40,
        dataset=dict(
            type=dataset_type, data_root=data_root, img_dir='img/train', ann_dir='ann/train', split='train.txt',
            img_suffix='.png', classes=('a', 'b', 'c', 'd', 'e'), palette=[[i, i, i] for i in range(5)],
            pipeline=train_pipeline)),
    val=dict(type=dataset_type, data_root=data_root, img_dir='img/val', ann_dir='ann/val', pipeline=test_pipeline),
    test=dict(type=dataset_type, data_root=data_root, img_dir='img/test', ann_dir='ann/test', pipeline=test_pipeline))
"""

RUNTIME = """
log_config = dict(interval=7, hooks=[dict(type='TextLoggerHook', by_epoch=False), dict(type='TensorboardLoggerHook'),
                                     dict(type='PaviLoggerHook')])
dist_params = dict(backend='gloo', port=29501)
log_level = 'WARNING'
load_from = None
resume_from = 'old.pth'
workflow = [('train', 1)]
cudnn_benchmark = True
find_unused_parameters = True
custom_imports = dict(imports=['json'], allow_failed_imports=False)
"""

SCHEDULE = """
optimizer = dict(type='SGD', lr=0.02, momentum=0.9, weight_decay=0.0005,
                 paramwise_cfg=dict(custom_keys={'decode_head': dict(lr_mult=10.)}))
optimizer_config = dict(grad_clip=dict(max_norm=35, norm_type=2))
lr_config = dict(policy='poly', power=0.9, min_lr=1e-4, by_epoch=False, warmup='linear', warmup_iters=15, warmup_ratio=1e-3)
runner = dict(type='IterBasedRunner', max_iters=60)
checkpoint_config = dict(by_epoch=False, interval=20, max_keep_ckpts=2)
evaluation = dict(interval=30, metric=['mIoU', 'mDice'], save_best='mDice', pre_eval=True)
"""


@pytest.fixture(autouse=True, scope="module")
def _registered() -> None:
    register_all_modules()


@pytest.fixture
def old(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes the old configuration, four bases and a leaf, and gives the leaf's path."""

    def write(leaf: str = "", **parts: str) -> Path:
        texts = dict(model=MODEL, data=DATA, runtime=RUNTIME, schedule=SCHEDULE) | parts
        for name, text in texts.items():
            path = tmp_path / "old/_base_" / f"{name}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        path = tmp_path / "old/leaf/leaf.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"_base_ = {[f'../_base_/{name}.py' for name in texts]}\n{leaf}")
        return path

    return write


@pytest.fixture
def new(old: Callable[..., Path]) -> Callable[..., Config]:
    return lambda leaf="", **parts: load_config(old(leaf, **parts), tell=False)


class TestNumbers:
    def test_data(self, new: Callable[..., Config]) -> None:
        config = new()
        assert (config.train_dataloader.batch_size, config.train_dataloader.num_workers) == (2, 0)
        assert config.train_dataloader.dataset.to_dict() == dict(
            type="BaseSegDataset", data_root="data/old", data_prefix=dict(img_path="img/train", seg_map_path="ann/train"),
            ann_file="train.txt", img_suffix=".png", size=(240, 160), reduce_zero_label=True,
            metainfo=dict(classes=tuple("abcde"), palette=[[i, i, i] for i in range(5)]))
        assert config.test_dataloader.dataset.to_dict() == dict(
            type="BaseSegDataset", data_root="data/old", data_prefix=dict(img_path="img/test", seg_map_path="ann/test"),
            size=(240, 160), test_mode=True)
        assert config.val_dataloader.batch_size == config.test_dataloader.batch_size == 1
        assert (config.train_dataloader.sampler.type, config.test_dataloader.sampler.shuffle) == ("InfiniteSampler", False)

    def test_pipelines(self, new: Callable[..., Config]) -> None:
        config = new()
        assert config.data_preprocessor.to_dict() == dict(
            type="LesionDataPreprocessor", mean=[116.5, 56.4, 16.3], std=[80.2, 41.2, 13.3], target="index",
            train_transforms=[
                dict(type="BatchLegacyAffine", crop_size=(48, 64), scale=(0.5, 2.0), cat_max_ratio=0.75, flip_prob=0.3,
                     flip_direction="vertical", rotation=(-20.0, 20.0), rotation_prob=0.25),
                dict(type="BatchLegacyDistortion", brightness_delta=16, contrast_range=(0.8, 1.2))])
        assert config.model.test_cfg.to_dict() == dict(
            mode="slide", crop_size=(48, 64), stride=(32, 40), flips=["vertical"], thresholds=None)

    def test_old_names_of_the_probability(self, new: Callable[..., Config]) -> None:
        config = new(data=DATA.replace("prob=0.3, direction='vertical'", "flip_ratio=0.4"))
        assert config.data_preprocessor.train_transforms[0].flip_prob == 0.4
        assert "flip_direction" not in config.data_preprocessor.train_transforms[0]

    def test_model_and_loss_weights(self, new: Callable[..., Config]) -> None:
        model = new().model
        assert model.decode_head.loss_decode.to_dict() == dict(
            type="CrossEntropyLoss", use_sigmoid=False, use_mask=False, loss_weight=0.7)
        assert model.auxiliary_head.loss_decode.loss_weight == 0.4
        assert "pretrained" not in model
        assert model.backbone.init_cfg.to_dict() == dict(type="Pretrained", checkpoint="./model/resnet18_v1c.pth")

    def test_isdnets_shallow_branch_begins_with_its_authors_weights(self, new: Callable[..., Config]) -> None:
        """Their code names the file, their configs do not."""
        leaf = "model = dict(decode_head=[dict(type='RefineASPPHead'), dict(type='ISDHead', {})])"
        parts = dict(model="model = dict(type='ISDNet')")
        head = new(leaf.format(""), **parts).model.decode_head[1]
        assert head.shallow_init_cfg.to_dict() == dict(type="Pretrained", checkpoint="./model/STDCNet813M_73.91.tar")
        assert new(leaf.format("shallow_init_cfg=None"), **parts).model.decode_head[1].shallow_init_cfg is None

    def test_the_loggers_of_weights_and_biases(self, new: Callable[..., Config]) -> None:
        hook = "dict(type='WandbLoggerHook', init_kwargs=dict(project='eyes'))"
        config = new(f"log_config = dict(_delete_=True, interval=5, hooks=[{hook}, dict(type='WandbLoggerHook')])")
        kinds = [backend.to_dict() for backend in config.visualizer.vis_backends[1:]]
        assert kinds == [dict(type="WandbVisBackend", init_kwargs=dict(project="eyes")), dict(type="WandbVisBackend")]
        assert [str(f) for f in config_findings(config) if "vis_backends" in f.where] == []

    def test_several_folders_in_one_data_set(self, new: Callable[..., Config]) -> None:
        with pytest.raises(UserError, match=r"data.*\.img_dir: got 2 of them, expected one: write a data set for each"):
            new(data=DATA.replace("img_dir='img/test'", "img_dir=['img/test', 'img/more']"))

    def test_dice_is_the_old_one(self, new: Callable[..., Config]) -> None:
        leaf = "model = dict(decode_head=dict(loss_decode=dict(_delete_=True, type='DiceLoss', smooth=0.5, exponent=1)))"
        cfg = new(leaf).model.decode_head.loss_decode.to_dict()
        assert cfg == dict(type="LegacyDiceLoss", smooth=0.5, exponent=1)
        random = np.random.RandomState(0)
        logit, label = random.standard_normal((2, 3, 4, 5)), random.randint(0, 3, (2, 4, 5))
        label[:, 0] = 255
        p = np.exp(logit) / np.exp(logit).sum(1, keepdims=True)
        losses = np.zeros((2, 3))
        for b, c in np.ndindex(2, 3):
            overlap = bottom = 0.0
            for y, x in np.ndindex(4, 5):
                t = float(min(label[b, y, x], 2) == c)
                overlap += p[b, c, y, x] * t * (label[b, y, x] != 255)
                bottom += p[b, c, y, x] + t
            losses[b, c] = 1 - (2 * overlap + 0.5) / (bottom + 0.5)
        pair = torch.from_numpy(logit), torch.from_numpy(label)
        assert MODELS.build(cfg)(*pair).item() == pytest.approx(losses.mean(), rel=1e-5)
        weighted = MODELS.build({**cfg, "class_weight": [1.0, 2.0, 3.0], "ignore_index": 0, "reduction": "sum"})
        valid = torch.where(pair[1] == 255, 0, pair[1])  # 0 is ignored now, and left out as a class
        for b, c in np.ndindex(2, 3):
            t = valid[b].numpy() == c
            losses[b, c] = (c + 1) * (c > 0) * (1 - (2 * p[b, c][t].sum() + 0.5) / (p[b, c].sum() + t.sum() + 0.5))
        assert weighted(pair[0], valid).item() == pytest.approx(losses.sum() / 3, rel=1e-5)

    def test_schedule_and_runtime(self, new: Callable[..., Config]) -> None:
        config = new()
        assert config.optim_wrapper.to_dict() == dict(
            type="OptimWrapper", optimizer=dict(type="SGD", lr=0.02, momentum=0.9, weight_decay=0.0005),
            paramwise_cfg=dict(custom_keys=dict(decode_head=dict(lr_mult=10.0))), clip_grad=dict(max_norm=35, norm_type=2))
        assert config.train_cfg.to_dict() == dict(type="IterBasedTrainLoop", max_iters=60, val_interval=30)
        assert config.default_hooks.checkpoint.to_dict() == dict(
            type="CheckpointHook", interval=20, max_keep_ckpts=2, save_best="mDice")
        assert config.default_hooks.logger.interval == 7
        assert [b.type for b in config.visualizer.vis_backends] == ["LocalVisBackend", "TensorboardVisBackend"]
        assert config.val_evaluator.to_dict() == dict(type="IoUMetric", iou_metrics=["mIoU", "mDice"])
        assert config.env_cfg.to_dict() == dict(cudnn_benchmark=True, dist_cfg=dict(backend="gloo"))
        assert (config.load_from, config.resume) == ("old.pth", True)
        assert (config.log_level, config.find_unused_parameters) == ("WARNING", True)
        assert config.custom_imports.imports == ["json"]

    @pytest.mark.parametrize(("section", "kind", "dtype"), [
        ("fp16 = dict(loss_scale=512.)", "AutocastOptimWrapper", "auto"),
        ("optimizer_config = dict(_delete_=True, type='Fp16OptimizerHook', loss_scale=512.)", "AutocastOptimWrapper", "auto"),
        ("", "OptimWrapper", None),
    ])
    def test_half_precision(self, new: Callable[..., Config], section: str, kind: str, dtype: str | None) -> None:
        wrapper = new(section).optim_wrapper
        assert (wrapper.type, wrapper.get("dtype")) == (kind, dtype)

    def test_the_oldest_spellings(self, new: Callable[..., Config]) -> None:
        """``total_iters`` before the runner, the model's test_cfg at the top."""
        config = new(
            "train_cfg = dict()\ntest_cfg = dict(mode='whole')",
            model=re.sub(r"    train_cfg=dict\(\),\n    test_cfg=.*\)\)", "    )", MODEL),
            schedule=SCHEDULE.replace("runner = dict(type='IterBasedRunner', max_iters=60)", "total_iters = 60"))
        assert config.train_cfg.max_iters == 60
        assert config.model.test_cfg.mode == "whole"
        assert config.test_cfg.type == "TestLoop"


def expected_rates(base: float, lr: dict[str, Any], most: int) -> list[float]:
    """mmcv 1.x, with which mmsegmentation 0.x trains, by its formulas, one iteration after the other."""
    rates = []
    for it in range(most):
        if lr["policy"] == "poly":
            rate = (base - lr.get("min_lr", 0)) * (1 - it / most) ** lr.get("power", 1) + lr.get("min_lr", 0)
        else:
            passed = it // lr["step"] if isinstance(lr["step"], int) else len([s for s in lr["step"] if it >= s])
            rate = max(base * lr.get("gamma", 0.1) ** passed, lr.get("min_lr", 0))
        if lr.get("warmup") == "linear" and it < lr["warmup_iters"]:
            rate *= 1 - (1 - it / lr["warmup_iters"]) * (1 - lr["warmup_ratio"])
        rates.append(rate)
    return rates


@pytest.fixture(scope="module")
def runner(run_config: Callable[..., Config], tmp_path_factory: pytest.TempPathFactory) -> LesionRunner:
    """About to train for 60 iterations."""
    config = run_config(tmp_path_factory.mktemp("runner"), train_cfg__max_iters=60, param_scheduler__1__end=60)
    runner: Any = build_runner(config)
    assert runner.train_loop.max_iters == 60  # which builds the loop
    return runner


def rates_of(runner: Any, schedules: Any) -> list[list[float]]:
    """The rates of two groups, of 0.2 and 0.02, at every iteration of the runner."""
    parameters = [torch.nn.Parameter(torch.zeros(1)) for _ in range(2)]
    optimizer = torch.optim.SGD([dict(params=[parameters[0]], lr=0.2), dict(params=[parameters[1]])], lr=0.02)
    runner.optim_wrapper = OptimWrapper(optimizer)
    (schedule,) = runner.build_param_scheduler(schedules)
    rates: list[list[float]] = [[], []]
    for _ in range(runner.max_iters):
        for of_group, group in zip(rates, optimizer.param_groups, strict=True):
            of_group.append(group["lr"])
        runner.optim_wrapper.step()
        schedule.step()
    return rates


@pytest.mark.parametrize("lr", [
    dict(policy="poly", power=0.9, min_lr=1e-4),
    dict(policy="poly", power=0.9, min_lr=1e-4, warmup="linear", warmup_iters=15, warmup_ratio=1e-3),
    dict(policy="poly", warmup="linear", warmup_iters=7, warmup_ratio=0.1),
    dict(policy="step", step=[20, 45], gamma=0.3),
    dict(policy="step", step=16, min_lr=1e-4, warmup="linear", warmup_iters=5, warmup_ratio=0.5),
], ids=lambda lr: f"{lr['policy']}-{lr.get('warmup')}-{lr.get('min_lr')}")
def test_the_learning_rate_of_every_iteration(new: Callable[..., Config], runner: LesionRunner, lr: dict[str, Any]) -> None:
    rates = rates_of(runner, new(f"lr_config = dict(_delete_=True, by_epoch=False, **{lr})").param_scheduler)
    assert rates[0] == pytest.approx(expected_rates(0.2, lr, 60), rel=1e-12)
    assert rates[1] == pytest.approx(expected_rates(0.02, lr, 60), rel=1e-12)


def test_the_learning_rate_of_the_config_for_deepglobe(repo: Path, runner: LesionRunner) -> None:
    schedules = load_config(repo / "configs/isdnet/isdnet_r18-d8_1224x1224_80k_DeepGlobe.py").param_scheduler
    lr = dict(policy="poly", power=0.9, min_lr=1e-4)
    assert rates_of(runner, schedules)[1] == pytest.approx(expected_rates(0.02, lr, 60), rel=1e-12)
    assert rates_of(runner, schedules[0])[1] == pytest.approx(expected_rates(0.02, lr, 60), rel=1e-12)


class TestNotes:
    def test_every_key_is_told(self, old: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
        path = old("seed = 3\nmy_settings = dict(a=1)")
        load_config(path)
        text = capsys.readouterr().err
        assert text.startswith(f"note: {path} is a config of mmsegmentation 0.x")
        for key in ("model.pretrained", "optimizer", "optimizer_config.grad_clip", "lr_config", "runner", "checkpoint_config",
                    "evaluation.interval", "log_config", "dist_params", "resume_from", "cudnn_benchmark", "seed", "data.train",
                    "data.samples_per_gpu"):
            assert re.search(rf"(?m)^  {re.escape(key)}.* -> ", text), key
        for key in ("workflow", "dist_params.port", "log_config.hooks:PaviLoggerHook", "evaluation.pre_eval", "my_settings",
                    "data.train.pipeline.DefaultFormatBundle",
                    "data.train:RepeatDataset"):
            assert re.search(rf"(?m)^  {re.escape(key)}: dropped, \S", text), key
        assert "img_ratios: dropped, [0.5, 1.0]: images are tested at one scale" in text
        assert "Traceback" not in text

    def test_overrides_by_old_and_new_names(self, old: Callable[..., Path]) -> None:
        config = load_config(old(), {"data.samples_per_gpu": 8, "optimizer.lr": 0.5, "train_cfg.max_iters": 9}, tell=False)
        assert (config.train_dataloader.batch_size, config.optim_wrapper.optimizer.lr, config.train_cfg.max_iters) == (8, 0.5, 9)

    def test_an_override_of_the_loop_of_the_oldest_configs(self, old: Callable[..., Path]) -> None:
        """They have a ``train_cfg`` of their own, for the model."""
        model = MODEL.replace("    train_cfg=dict(),\n    test_cfg", "    test_cfg")
        config = load_config(old("train_cfg = dict()", model=model), {"train_cfg.max_iters": 9}, tell=False)
        assert config.train_cfg.max_iters == 9

    def test_overrides_of_what_a_translation_sets(self, old: Callable[..., Path]) -> None:
        def model(**options: Any) -> Config:
            given = {f"model.{key.replace('__', '.')}": value for key, value in options.items()}
            return load_config(old(), given, tell=False).model

        assert model(backbone__init_cfg=None).backbone.init_cfg is None
        assert model(backbone__init_cfg=dict(type="Kaiming")).backbone.init_cfg == dict(type="Kaiming")
        assert model(backbone__init_cfg__checkpoint="a.pth").backbone.init_cfg == dict(type="Pretrained", checkpoint="a.pth")
        assert model(test_cfg__thresholds=0.3).test_cfg.thresholds == 0.3
        assert model(test_cfg__flips=["horizontal"]).test_cfg.flips == ["horizontal"]
        assert model().test_cfg.flips == ["vertical"]

    def test_weights_that_an_override_replaces_are_told(
        self, old: Callable[..., Path], capsys: pytest.CaptureFixture[str]
    ) -> None:
        load_config(old(), {"model.backbone.init_cfg": None, "model.test_cfg.thresholds": 0.3})
        text = capsys.readouterr().err
        assert "  model.pretrained: dropped, model.backbone.init_cfg is given" in text
        assert "thresholds=None" not in text

    @pytest.mark.parametrize("auto", [False, True])
    def test_auto_resume_keeps_resume_from(self, new: Callable[..., Config], auto: bool) -> None:
        config = new(f"auto_resume = {auto}")
        assert (config.load_from, config.resume) == ("old.pth", True)
        assert new(f"auto_resume = {auto}\nresume_from = None").resume is auto

    def test_new_configs_are_left_alone(self, repo: Path) -> None:
        for path in (repo / "configs").glob("*net/*.py"):
            assert not is_old(Config.fromfile(path))
        assert not is_old(dict(optimizer=dict(type="SGD"), optim_wrapper=dict()))


class TestMistakes:
    @pytest.mark.parametrize(("leaf", "message"), [
        ("runner = dict(_delete_=True, type='EpochBasedRunner', max_epochs=3)", r"runner: got .*IterBasedRunner"),
        ("lr_config = dict(policy='CosineAnnealing')", "lr_config: expected policy='poly'"),
        ("checkpoint_config = dict(by_epoch=True)", "checkpoint_config.by_epoch: got True"),
        ("optim_wrapper = dict(type='OptimWrapper')", r"mixes mmsegmentation 0\.x .* and 1\.x \(optim_wrapper\)"),
        ("data = dict(train=dict(_delete_=True, data_root='x'))", "data.train.type: missing"),
        ("data = dict(train='x')", "data.train: got 'x', expected a data set"),
        ("data = dict(_delete_=True, samples_per_gpu=2)", "data: got no train, val or test, expected one of them at least"),
        ("data = dict(_delete_=True)", "data: got no train, val or test, expected one of them at least"),
    ])
    def test_what_is_not_possible(self, old: Callable[..., Path], leaf: str, message: str) -> None:
        with pytest.raises(UserError, match=rf"(?s)leaf\.py: .*{message}"):
            load_config(old(leaf), tell=False)

    @pytest.mark.parametrize(("before", "after", "message"), [
        ("to_rgb=True", "to_rgb=False", r"Normalize\.to_rgb: got False"),
        ("ratio_range=(0.5, 2.0)", "keep_ratio=False", r"Resize\.keep_ratio: got False"),
        ("img_scale=(240, 160), ratio", "img_scale=[(240, 160), (480, 320)], ratio", r"Resize\.img_scale: got 2 sizes"),
        ("degree=20", "degree=20, auto_bound=True", r"RandomRotate\.auto_bound"),
        ("dict(type='RandomFlip'), dict(type='Normalize'", "dict(type='CLAHE'), dict(type='Normalize'",
         r"data\.val\.pipeline: got CLAHE, which has no counterpart when a model is tested"),
    ])
    def test_pipelines(self, old: Callable[..., Path], before: str, after: str, message: str) -> None:
        assert before in DATA
        with pytest.raises(UserError, match=message):
            load_config(old(data=DATA.replace(before, after)), tell=False)

    @pytest.mark.parametrize(("key", "other"), [
        ("pipeline", "[*train_pipeline[:4], *train_pipeline[5:]]"),
        ("pipeline", "[*train_pipeline[:7], dict(type='Normalize', mean=[9., 9., 9.], std=[1., 1., 1.]), *train_pipeline[8:]]"),
    ])
    def test_data_sets_that_are_augmented_otherwise(self, old: Callable[..., Path], key: str, other: str) -> None:
        """What is random happens to the batch, whose images come from both."""
        two = "_a = data['train']['dataset']\ndata['train'] = [_a, dict(_a, {})]\n"
        assert len(load_config(old(data=DATA + two.format("")), tell=False).train_dataloader.dataset.datasets) == 2
        with pytest.raises(UserError, match=r"data\.train\.1\.pipeline: differs from data\.train\.0\.pipeline"):
            load_config(old(data=DATA + two.format(f"{key}={other}")), tell=False)

    @pytest.mark.parametrize(("part", "text", "before", "after", "message"), [
        ("data", DATA, "'PhotoMetricDistortion'", "'PhotoMetricDistorsion'", "no class 'PhotoMetricDistorsion'"),
        ("data", DATA, "dataset_type = 'CustomDataset'", "dataset_type = 'IDRIDDataset'", "did you mean 'IDRiDDataset'"),
        ("model", MODEL, "'FCNHead', in_channels=64", "'FCNHed', in_channels=64", "'FCNHed' is registered; did you mean"),
        ("model", MODEL, "'ResNetV1c'", "'ResNetV1d'", "no class 'ResNetV1d' is registered; did you mean 'ResNetV1c'"),
    ])
    def test_a_type_that_is_registered_nowhere(
        self, old: Callable[..., Path], part: str, text: str, before: str, after: str, message: str
    ) -> None:
        config = load_config(old(**{part: text.replace(before, after)}), tell=False)
        with pytest.raises(UserError, match=message):
            check_config(config)

    def test_classes_of_ones_own_are_told_all_at_once(self, old: Callable[..., Path]) -> None:
        """As M2MRF's authors have them: a backbone, a loss and a data set that only their own code registers."""
        model = MODEL.replace("'ResNetV1c'", "'HRNet_M2MRF_A'")
        model = model.replace("'CrossEntropyLoss', use_sigmoid=False, use", "'BinaryLoss', use")
        config = load_config(old(model=model, data=DATA.replace("'CustomDataset'", "'FundusLesions'")), tell=False)
        with pytest.raises(UserError) as caught:
            check_config(config)
        lines = str(caught.value).splitlines()
        for key, name in (("model.backbone", "HRNet_M2MRF_A"), ("model.decode_head.loss_decode", "BinaryLoss"),
                          ("train_dataloader.dataset", "FundusLesions")):
            (line,) = [line for line in lines if line.strip().startswith(f"{key}.type: no class '{name}' is registered")]
            assert "custom_imports" in line
        assert "did you mean 'DiceLoss'?" in str(caught.value)


class TestPretrained:
    @pytest.mark.parametrize(("files", "source", "expected"), [
        ([], "open-mmlab://resnet18_v1c", "resnet18_v1c.pth"),
        (["resnet18_v1c-b5776b93.pth"], "open-mmlab://resnet18_v1c", "resnet18_v1c-b5776b93.pth"),
        (["resnet18_v1c-b5776b93.pth", "resnet18_8xb32.pth"], "torchvision://resnet18", "resnet18.pth"),
        (["resnet18-5c106cde.pth"], "https://x.org/models/resnet18-5c106cde.pth", "resnet18-5c106cde.pth"),
    ])
    def test_is_looked_for_at_home(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: list[str], source: str, expected: str
    ) -> None:
        monkeypatch.setenv("SDCNET_HOME", str(tmp_path))
        (tmp_path / "model").mkdir()
        for name in files:
            (tmp_path / "model" / name).touch()
        assert find_weights(source) == f"{tmp_path}/model/{expected}"

    def test_a_path_stays(self) -> None:
        assert find_weights("weights/a.pth") == "weights/a.pth"


class TestUpgrade:
    def test_files_are_kept_apart_and_give_the_same(self, old: Callable[..., Path], tmp_path: Path) -> None:
        path = old("model = dict(decode_head=dict(channels=16))\ndata = dict(samples_per_gpu=4)\noptimizer = dict(lr=0.1)")
        written, notes = upgrade_files(path, tmp_path / "new")
        assert [p.relative_to(tmp_path / "new").as_posix() for p in written] == [
            "_base_/model.py", "_base_/data.py", "_base_/runtime.py", "_base_/schedule.py", "leaf/leaf.py"]
        assert load_config(written[-1]).to_dict() == load_config(path, tell=False).to_dict()
        assert "optimizer" in notes.renamed
        leaf = written[-1].read_text()
        assert leaf.startswith("_base_ = ['../_base_/model.py', '../_base_/data.py'")
        assert "lr=0.1" in leaf and "channels=16" in leaf and "batch_size=4" in leaf
        assert "momentum" not in leaf and "ResNetV1c" not in leaf and "img_path" not in leaf
        assert "{{$SDCNET_HOME:.}}/model/resnet18_v1c.pth" in written[0].read_text()

    @pytest.mark.parametrize("home", ["./", "{}/", "{}/.", ""])
    def test_however_the_home_is_written(
        self, old: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: str
    ) -> None:
        monkeypatch.setenv("SDCNET_HOME", home.format(tmp_path))
        written, _ = upgrade_files(old(), tmp_path / "new")
        assert "{{$SDCNET_HOME:.}}/model/resnet18_v1c.pth" in written[0].read_text()
        monkeypatch.setenv("SDCNET_HOME", "/elsewhere")
        assert load_config(written[-1]).model.backbone.init_cfg.checkpoint == "/elsewhere/model/resnet18_v1c.pth"

    def test_what_does_not_give_the_same_is_removed(
        self, old: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("mmseg.compat.upgrade_files._difference", lambda new, base: {})
        (tmp_path / "new").mkdir()
        (tmp_path / "new/own.txt").touch()
        with pytest.raises(UserError, match=r"leaf\.py: does not give back what .*leaf\.py is"):
            upgrade_files(old(), tmp_path / "new")
        assert [path for path in (tmp_path / "new").rglob("*") if path.is_file()] == [tmp_path / "new/own.txt"]

    def test_a_config_of_today(self, repo: Path, demo_config: Path, tmp_path: Path) -> None:
        for path in (demo_config, repo / "configs/default_runtime.py"):
            with pytest.raises(UserError, match=rf"{path.name}: got no config of mmsegmentation 0\.x"):
                upgrade_files(path, tmp_path / "new")
        assert not (tmp_path / "new").exists()

    def test_its_text_is_utf_8(self, old: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = old()
        path.write_text(f"{path.read_text()}work_dir = '眼底'\n", encoding="utf-8")
        for name in ("read_text", "write_text"):  # a locale that is not UTF-8
            monkeypatch.setattr(Path, name, partialmethod(getattr(Path, name), encoding="gbk"))
        written, _ = upgrade_files(path, tmp_path / "new")
        assert load_config(written[-1]).work_dir == "眼底"

    def test_bases_that_are_computed(self, old: Callable[..., Path], tmp_path: Path) -> None:
        path = old()
        path.write_text(path.read_text().replace("_base_ = [", "_base_ = [] + ["))
        with pytest.raises(UserError, match=r"leaf\.py: cannot be translated by itself: .* written out"):
            upgrade_files(path, tmp_path / "new")

    def test_its_text_is_something_else(self, old: Callable[..., Path], tmp_path: Path) -> None:
        path = old()
        path.write_bytes(path.read_bytes() + "# 眼底\n".encode("gbk"))
        with pytest.raises(UserError, match=r"leaf\.py: cannot be read as a config: .*utf-8"):
            upgrade_files(path, tmp_path / "new")

    def test_what_a_leaf_deletes_is_deleted(self, old: Callable[..., Path], tmp_path: Path) -> None:
        path = old("optimizer = dict(_delete_=True, type='AdamW', lr=1e-4)\nmodel = dict(pretrained=None)")
        written, _ = upgrade_files(path, tmp_path / "new")
        config = load_config(written[-1])
        assert config.optim_wrapper.optimizer.to_dict() == dict(type="AdamW", lr=1e-4)
        assert "init_cfg" not in config.model.backbone

    def test_nothing_is_overwritten(self, old: Callable[..., Path], tmp_path: Path) -> None:
        upgrade_files(old(), tmp_path / "new")
        with pytest.raises(UserError, match="exists already"):
            upgrade_files(old(), tmp_path / "new")


def test_parts_of_a_config_are_translated_alone() -> None:
    new, _ = upgrade_settings(dict(lr_config=dict(policy="step", step=5), evaluation=dict(interval=3)))
    assert new == dict(param_scheduler=[dict(type="LegacyLR", policy="step", step=5)], train_cfg=dict(val_interval=3))


@pytest.mark.usefixtures("briefly")
def test_an_old_config_of_lesions_trains(tiny_data: Path, old: Callable[..., Path], tmp_path: Path) -> None:
    """From the old file to checkpoints and scores, on one of this project's data sets."""
    data = DATA.replace("'CustomDataset'", "'SyntheticFundusDataset'").replace("data/old", str(tiny_data))
    data = data.replace("reduce_zero_label=True", "")
    path = old("runner = dict(max_iters=6)\nevaluation = dict(interval=6)\nresume_from = None\ncustom_imports = None\n"
               "lr_config = dict(warmup_iters=3)\nlog_config = dict(hooks=[dict(type='TextLoggerHook')])", data=data)
    config = load_config(path, {"checkpoint_config.interval": 3}, tell=False)
    assert config.val_evaluator.to_dict() == dict(type="LesionMetric")
    assert config.default_hooks.checkpoint.save_best == "lesion/mDice"
    config.work_dir, config.experiment_name = str(tmp_path / "w"), "old_config"
    rates: list[dict[float, float]] = []

    class Recorder(Hook):
        def before_train_iter(self, runner: Any, *_: Any, **__: Any) -> None:
            rates.append({group["initial_lr"]: group["lr"] for group in runner.optim_wrapper.param_groups})

    runner = build_runner(config)
    runner.register_hook(Recorder())
    runner.train()
    names = {path.name for path in (tmp_path / "w").glob("*.pth")}
    assert names >= {"iter_3.pth", "iter_6.pth", "latest.pth", "best_lesion_mDice_iter_6.pth"}
    lr = dict(policy="poly", power=0.9, min_lr=1e-4, warmup="linear", warmup_iters=3, warmup_ratio=1e-3)
    for base in (0.02, 0.2):
        assert [of_groups[base] for of_groups in rates] == pytest.approx(expected_rates(base, lr, 6), rel=1e-12)


def test_a_data_set_of_lesions_that_says_test_mode(old: Callable[..., Path]) -> None:
    """And the size, as one of this project's may."""
    data = DATA.replace("'CustomDataset'", "'SyntheticFundusDataset'").replace("reduce_zero_label=True", "")
    data = data.replace("img_dir='img/test'", "test_mode=True, size=(24, 16), img_dir='img/test'")
    config = load_config(old(data=data), tell=False)
    assert config.test_dataloader.dataset == dict(
        type="SyntheticFundusDataset", split="test", data_root="data/old", size=(24, 16), test_mode=True)
    assert config.val_dataloader.dataset.size == (240, 160)


def test_upgrade_keeps_the_file_name(old: Callable[..., Path]) -> None:
    path = old()
    assert upgrade_config(Config.fromfile(path))[0].filename == str(path)
