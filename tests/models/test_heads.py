"""What every head keeps to, and what each one is."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from zoo import batch, head, isdnet_cfg

from mmseg.models import BaseDecodeHead, FCNHead
from mmseg.models.layers import ConvOut
from mmseg.registry import MODELS

SMALL = {"in_channels": 16, "channels": 8}
HEADS: dict[str, dict] = {
    "FCNHead": SMALL, "ASPPHead": SMALL, "RefineASPPHead": {**SMALL, "dilations": (1, 12, 24, 36)},
    "ISDHead": {"prev_channels": 16, "channels": 128}, "DSWMHead": {"prev_channels": 16, "fuse_channels": (32, 32, 16)},
}
REFINE = ("ISDHead", "DSWMHead")


def make(name: str, multi_label: bool = True, **kwargs: object) -> BaseDecodeHead:
    torch.manual_seed(0)
    return MODELS.build(head(multi_label, 4 if multi_label else 5, type=name, **{**HEADS[name], **kwargs}))


def inputs_of(name: str, count: int = 2) -> list[Tensor]:
    deep = torch.randn(count, 16, 5, 6)
    return [torch.randn(count, 3, 97, 131), deep] if name in REFINE else [deep]


def test_every_registered_head_is_here() -> None:
    names = {name for name, cls in MODELS.module_dict.items()
             if isinstance(cls, type) and issubclass(cls, BaseDecodeHead)}
    assert names == set(HEADS)
    assert len(names) == 5


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("multi_label", [True, False])
def test_contract(name: str, multi_label: bool) -> None:
    model, inputs = make(name, multi_label), inputs_of(name)
    _, samples = batch(2, 97, 131, multi_label)
    losses = model.loss(inputs, samples)
    losses = losses[0] if isinstance(losses, tuple) else losses
    expected = {"loss_bce", "loss_dice"} if multi_label else {"loss_seg"}
    assert {key.split(".")[-1] for key in losses} - {"recon_losses", "fa_loss"} == expected
    assert all(value.shape == () and value.isfinite() for value in losses.values())
    sum(losses.values()).backward()
    assert [key for key, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []

    logits = model.eval().predict(inputs, [{"img_shape": (80, 90), "pad_shape": (97, 131)}])
    assert logits.shape == (2, 4 if multi_label else 5, 97, 131) and logits.dtype == torch.float32
    assert model.predict(inputs, [{"img_shape": (80, 90)}]).shape[2:] == (80, 90)


@pytest.mark.parametrize("name", HEADS)
def test_sigmoid_classifiers_start_at_the_prior(name: str) -> None:
    model = make(name)
    model.init_weights()
    classifiers = [m.conv_out for key, m in model.named_modules() if isinstance(m, ConvOut) and key != "sr_decoder.conv_sr"]
    classifiers += [m for key, m in model.named_modules() if key == "conv_seg" or key.startswith("aux_classifiers.")]
    biases = [m.bias for m in classifiers if isinstance(m, nn.Conv2d)]
    assert len(biases) == {"ISDHead": 3, "DSWMHead": 3}.get(name, 1)
    for bias in biases:
        torch.testing.assert_close(bias.detach(), torch.full((4,), math.log(0.01 / 0.99)))
    assert make(name, multi_label=False).eval()(inputs_of(name))[0].mean().abs() < 2


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("multi_label", [True, False])
def test_a_loss_of_the_other_kind_is_refused(name: str, multi_label: bool) -> None:
    wrong = {"type": "CrossEntropyLoss" if multi_label else "LesionDiceLoss", "use_sigmoid": not multi_label}
    with pytest.raises(ValueError, match=rf"{name}: multi_label={multi_label} .*Fix: set use_sigmoid={multi_label}"):
        make(name, multi_label, loss_decode=wrong)


def test_losses_of_one_name_are_added_up() -> None:
    loss = {"type": "CrossEntropyLoss", "use_sigmoid": True, "loss_name": "loss_x"}
    one, two = make("FCNHead", loss_decode=loss), make("FCNHead", loss_decode=[loss, {**loss, "loss_weight": 2.0}])
    _, samples = batch(2, 40, 48)
    logits = torch.randn(2, 4, 5, 6)
    torch.testing.assert_close(two.loss_by_feat(logits, samples)["loss_x"], 3 * one.loss_by_feat(logits, samples)["loss_x"])


def test_the_default_loss_is_of_the_heads_kind() -> None:
    assert FCNHead(in_channels=4, channels=4, num_classes=4, multi_label=True).loss_decode[0].use_sigmoid
    assert not FCNHead(in_channels=4, channels=4, num_classes=5).loss_decode[0].use_sigmoid


def test_input_transforms() -> None:
    features = [torch.randn(1, 4, 16, 16), torch.randn(1, 6, 8, 8)]
    joined = FCNHead(in_channels=(4, 6), in_index=(0, 1), input_transform="resize_concat", channels=8, num_classes=5)
    assert joined(features).shape == (1, 5, 16, 16)
    selected = BaseDecodeHead((4, 6), 8, num_classes=5, in_index=(0, 1), input_transform="multiple_select")
    assert [f.shape[1] for f in selected._transform_inputs(features)] == [4, 6]
    assert FCNHead(in_channels=4, in_index=0, channels=8, num_classes=5)(features).shape == (1, 5, 16, 16)


@pytest.mark.parametrize(("kwargs", "message"), [
    ({"input_transform": "sum"}, "input_transform='sum', expected"),
    ({"in_index": (0, 1)}, "expected one integer each"),
    ({"input_transform": "resize_concat"}, "expected two lists of equal length"),
    ({"num_convs": 0}, "equal channels for num_convs=0"),
])
def test_mistakes_are_named(kwargs: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FCNHead(**{"in_channels": 4, "channels": 8, "num_classes": 5, **kwargs})


@pytest.mark.parametrize("num_convs", [0, 1, 3])
@pytest.mark.parametrize("concat_input", [True, False])
def test_fcn_convs(num_convs: int, concat_input: bool) -> None:
    model = FCNHead(num_convs, 5, concat_input, dilation=2, in_channels=4, channels=4, num_classes=5)
    assert len(model.convs) == num_convs
    assert hasattr(model, "conv_cat") == concat_input
    assert model([torch.randn(1, 4, 9, 11)]).shape == (1, 5, 9, 11)


def test_aspp_dilations_and_a_batch_of_one() -> None:
    model = make("ASPPHead", dilations=(1, 6, 12, 18)).train()
    assert [(m.conv.kernel_size[0], m.conv.dilation[0]) for m in model.aspp_modules] == [(1, 1), (3, 6), (3, 12), (3, 18)]
    assert model.bottleneck.conv.in_channels == 5 * 8
    assert model(inputs_of("ASPPHead", 1)).isfinite().all()


def test_refine_aspp_classifies_its_deep_feature() -> None:
    model, inputs = make("RefineASPPHead").eval(), inputs_of("RefineASPPHead")
    deep = model.loss(inputs, batch(2, 97, 131)[1])[1]
    assert torch.equal(deep, model.deep_feature(inputs))
    assert torch.equal(model(inputs), model.cls_seg(deep)), "logits alone, as of every head"


def test_isd_losses_and_their_weights() -> None:
    torch.manual_seed(0)
    weighted = make("ISDHead", multi_label=False, dropout_ratio=0.0)
    scaled = make("ISDHead", multi_label=False, dropout_ratio=0.0, aux_weight=0.5, recon_weight=0.2, affinity_weight=3.0)
    scaled.load_state_dict(weighted.state_dict())
    inputs, (_, samples) = inputs_of("ISDHead"), batch(2, 97, 131, False)
    one, other = weighted.loss(inputs, samples), scaled.loss(inputs, samples)
    factors = {"refine.loss_seg": 1, "aux_1.loss_seg": 0.5, "aux_2.loss_seg": 0.5, "aux_3.recon_losses": 2, "aux_4.fa_loss": 3}
    assert set(one) == set(factors)
    for key, factor in factors.items():
        torch.testing.assert_close(other[key], factor * one[key])


def test_isd_refuses_what_nobody_defined() -> None:
    with pytest.raises(ValueError, match="reduce=True, expected False"):
        make("ISDHead", reduce=True)


@pytest.mark.parametrize("stages", [1, 2, 3])
def test_dswm_stages(stages: int) -> None:
    model = make("DSWMHead", fuse_channels=(32, 16, 16)[:stages]).eval()
    inputs = inputs_of("DSWMHead")
    strides = (16, 8, 4)[:stages]
    sizes = [tuple(-(-side // stride) for side in (97, 131)) for stride in strides]
    assert model(inputs).shape == (2, 4, *sizes[-1])
    weights = model.branch_weights(inputs)
    assert [tuple(w.shape[2:]) for w, _ in weights] == sizes
    for shallow, deep in weights:
        torch.testing.assert_close(shallow + deep, torch.ones_like(shallow))
    losses = model.loss(inputs, batch(2, 97, 131)[1])
    assert {key.split(".")[0] for key in losses} == {"refine", *(f"aux_{i}" for i in range(1, stages))}


def test_dswm_auxiliary_losses_are_weighted() -> None:
    inputs, (_, samples) = inputs_of("DSWMHead"), batch(2, 97, 131)
    whole, default = (make("DSWMHead", dropout_ratio=0.0, **kwargs).loss(inputs, samples) for kwargs in ({"aux_weight": 1.0}, {}))
    for key, value in whole.items():
        torch.testing.assert_close(default[key], (1.0 if key.startswith("refine") else 0.4) * value)


def test_dswm_stage_count_is_checked() -> None:
    with pytest.raises(ValueError, match="expected one to three entries"):
        make("DSWMHead", fuse_channels=(16, 16, 16, 16))


def test_dswm_weights_are_those_of_the_forward_pass() -> None:
    model, inputs = make("DSWMHead").eval(), inputs_of("DSWMHead")
    seen = []
    for stage in model.stages:
        nn.init.normal_(stage.spatial[1].weight)  # as built, every weight is 1/2
        stage.register_forward_hook(lambda module, args, _: seen.append(module.weights(*args)))
    model(inputs)
    for expected, found in zip(list(seen), model.branch_weights(inputs), strict=True):
        assert expected[0].std() > 0.01
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one, other)


@pytest.mark.parametrize(("term", "own"), [
    ("refine.loss_seg", "conv_seg."), ("aux_1.loss_seg", "conv_seg_aux_16."), ("aux_2.loss_seg", "conv_seg_aux_8."),
    ("aux_3.recon_losses", "sr_decoder."), ("aux_4.fa_loss", None),
])
def test_every_isd_loss_teaches_the_deep_feature(term: str, own: str | None) -> None:
    """And its own layers; the affinity loss has none, and takes the decoder's feature as it is."""
    model, (image, deep) = make("ISDHead", multi_label=False), inputs_of("ISDHead")
    deep.requires_grad_()
    model.loss([image, deep], batch(2, 97, 131, False)[1])[term].backward()
    assert deep.grad is not None and deep.grad.abs().max() > 0
    taught = [name for name, p in model.named_parameters() if p.grad is not None]
    assert any(name.startswith(own) for name in taught) if own else not taught


def test_the_configs_of_the_zoo_fit_the_heads() -> None:
    assert MODELS.build(isdnet_cfg(7)["decode_head"][1]).num_classes == 7
