"""SDC-Net: shallow-deep collaboration for lesions from 6 to 100 pixels. Our own design under a known name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from mmseg.models.segmentors.encoder_decoder_refine import EncoderDecoderRefine
from mmseg.registry import MODELS

__all__ = ["SDCNet"]


@MODELS.register_module()
class SDCNet(EncoderDecoderRefine):
    """SDC-Net and SDC-Net+.

    Only the name, the data sets and parts of a config of SDC-Net are public, no paper, code or weights: this is this
    project's own design under that name. It inherits ISDNet's two branches (Guo et al., CVPR 2022)::

        x4, x8, x16 = ShallowNet(two high bands of image's Laplacian pyramid)       detail: strides 4, 8, 16
        deep        = ASPP(ResNet-18(area_reduce(image, down_ratio)))               context: stride 8 down_ratio, 128 channels
        f_1         = DSWM(x16, deep)                                               stride 16
        f_2         = DSWM(x8, f_1)                                                 stride 8
        f_3         = DSWM(x4, f_2)                                                 stride 4, SDC-Net+ only
        logits      = classify(f_last), enlarged bilinearly                         one sigmoid channel a lesion

    - **DSWM** (:class:`mmseg.models.layers.DSWM`) gives the two branches convex weights at every pixel, in the
      place of ISDNet's relation-aware fusion; :meth:`branch_weights` shows them.
    - **Heads**: lesions overlap, so each has a sigmoid channel of its own (``multi_label=True``); a softmax with background
      stays possible by config.
    - **Deep supervision**: in training the ASPP, the backbone's third stage (``auxiliary_head``) and every fused stage have
      classifiers of their own, with 0.4 of the weight.
    - **Loss**: a pixel loss (binary cross-entropy or focal) plus soft Dice over the lesions present.
    - **SDC-Net+** adds the stride-4 stage with 64 channels (``fuse_channels=(128, 128, 64)`` of :class:`DSWMHead`): at stride 8
      a microaneurysm is less than a cell wide.
    - The reduction averages areas, where ISDNet takes every fourth pixel: no lesion falls between the samples.
    - Images are padded to whole cells when they are predicted (``size_divisor``).

    Args:
        backbone: the deep branch.
        decode_head: two heads, such as ``RefineASPPHead`` and ``DSWMHead``.
        **kwargs: see :class:`EncoderDecoderRefine`; ``down_mode`` defaults to ``"area"``, ``size_divisor`` to 32.
    """

    def __init__(self, backbone: Any, decode_head: Sequence[Any], **kwargs: Any) -> None:
        super().__init__(backbone, decode_head, **{"down_mode": "area", "size_divisor": 32, **kwargs})

    def branch_weights(self, inputs: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Where detail or context decided.

        Args:
            inputs: ``(B, 3, H, W)``, normalised.

        Returns:
            for each DSWM stage, coarse to fine, the weights ``(w_s, w_d)`` of the shallow and the deep branch, float32
            ``(B, 1, ceil(H/stride), ceil(W/stride))`` in [0, 1] that add up to 1.
        """
        height, width = inputs.shape[2:]
        whole = self.whole_cells(inputs)
        found = []
        for shallow, deep in self.refine_head.branch_weights(self._refine_inputs(whole)):
            stride = whole.shape[2] // shallow.shape[2]
            seen = (..., slice(-(-height // stride)), slice(-(-width // stride)))
            found.append((shallow[seen], deep[seen]))
        return found
