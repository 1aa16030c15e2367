"""Every shipped configuration loads, passes the check, builds, trains one step and predicts."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData

from mmseg.apis import register_all_modules
from mmseg.apis.init import build_model
from mmseg.engine import check_config, load_config
from mmseg.engine.preflight.model import build_parts
from mmseg.structures import LESIONS, SegDataSample

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
LEAVES = sorted(path.relative_to(CONFIGS).as_posix() for path in CONFIGS.glob("*/*.py"))
BASES = sorted(path.relative_to(CONFIGS).as_posix() for path in CONFIGS.glob("_base_/models/*.py"))


def batch() -> dict:
    """Two photographs of 96x80 with a lesion of each kind."""
    generator = torch.Generator().manual_seed(0)
    inputs = [torch.randint(0, 256, (3, 80, 96), generator=generator, dtype=torch.uint8) for _ in range(2)]
    samples = []
    for _ in inputs:
        masks = torch.zeros(4, 80, 96, dtype=torch.uint8)
        for channel in range(4):
            masks[channel, 10 * channel : 10 * channel + 30, 20:60] = 1
        sample = SegDataSample(metainfo=dict(ori_shape=(80, 96), img_shape=(80, 96)))
        sample.gt_sem_seg = PixelData(data=masks)
        samples.append(sample)
    return dict(inputs=inputs, data_samples=samples)


def test_all_are_found() -> None:
    assert len(LEAVES) == 16
    assert len(BASES) == 4


@pytest.mark.parametrize("name", LEAVES)
def test_its_first_lines_tell_its_command(name: str) -> None:
    lines = (CONFIGS / name).read_text().splitlines()
    header = lines[: next(i for i, line in enumerate(lines) if not line.startswith("#"))]
    assert f"#   python tools/train.py configs/{name}" in header
    assert any(line.startswith("# Data: ") for line in header)


@pytest.mark.parametrize("name", [name for name in LEAVES if name.endswith("_cv.py")])
def test_on_a_fold_the_best_checkpoint_is_kept(name: str) -> None:
    config = load_config(CONFIGS / name)
    assert config.default_hooks.checkpoint.save_best == "lesion/mAP" and config.val_evaluator.type == "LesionMetric"


@pytest.mark.parametrize("name", LEAVES)
def test_it_passes_the_check(name: str) -> None:
    register_all_modules()
    config = load_config(CONFIGS / name)
    check_config(config)
    assert config.default_scope == "mmseg"
    assert config.randomness.seed == 0
    assert config.data_preprocessor.type == "LesionDataPreprocessor"


@pytest.mark.parametrize("name", LEAVES)
def test_first_weights_fit_the_backbone_and_are_those_that_the_documents_name(name: str) -> None:
    backbone = load_config(CONFIGS / name).model.backbone
    file = Path(backbone.init_cfg.checkpoint).name if backbone.get("init_cfg") else None
    if backbone.type == "ResNet":
        assert file in (CONFIGS.parent / "README.md").read_text()
        assert f"/SDC-Net_use/model/{file}" in (CONFIGS.parent / "docs/docker.md").read_text()
    else:
        assert backbone.type == "ResNetV1c" and (file is None or "_v1c" in file)


@pytest.mark.parametrize("name", LEAVES)
def test_every_part_of_it_is_built(name: str, tmp_path: Path) -> None:
    """As training does: optimiser, schedules, hooks, metrics; and its targets are those of its heads."""
    register_all_modules()
    config = load_config(CONFIGS / name, {"work_dir": str(tmp_path)})
    assert build_parts(config).findings == []


TRIED: set[str] = set()


@pytest.mark.parametrize("name", [*LEAVES, *BASES])
def test_it_trains_and_predicts(name: str) -> None:
    register_all_modules()
    init_default_scope("mmseg")
    config = load_config(CONFIGS / name)
    if "data_preprocessor" not in config:  # a model alone
        config.merge_from_dict(Config.fromfile(CONFIGS / "_base_/datasets/IDRiD_512x512.py").to_dict())
    for transform in config.data_preprocessor.train_transforms:
        if "crop_size" in transform:
            transform.crop_size = (64, 64)
    recipe = repr((config.model.to_dict(), config.data_preprocessor.to_dict()))
    if recipe in TRIED:
        return  # another file with the same network and preparation
    TRIED.add(recipe)
    torch.manual_seed(0)
    model = revert_sync_batchnorm(build_model(config))
    if not model.multi_label:
        model.data_preprocessor.target = "index"

    data = model.data_preprocessor(batch(), training=True)
    assert data["inputs"].shape == (2, 3, 64, 64)
    losses = model(**data, mode="loss")
    assert {"decode", "refine", "aux"} <= {key.partition(".")[0] for key in losses}
    assert all(torch.isfinite(value) for value in losses.values())
    total, _ = model.parse_losses(losses)
    total.backward()
    unused = [key for key, value in model.named_parameters() if value.requires_grad and value.grad is None]
    assert unused == []  # DistributedDataParallel would wait for their gradients
    torch.optim.SGD(model.parameters(), lr=1e-3).step()
    assert all(torch.isfinite(value).all() for value in model.parameters())

    model.eval()
    channels = model.num_classes if model.test_cfg.get("thresholds", 0.5) is None else len(LESIONS)
    with torch.inference_mode():
        for sample in model.test_step(batch()):
            probabilities = sample.probabilities.data
            assert probabilities.shape == (channels, 80, 96)
            assert torch.isfinite(probabilities).all()
            assert 0 <= probabilities.min() <= probabilities.max() <= 1
            assert sample.pred_sem_seg.data.shape == (1, 80, 96)
            assert set(sample.pred_sem_seg.data.unique().tolist()) <= set(range(1 + channels))
