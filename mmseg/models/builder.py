"""The registry of models under the names that mmsegmentation's plug-ins use."""

from __future__ import annotations

from mmseg.registry import MODELS

__all__ = [
    "BACKBONES", "HEADS", "LOSSES", "NECKS", "SEGMENTORS", "build_backbone", "build_head", "build_loss", "build_neck",
    "build_segmentor",
]

BACKBONES = NECKS = HEADS = LOSSES = SEGMENTORS = MODELS
build_backbone = build_neck = build_head = build_loss = build_segmentor = MODELS.build
