"""Backbones, and the initialiser that reads their published weights."""

from mmseg.models.backbones.pretrained import PretrainedInit
from mmseg.models.backbones.resnet import ResNet, ResNetV1c
from mmseg.models.backbones.shallow_net import ShallowNet

__all__ = ["PretrainedInit", "ResNet", "ResNetV1c", "ShallowNet"]
