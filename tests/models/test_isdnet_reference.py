"""ISDNet against its authors' model: keys, parameter counts, logits and losses under weights drawn by rule."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from isdnet_reference import REFERENCE, drawn, first_name, noise, reference_shapes
from mmengine.structures import PixelData
from torch import nn
from zoo import build, isdnet_cfg

from mmseg.structures import SegDataSample

TRAINING_ONLY = ("auxiliary_head.", "decode_head.conv_seg.", "refine_head.conv_seg_aux_", "refine_head.sr_decoder.")


@pytest.fixture(scope="module")
def model() -> nn.Module:
    model = build(isdnet_cfg(7))
    model.load_state_dict({key: drawn(key, tuple(value.shape)) for key, value in model.state_dict().items()})
    return model


def test_keys_and_shapes_are_the_authors(model: nn.Module) -> None:
    expected = {first_name(key): shape for key, shape in reference_shapes().items()}
    assert len(REFERENCE["keys"]) == 560
    assert {key: tuple(value.shape) for key, value in model.state_dict().items()} == expected


def test_logits(model: nn.Module) -> None:
    model.eval()
    with torch.no_grad():
        logits = model(noise(3, (1, 3, 192, 224)))[..., ::4, ::4].numpy()
    assert logits.shape == REFERENCE["logits"].shape == (1, 7, 48, 56)
    assert abs(REFERENCE["logits"]).max() > 10
    np.testing.assert_allclose(logits, REFERENCE["logits"], rtol=1e-4, atol=1e-4 * abs(REFERENCE["logits"]).max())


def test_losses(model: nn.Module) -> None:
    model.train()
    for module in model.modules():
        if isinstance(module, nn.Dropout2d):
            module.eval()
    labels = np.random.RandomState(5).randint(0, 7, (2, 1, 192, 224))
    samples = []
    for label in labels:
        samples.append(SegDataSample())
        samples[-1].gt_sem_seg = PixelData(data=torch.from_numpy(label))
    statistics = {key: value.clone() for key, value in model.state_dict().items()}
    with torch.no_grad():
        losses = model(noise(4, (2, 3, 192, 224)), samples, mode="loss")
    model.load_state_dict(statistics)
    expected = dict(zip((str(name) for name in REFERENCE["loss_names"]), REFERENCE["loss_values"], strict=True))
    assert {key: value.item() for key, value in losses.items()} == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(("num_classes", "count"), [(5, 17_779_776), (7, 17_780_554)])
def test_parameter_counts(num_classes: int, count: int) -> None:
    assert sum(p.numel() for p in build(isdnet_cfg(num_classes)).parameters()) == count


def test_parameter_count_of_inference() -> None:
    parameters = build(isdnet_cfg(5)).named_parameters()
    assert sum(p.numel() for name, p in parameters if not name.startswith(TRAINING_ONLY)) == 17_223_977
