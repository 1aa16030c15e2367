"""The models under test as configs, and small batches for them."""

from __future__ import annotations

import torch
from mmengine.structures import PixelData
from torch import Tensor, nn

import mmseg.models  # noqa: F401
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

BN = {"type": "BN", "requires_grad": True}


def losses(multi_label: bool, weight: float = 1.0) -> list[dict]:
    """Cross-entropy as ISDNet logs it, or what SDC-Net learns from."""
    if not multi_label:
        return [{"type": "CrossEntropyLoss", "loss_weight": weight, "loss_name": "loss_seg"}]
    return [
        {"type": "CrossEntropyLoss", "use_sigmoid": True, "pos_weight": 5.0, "avg_non_ignore": True, "loss_weight": weight,
         "loss_name": "loss_bce"},
        {"type": "LesionDiceLoss", "loss_weight": weight},
    ]


def head(multi_label: bool, num_classes: int, weight: float = 1.0, **kwargs: object) -> dict:
    """Arguments that every head shares."""
    return {"num_classes": num_classes, "multi_label": multi_label, "norm_cfg": BN, "loss_decode": losses(multi_label, weight),
            **kwargs}


def fcn_head(multi_label: bool, num_classes: int, in_channels: int = 256) -> dict:
    """ISDNet's auxiliary head on the third stage."""
    return head(multi_label, num_classes, 0.4, type="FCNHead", in_channels=in_channels, in_index=2, channels=64, num_convs=1,
                concat_input=False)


def isdnet_cfg(num_classes: int = 5, multi_label: bool = False, **kwargs: object) -> dict:
    """ISDNet-R18 as in its paper."""
    backbone = {"type": "ResNetV1c", "depth": 18, "strides": (1, 2, 1, 1), "dilations": (1, 1, 2, 4),
                "contract_dilation": True, "norm_cfg": BN}
    return {
        "type": "EncoderDecoderRefine", "down_ratio": 4, "backbone": backbone,
        "decode_head": [
            head(multi_label, num_classes, type="RefineASPPHead", in_channels=512, in_index=3, channels=128,
                 dilations=(1, 12, 24, 36)),
            head(multi_label, num_classes, type="ISDHead", in_channels=3, prev_channels=128, down_ratio=4, channels=128)],
        "auxiliary_head": fcn_head(multi_label, num_classes), **kwargs}


def sdcnet_cfg(stages: int = 2, multi_label: bool = True, **kwargs: object) -> dict:
    """SDC-Net (two stages) or SDC-Net+ (three)."""
    num_classes = 4 if multi_label else 5
    backbone = {"type": "ResNet", "depth": 18, "strides": (1, 2, 1, 1), "dilations": (1, 1, 2, 4),
                "contract_dilation": True, "norm_cfg": BN}
    return {
        "type": "SDCNet", "down_ratio": 4, "backbone": backbone,
        "decode_head": [
            head(multi_label, num_classes, 0.4, type="RefineASPPHead", in_channels=512, in_index=3, channels=128,
                 dilations=(1, 12, 24, 36)),
            head(multi_label, num_classes, type="DSWMHead", prev_channels=128, fuse_channels=(128, 128, 64)[:stages])],
        "auxiliary_head": fcn_head(multi_label, num_classes), **kwargs}


def fcn_cfg(multi_label: bool = True, num_classes: int = 4, **kwargs: object) -> dict:
    """A small plain segmentor of output stride 8, quick enough for tests of what all segmentors share."""
    backbone = {"type": "ResNet", "depth": 18, "base_channels": 8, "stem_channels": 8, "strides": (1, 2, 1, 1),
                "dilations": (1, 1, 2, 4)}
    decode_head = head(multi_label, num_classes, type="ASPPHead", in_channels=64, channels=16)
    return {"type": "EncoderDecoder", "backbone": backbone, "decode_head": decode_head,
            "auxiliary_head": fcn_head(multi_label, num_classes, in_channels=32), **kwargs}


SEGMENTORS = {
    "fcn-multi_label": fcn_cfg(), "fcn-softmax": fcn_cfg(False, 5),
    "isdnet-multi_label": isdnet_cfg(4, True), "isdnet-softmax": isdnet_cfg(),
    "sdcnet": sdcnet_cfg(2), "sdcnet-softmax": sdcnet_cfg(2, False), "sdcnetplus": sdcnet_cfg(3),
}


def build(cfg: dict) -> nn.Module:
    """A model with weights that do not depend on what ran before."""
    torch.manual_seed(0)
    return MODELS.build(cfg)


def batch(count: int, height: int, width: int, multi_label: bool = True) -> tuple[Tensor, list[SegDataSample]]:
    """Noise, with a block of every lesion and a block of ignored pixels."""
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(count, 3, height, width, generator=generator)
    samples = []
    for _ in range(count):
        masks = (torch.rand(4, height, width, generator=generator) > 0.9).to(torch.uint8)
        masks[:, :4, :4] = 255
        index = torch.randint(0, 5, (1, height, width), generator=generator)
        index[:, :4, :4] = 255
        sample = SegDataSample(metainfo={"img_shape": (height, width), "ori_shape": (height, width)})
        sample.gt_sem_seg = PixelData(data=masks if multi_label else index)
        samples.append(sample)
    return images, samples
