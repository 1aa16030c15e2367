"""Networks; importing this package registers them."""

from mmseg.models.backbones import PretrainedInit, ResNet, ResNetV1c, ShallowNet
from mmseg.models.builder import (
    BACKBONES,
    HEADS,
    LOSSES,
    SEGMENTORS,
    build_backbone,
    build_head,
    build_loss,
    build_segmentor,
)
from mmseg.models.data_preprocessors import LesionDataPreprocessor, SegDataPreProcessor
from mmseg.models.decode_heads import ASPPHead, BaseDecodeHead, DSWMHead, FCNHead, ISDHead, RefineASPPHead
from mmseg.models.layers import DSWM, LaplacianPyramid, RelationAwareFusion
from mmseg.models.losses import CrossEntropyLoss, DiceLoss, FocalLoss, LesionDiceLoss
from mmseg.models.segmentors import BaseSegmentor, EncoderDecoder, EncoderDecoderRefine, SDCNet

__all__ = [
    "BACKBONES", "DSWM", "HEADS", "LOSSES", "SEGMENTORS",
    "ASPPHead", "BaseDecodeHead", "BaseSegmentor", "CrossEntropyLoss", "DSWMHead", "DiceLoss",
    "EncoderDecoder", "EncoderDecoderRefine", "FCNHead", "FocalLoss", "ISDHead", "LaplacianPyramid", "LesionDataPreprocessor",
    "LesionDiceLoss",
    "PretrainedInit",
    "RefineASPPHead", "RelationAwareFusion", "ResNet", "ResNetV1c", "SDCNet", "SegDataPreProcessor", "ShallowNet",
    "build_backbone", "build_head", "build_loss", "build_segmentor",
]
