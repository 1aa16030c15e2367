"""Layers: tensors in, tensors out; no registry, no config, no loss."""

from mmseg.models.layers.bilinear import resize_by_products
from mmseg.models.layers.conv_out import ConvOut
from mmseg.models.layers.convolution import Conv2d, conv2d, use_fast_weight_gradients
from mmseg.models.layers.depthwise_conv import DepthwiseConv2d
from mmseg.models.layers.dswm import DSWM
from mmseg.models.layers.enlarged_conv import conv_of_doubled
from mmseg.models.layers.laplacian_pyramid import LaplacianPyramid
from mmseg.models.layers.pooled_conv import PooledConv
from mmseg.models.layers.relation_aware_fusion import RelationAwareFusion
from mmseg.models.layers.sr_decoder import SRDecoder

__all__ = [
    "DSWM", "Conv2d", "ConvOut", "DepthwiseConv2d", "LaplacianPyramid", "PooledConv", "RelationAwareFusion",
    "SRDecoder", "conv2d", "conv_of_doubled", "resize_by_products", "use_fast_weight_gradients",
]
