"""What every segmentor keeps to: training at odd sizes, prediction, test-time flips, sliding windows."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from gpu_autocast import GpuAutocast
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from zoo import SEGMENTORS, batch, build, fcn_cfg, isdnet_cfg, sdcnet_cfg

from mmseg.models import BaseSegmentor, EncoderDecoder
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

LOSS_KEYS = {
    "fcn-multi_label": ("decode", "aux"), "fcn-softmax": ("decode", "aux"),
    "isdnet-multi_label": ("decode", "refine", "aux_1", "aux_2", "aux"),
    "isdnet-softmax": ("decode", "refine", "aux_1", "aux_2", "aux"),
    "sdcnet": ("decode", "refine", "aux_1", "aux"), "sdcnet-softmax": ("decode", "refine", "aux_1", "aux"),
    "sdcnetplus": ("decode", "refine", "aux_1", "aux_2", "aux"),
}
TRAINING_ONLY = ("auxiliary_head", "refine_head.conv_seg_aux_16", "refine_head.conv_seg_aux_8", "refine_head.sr_decoder",
                 "refine_head.aux_classifiers")


@pytest.fixture(scope="module")
def zoo() -> dict[str, nn.Module]:
    return {name: build(cfg) for name, cfg in SEGMENTORS.items()}


@pytest.fixture(params=SEGMENTORS)
def model(request: pytest.FixtureRequest, zoo: dict[str, nn.Module]) -> nn.Module:
    model = zoo[request.param].train()
    model.zero_grad()
    model.name = request.param
    return model


@pytest.fixture
def small(request: pytest.FixtureRequest) -> nn.Module:
    """A plain segmentor whose probabilities are not all about the same."""
    return busy(build(fcn_cfg(**getattr(request, "param", {}))))


def busy(model: nn.Module) -> nn.Module:
    classifier = model.decode_head.conv_seg
    nn.init.normal_(classifier.weight, std=1.0)
    nn.init.zeros_(classifier.bias)
    return model.eval()


def predict(model: nn.Module, images: Tensor, samples: list[SegDataSample] | None = None) -> Tensor:
    with torch.no_grad():
        return torch.stack([sample.probabilities.data for sample in model(images, samples, mode="predict")])


@pytest.mark.parametrize("cfg", [isdnet_cfg(size_divisor=32), sdcnet_cfg()], ids=["isdnet", "sdcnet"])
@pytest.mark.parametrize("size", [(97, 131), (124, 96), (128, 160)])
def test_logits_lie_where_those_of_whole_cells_do(cfg: dict[str, Any], size: tuple[int, int]) -> None:
    """Trained on crops of whole cells, a network sees no others in a test: its maps would be stretched to the image's size."""
    model = build(cfg).eval()
    image = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))
    rows, columns = (list(range(side)) + [side - 1] * (-side % 32) for side in size)
    with torch.no_grad():
        found = model.encode_decode(image)
        model.size_divisor = 1
        whole = model.encode_decode(image[:, :, rows][..., columns])
        assert torch.equal(found, whole[..., : size[0], : size[1]])
        alone = model.encode_decode(image)
    assert torch.equal(found, alone) == (size == (128, 160))


def test_every_registered_segmentor_is_here() -> None:
    names = {name for name, cls in MODELS.module_dict.items() if isinstance(cls, type) and issubclass(cls, BaseSegmentor)}
    assert names == {cfg["type"] for cfg in SEGMENTORS.values()}
    assert len(names) == 3 and len(SEGMENTORS) == 7 == len(LOSS_KEYS)


@pytest.mark.parametrize(("count", "size"), [(2, (97, 131)), (1, (33, 33)), (1, (64, 35))])
def test_training_at_any_size(model: nn.Module, count: int, size: tuple[int, int]) -> None:
    images, samples = batch(count, *size, model.multi_label)
    losses = model(images, samples, mode="loss")
    names = ("loss_bce", "loss_dice") if model.multi_label else ("loss_seg",)
    expected = {f"{prefix}.{name}" for prefix in LOSS_KEYS[model.name] for name in names}
    if "isdnet" in model.name:
        expected |= {"aux_3.recon_losses", "aux_4.fa_loss"}
    assert set(losses) == expected
    assert all(value.shape == () and value.isfinite() for value in losses.values())
    model.parse_losses(losses)[0].backward()
    assert [key for key, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []


def test_what_a_subclass_of_mmsegmentation_overrides_is_called() -> None:
    class Own(EncoderDecoder):
        def _decode_head_forward_train(self, inputs: Any, data_samples: Any) -> dict[str, Tensor]:
            return {f"own.{name}": loss for name, loss in super()._decode_head_forward_train(inputs, data_samples).items()}

        def _auxiliary_head_forward_train(self, inputs: Any, data_samples: Any) -> dict[str, Tensor]:
            return {"more.loss": inputs[0].mean()}

    model = Own(**{key: value for key, value in fcn_cfg().items() if key != "type"})
    losses = model(*batch(1, 33, 33, model.multi_label), mode="loss")
    assert set(losses) == {"own.decode.loss_bce", "own.decode.loss_dice", "more.loss"}


def test_training_in_bfloat16(model: nn.Module) -> None:
    images, samples = batch(1, 33, 35, model.multi_label)
    with torch.autocast("cpu", torch.bfloat16):
        losses = model(images, samples, mode="loss")
    assert {value.dtype for value in losses.values()} == {torch.float32}
    model.parse_losses(losses)[0].backward()
    assert [key for key, p in model.named_parameters() if not p.grad.isfinite().all()] == []


def test_types_agree_where_a_gpu_computes_in_float32(model: nn.Module) -> None:
    """CUDA's autocast enlarges, sums and takes the softmax in float32; a CPU's does not."""
    images, samples = batch(1, 33, 35, model.multi_label)
    with torch.autocast("cpu", torch.bfloat16), GpuAutocast():
        losses = model(images, samples, mode="loss")
        with torch.no_grad():
            model.eval()(images)
    model.parse_losses(losses)[0].backward()
    assert [key for key, p in model.named_parameters() if not p.grad.isfinite().all()] == []


def test_an_image_without_lesions_trains(model: nn.Module) -> None:
    images, samples = batch(1, 64, 64, model.multi_label)
    samples[0].gt_sem_seg.data.zero_()
    loss, _ = model.parse_losses(model(images, samples, mode="loss"))
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad.isfinite().all() for p in model.parameters())


def test_prediction(model: nn.Module) -> None:
    images, samples = batch(2, 97, 131, model.multi_label)
    with torch.no_grad():
        logits = model.eval()(images)
        results = model(images, samples, mode="predict")
    assert logits.shape == (2, model.num_classes, 97, 131) and logits.dtype == torch.float32
    expected = logits.sigmoid() if model.multi_label else logits.softmax(1)[:, 1:]
    for sample, result, probability in zip(samples, results, expected, strict=True):
        assert result is sample
        assert result.probabilities.data.dtype == torch.float32
        torch.testing.assert_close(result.probabilities.data, probability)
        assert result.pred_sem_seg.data.shape == (1, 97, 131) and result.pred_sem_seg.data.dtype == torch.uint8
    torch.testing.assert_close(predict(model, images), expected)


def test_what_only_training_uses_does_not_run(model: nn.Module) -> None:
    ran: set[str] = set()
    hooks = [module.register_forward_hook(lambda *_, name=name: ran.add(name)) for name, module in model.named_modules()]
    predict(model.eval(), batch(1, 64, 64)[0])
    for hook in hooks:
        hook.remove()
    assert ran and not {name for name in ran if name.startswith(TRAINING_ONLY)}
    if hasattr(model, "refine_head"):
        assert "decode_head.conv_seg" not in ran


def test_an_unknown_mode_is_named(zoo: dict[str, nn.Module]) -> None:
    with pytest.raises(ValueError, match="mode='test', expected 'loss', 'predict' or 'tensor'"):
        zoo["fcn-softmax"](torch.zeros(1, 3, 64, 64), mode="test")


def test_init_weights_keeps_what_the_design_asks_for() -> None:
    model = build(sdcnet_cfg(3))
    model.init_weights()
    for stage in model.refine_head.stages:
        assert stage.spatial[1].weight.abs().max() == 0
    assert model.backbone.layer1[0].bn2.weight.abs().max() == 0
    assert model.decode_head.conv_seg.bias.max() < -4


# ---- prediction in detail, on a small network ----

@pytest.mark.parametrize("name", ["fcn-multi_label", "isdnet-softmax", "sdcnetplus"])
def test_a_padded_batch_gives_what_its_images_give_alone(zoo: dict[str, nn.Module], name: str) -> None:
    model = zoo[name].eval()
    sizes = [(64, 96), (80, 72), (80, 96)]
    images = [torch.randn(3, *size, generator=torch.Generator().manual_seed(i)) for i, size in enumerate(sizes)]
    padded = torch.zeros(3, 3, 80, 96)
    samples = []
    for target, image, (height, width) in zip(padded, images, sizes, strict=True):
        target[:, :height, :width] = image
        samples.append(SegDataSample(metainfo={"img_shape": (height, width), "ori_shape": (2 * height, 3 * width)}))
    with torch.no_grad():
        together = model(padded, samples, mode="predict")
        for image, sample, (height, width) in zip(images, together, sizes, strict=True):
            alone = SegDataSample(metainfo={"img_shape": (height, width), "ori_shape": (2 * height, 3 * width)})
            model(image[None], [alone], mode="predict")
            assert sample.probabilities.data.shape == (4, 2 * height, 3 * width)
            torch.testing.assert_close(sample.probabilities.data, alone.probabilities.data)
            assert torch.equal(sample.pred_sem_seg.data, alone.pred_sem_seg.data)


@pytest.mark.parametrize("described", [True, False])
def test_padding_of_a_test_cfg_is_seen_by_the_network_and_cut_off(described: bool) -> None:
    """As in mmsegmentation; also where a plug-in data set says only how large the photograph was."""
    preprocessor = MODELS.build(dict(type="SegDataPreProcessor", test_cfg=dict(size_divisor=32)))
    model = busy(build(fcn_cfg(data_preprocessor=preprocessor)))
    images = torch.randn(2, 3, 70, 90, generator=torch.Generator().manual_seed(0))
    meta = dict(ori_shape=(140, 180)) | (dict(img_shape=(70, 90)) if described else {})
    samples = [SegDataSample(metainfo=meta) for _ in images]
    seen = []
    model.backbone.register_forward_pre_hook(lambda _, args: seen.append(tuple(args[0].shape)))
    with torch.no_grad():
        results = model.test_step(dict(inputs=list(images), data_samples=samples))
        padded = model(nn.functional.pad(images, (0, 6, 0, 26))).sigmoid()[..., :70, :90]
    assert seen == [(2, 3, 96, 96)] * 2
    for result, small in zip(results, padded, strict=True):
        expected = nn.functional.interpolate(small[None], (140, 180), mode="bilinear", align_corners=False)[0]
        torch.testing.assert_close(result.probabilities.data, expected)


def test_postprocess_crops_enlarges_and_thresholds(small: nn.Module) -> None:
    small.test_cfg["thresholds"] = [0.2, 0.5, 0.5, 0.9]
    probabilities = torch.zeros(1, 4, 3, 4)
    probabilities[0, :, 0, 0] = torch.tensor([0.3, 0.4, 0.1, 0.0])    # only MA exceeds its threshold
    probabilities[0, :, 0, 1] = torch.tensor([0.3, 0.6, 0.7, 0.8])    # EX is the likeliest that does
    probabilities[0, :, 1, 0] = torch.tensor([0.2, 0.5, 0.5, 0.9])    # at the threshold is not above it
    probabilities[0, :, 2, 3] = 1.0                                   # padding
    sample = SegDataSample(metainfo={"img_shape": (2, 2), "ori_shape": (2, 2)})
    (result,) = small.postprocess(probabilities, [sample])
    assert result.pred_sem_seg.data.tolist() == [[[1, 3], [0, 0]]]
    torch.testing.assert_close(result.probabilities.data, probabilities[0, :, :2, :2])
    enlarged = SegDataSample(metainfo={"img_shape": (2, 2), "ori_shape": (4, 6)})
    small.postprocess(probabilities, [enlarged])
    expected = nn.functional.interpolate(probabilities[..., :2, :2], size=(4, 6), mode="bilinear", align_corners=False)
    torch.testing.assert_close(enlarged.probabilities.data, expected[0])


def test_a_wrong_number_of_thresholds_is_named(small: nn.Module) -> None:
    small.test_cfg["thresholds"] = [0.5, 0.5]
    with pytest.raises(ValueError, match="got 2 numbers, expected one for all or one for each of the 4 lesions"):
        small.predict(torch.randn(1, 3, 64, 64))


@pytest.mark.parametrize(("stated", "expected"), [({}, 0.5), (dict(thresholds=0.3), 0.3)])
def test_one_threshold_for_all_lesions(small: nn.Module, stated: dict[str, Any], expected: float) -> None:
    small.test_cfg.update(stated)
    assert small.lesion_thresholds(("a", "b", "c", "d")) == dict.fromkeys("abcd", expected)


def test_the_likeliest_class_has_no_threshold(small: nn.Module) -> None:
    small.test_cfg["thresholds"] = None
    assert small.lesion_thresholds(("a", "b", "c", "d")) == {}


def test_a_background_among_the_classes_is_not_shown() -> None:
    """Of a softmax with thresholds, whose first channel is the background, as of mmsegmentation's data sets."""
    model = build({**SEGMENTORS["sdcnet-softmax"], "test_cfg": dict(thresholds=0.5)})
    of_all = dict(classes=("background", "a", "b", "c", "d"), palette=[(i, i, i) for i in range(5)])
    of_lesions = {key: value[1:] for key, value in of_all.items()}
    for info in (of_all, of_lesions):
        assert model.shown_classes(info) == (("a", "b", "c", "d"), [(i, i, i) for i in range(1, 5)])
    model.test_cfg["thresholds"] = None
    assert model.shown_classes(of_all)[0] == of_all["classes"]
    assert model.shown_classes(of_lesions)[0] == of_all["classes"]


def test_a_threshold_that_is_no_probability_is_named(small: nn.Module) -> None:
    small.test_cfg["thresholds"] = [0.5, 50, 0.5, 0.5]
    with pytest.raises(ValueError, match=r"got \[0.5, 50.0, 0.5, 0.5\], expected probabilities from 0 to 1"):
        small.lesion_thresholds(("a", "b", "c", "d"))


@pytest.mark.parametrize("name", ["sdcnet", "sdcnet-softmax"])
def test_thresholds_are_checked_when_a_model_is_built(name: str) -> None:
    for thresholds in ([0.5] * 4, 0.5):
        build({**SEGMENTORS[name], "test_cfg": dict(thresholds=thresholds)})
    with pytest.raises(ValueError, match="got 5 numbers"):
        build({**SEGMENTORS[name], "test_cfg": dict(thresholds=[0.5] * 5)})


def test_flips_are_averaged(small: nn.Module) -> None:
    image = torch.randn(1, 3, 65, 90)
    plain = predict(small, image)
    dims = {"horizontal": (3,), "vertical": (2,), "diagonal": (2, 3)}
    by_flip = {name: predict(small, image.flip(d)).flip(d) for name, d in dims.items()}
    assert all((value - plain).abs().max() > 1e-3 for value in by_flip.values())
    for flips in (["horizontal"], ["vertical", "diagonal"], list(dims)):
        small.test_cfg["flips"] = flips
        expected = torch.stack([plain, *(by_flip[name] for name in flips)]).mean(0)
        torch.testing.assert_close(predict(small, image), expected)
    torch.testing.assert_close(predict(small, image.flip(3)).flip(3), predict(small, image))


@pytest.mark.parametrize("size", [(64, 64), (40, 80), (64, 50)])
def test_a_crop_that_covers_the_image_is_the_whole(small: nn.Module, size: tuple[int, int]) -> None:
    image = torch.randn(2, 3, *size)
    whole = predict(small, image)
    small.test_cfg.update(mode="slide", crop_size=(64, 80), stride=(32, 40))
    torch.testing.assert_close(predict(small, image), whole)


def test_sliding_averages_logits_where_crops_overlap(small: nn.Module) -> None:
    image = torch.randn(1, 3, 70, 100)
    small.test_cfg.update(mode="slide", crop_size=(48, 64), stride=(32, 36))
    total, count = torch.zeros(1, 4, 70, 100), torch.zeros(70, 100)
    with torch.no_grad():
        for top in (0, 22):
            for left in (0, 36):
                window = (slice(None), slice(None), slice(top, top + 48), slice(left, left + 64))
                total[window] += small(image[window])
                count[window[2:]] += 1
        assert count.min() == 1 and count.max() == 4
        torch.testing.assert_close(small.inference(image), total / count)


@pytest.mark.parametrize(("test_cfg", "message"), [
    ({"mode": "tile"}, "test_cfg.mode: got 'tile', expected 'whole' or 'slide'"),
    ({"mode": "slide"}, "crop_size=None, stride=None, expected"),
    ({"mode": "slide", "crop_size": (64, 64), "stride": (64, 65)}, "0 < stride <= crop_size"),
    ({"mode": "slide", "crop_size": 512, "stride": 342}, r"crop_size=512, stride=342, .* two \(height, width\) pairs"),
    ({"mode": "slide", "crop_size": (64, 64), "stride": (64,)}, r"stride=\(64,\), .* two \(height, width\) pairs"),
    ({"flips": ["left"]}, r"test_cfg.flips: got \['left'\]"),
    ({"flips": "horizontal"}, r"test_cfg.flips: got 'horizontal', expected a list of any of \['diagonal', 'horizontal', 'v"),
    ({"flips": [["vertical"]]}, r"test_cfg.flips: got \[\['vertical'\]\]"),
    ({"flips": ["vertical", "vertical"]}, "got 2, of which some are the same"),
    ({"thresholds": {"MA": 0.4}}, r"thresholds: got \{'MA': 0.4\}, expected one number for all or a list of one for each of"),
    ({"thresholds": ["high"] * 4}, r"thresholds: got \['high', .* expected one number"),
])
def test_impossible_test_cfgs_are_named(test_cfg: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(fcn_cfg(test_cfg=test_cfg))


def test_several_auxiliary_heads_are_numbered() -> None:
    cfg = fcn_cfg()
    cfg["auxiliary_head"] = [cfg["auxiliary_head"], copy.deepcopy(cfg["auxiliary_head"])]
    losses = build(cfg)(*batch(1, 64, 64), mode="loss")
    assert {key.split(".")[0] for key in losses} == {"decode", "aux_0", "aux_1"}


@pytest.mark.parametrize("cfg", [isdnet_cfg(4, True), sdcnet_cfg(3)])
def test_several_auxiliary_heads_replace_no_loss_of_the_refine_head(cfg: dict) -> None:
    model = build({**copy.deepcopy(cfg), "auxiliary_head": [copy.deepcopy(cfg["auxiliary_head"]) for _ in range(2)]})
    losses = model(*batch(1, 64, 64), mode="loss")
    assert {"aux_1", "aux_2", "auxiliary_0", "auxiliary_1"} < {key.split(".")[0] for key in losses}
    model.parse_losses(losses)[0].backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []


def test_a_first_head_without_a_deep_feature_is_told() -> None:
    cfg = sdcnet_cfg()
    cfg["decode_head"] = [{**cfg["decode_head"][0], "type": "ASPPHead"}, cfg["decode_head"][1]]
    with pytest.raises(ValueError, match="got ASPPHead as the first decode_head, expected one with a deep_feature"):
        build(cfg)


# ---- two-branch segmentors ----

@pytest.mark.parametrize(("kwargs", "message"), [
    ({"num_stages": 3}, "num_stages=3 and a decode_head that is 2 heads"),
    ({"is_frequency": True}, "is_frequency=True, expected False"),
    ({"down_mode": "cubic"}, "down_mode='cubic', expected one of"),
    ({"down_ratio": 2}, "down_ratio=2, but its refine head has 4"),
    ({"decode_head": fcn_cfg()["decode_head"]}, "a decode_head that is one head"),
])
def test_mistakes_of_the_two_branches_are_named(kwargs: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build({**isdnet_cfg(), **kwargs})


def test_reduction(zoo: dict[str, nn.Module]) -> None:
    image = torch.randn(1, 3, 64, 96)
    torch.testing.assert_close(zoo["isdnet-softmax"].reduce(image), image[..., ::4, ::4])
    means = image.unfold(2, 4, 4).unfold(3, 4, 4).mean((-1, -2))
    torch.testing.assert_close(zoo["sdcnet"].reduce(image), means)
    assert zoo["sdcnet"].reduce(torch.zeros(1, 3, 33, 131)).shape == (1, 3, 9, 32)
    bilinear = build(sdcnet_cfg(2, down_mode="bilinear", down_ratio=2))
    assert bilinear.reduce(image).shape == (1, 3, 32, 48)


def test_a_smaller_image_for_the_refine_head() -> None:
    model = build(sdcnet_cfg(2, refine_input_ratio=0.5)).eval()
    seen = []
    model.refine_head.register_forward_pre_hook(lambda _, args: seen.append(tuple(args[0][0].shape)))
    assert predict(model, torch.randn(1, 3, 96, 128)).shape == (1, 4, 96, 128)
    assert seen == [(1, 3, 48, 64)]


@pytest.mark.parametrize(("name", "strides"), [("sdcnet", (16, 8)), ("sdcnetplus", (16, 8, 4))])
def test_branch_weights_of_sdcnet(zoo: dict[str, nn.Module], name: str, strides: tuple[int, ...]) -> None:
    with torch.no_grad():
        weights = zoo[name].eval().branch_weights(torch.randn(1, 3, 64, 96))
    assert [tuple(w.shape[2:]) for w, _ in weights] == [(64 // s, 96 // s) for s in strides]
    for shallow, deep in weights:
        torch.testing.assert_close(shallow + deep, torch.ones_like(shallow))


def test_shapes_and_cost_of_isdnet_at_512(zoo: dict[str, nn.Module]) -> None:
    model = zoo["isdnet-softmax"].eval()
    shapes: dict[str, list[tuple[int, ...]]] = {}

    def note(name: str, output: object) -> None:
        tensors = output if isinstance(output, tuple) else (output,)
        shapes[name] = [tuple(tensor.shape[1:]) for tensor in tensors]

    names = ("backbone.maxpool", "backbone", "decode_head.bottleneck", "refine_head.stdc_net", "refine_head.fuse16",
             "refine_head.fuse8", "refine_head.conv_seg")
    hooks = [model.get_submodule(name).register_forward_hook(lambda _, __, out, name=name: note(name, out)) for name in names]
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        out = model(torch.randn(1, 3, 512, 512))
    for hook in hooks:
        hook.remove()
    assert shapes == {
        "backbone.maxpool": [(64, 32, 32)],
        "backbone": [(64, 32, 32), (128, 16, 16), (256, 16, 16), (512, 16, 16)],
        "decode_head.bottleneck": [(128, 16, 16)],
        "refine_head.stdc_net": [(64, 128, 128), (256, 64, 64), (512, 32, 32)],
        "refine_head.fuse16": [(128, 32, 32), (128, 32, 32)], "refine_head.fuse8": [(128, 64, 64), (128, 64, 64)],
        "refine_head.conv_seg": [(5, 64, 64)]}
    assert out.shape == (1, 5, 512, 512)
    # The published cost leaves out the pyramid: two blurs at 512 and two at 256 pixels, 25 products each.
    pyramid = 2 * 25 * 3 * (512 ** 2 + 256 ** 2)
    assert (counter.get_total_flops() / 2 - pyramid) / 1e9 == pytest.approx(10.31, abs=0.005)


@pytest.mark.parametrize("size", [(512, 512), pytest.param((960, 1440), marks=pytest.mark.slow)], ids=str)
@pytest.mark.parametrize("name", ["ISDNet-R18", "SDC-Net", "SDC-Net+"])
def test_costs_are_those_of_the_document(repo: Path, name: str, size: tuple[int, int]) -> None:
    """Parameters and products, counted by torch, against the table of docs/sdcnet.md; at most 1.5 times the baseline's."""
    section = (repo / "docs/sdcnet.md").read_text().split("## Cost")[1].split("\n## ")[0]
    rows = (line.strip("| \n").split(" | ") for line in section.splitlines())
    table = {row[0]: [float(cell.replace(",", "")) for cell in row[1:]] for row in rows
             if row[0] in ("ISDNet-R18", "SDC-Net", "SDC-Net+") and len(row) == 5}
    configs = {"ISDNet-R18": isdnet_cfg(4, True), "SDC-Net": sdcnet_cfg(2), "SDC-Net+": sdcnet_cfg(3)}
    model = revert_sync_batchnorm(build(configs[name]))
    counts = {key: parameter.numel() for key, parameter in model.named_parameters()}
    used = [count for key, count in counts.items() if not key.startswith((*TRAINING_ONLY, "decode_head.conv_seg"))]
    assert [sum(counts.values()), sum(used)] == table[name][:2]
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model.eval()(torch.zeros(1, 3, *size))
    column, rounding = (2, 0.005) if size == (512, 512) else (3, 0.05)
    cost = counter.get_total_flops() / 2e9
    assert cost == pytest.approx(table[name][column], abs=rounding)
    assert cost <= 1.5 * table["ISDNet-R18"][column]


# ---- the shipped models ----

@pytest.mark.parametrize(("file", "parameters"), [
    ("_base_/models/isdnet_r50-d8.py", None), ("isdnet/isdnet_r18-d8_512x512_40k_IDRiD.py", isdnet_cfg(4, True)),
    ("_base_/models/sdcnet_r18-d8.py", sdcnet_cfg(2)), ("_base_/models/sdcnetplus_r18-d8.py", sdcnet_cfg(3)),
])
def test_the_shipped_configs_are_the_models_tested_here(repo: Path, file: str, parameters: dict | None) -> None:
    cfg = Config.fromfile(repo / "configs" / file).model
    cfg.pop("data_preprocessor", None)
    model = revert_sync_batchnorm(build(cfg))
    if parameters is not None:
        expected = build(parameters).state_dict()
        assert {key: value.shape for key, value in model.state_dict().items()} == {k: v.shape for k, v in expected.items()}
    images, samples = batch(1, 64, 64, model.multi_label)
    loss, _ = model.parse_losses(model(images, samples, mode="loss"))
    assert loss.isfinite()
