"""Segmentors: each wires a backbone, heads and a preprocessor."""

from mmseg.models.segmentors.base import BaseSegmentor
from mmseg.models.segmentors.encoder_decoder import EncoderDecoder
from mmseg.models.segmentors.encoder_decoder_refine import EncoderDecoderRefine
from mmseg.models.segmentors.sdcnet import SDCNet

__all__ = ["BaseSegmentor", "EncoderDecoder", "EncoderDecoderRefine", "SDCNet"]
