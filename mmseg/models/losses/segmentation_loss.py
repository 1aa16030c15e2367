"""What all segmentation losses share: float32, ignored pixels, weight, name, and shapes that are checked."""

from __future__ import annotations

from torch import Tensor, nn

__all__ = ["SegmentationLoss", "masked_mean"]


class SegmentationLoss(nn.Module):
    """Base of the losses: ``forward`` checks, converts to float32 and weighs what a subclass computes.

    Args:
        use_sigmoid: True for multi-label targets, one sigmoid channel a lesion; False for an index map and softmax.
        loss_weight: factor on the result.
        loss_name: key in the log; a name with ``loss`` in it takes part in the backward pass.
    """

    def __init__(self, use_sigmoid: bool, loss_weight: float, loss_name: str) -> None:
        super().__init__()
        self.use_sigmoid = use_sigmoid
        self.loss_weight = loss_weight
        self.loss_name = loss_name

    def forward(self, seg_logit: Tensor, label: Tensor, weight: None = None, ignore_index: int = 255) -> Tensor:
        """The weighted loss.

        Args:
            seg_logit: logits ``(B, C, H, W)``.
            label: with ``use_sigmoid`` ``(B, C, H, W)`` in {0, 1, ignore_index}; otherwise ``(B, H, W)`` with the channel's
                index or ignore_index.
            weight: accepted where it is None, for heads written for mmsegmentation.
            ignore_index: value of label that counts for nothing.

        Returns:
            a float32 scalar; zero and attached to the graph where there is nothing to learn from.

        Raises:
            ValueError: if the label's shape does not fit the logits', or a weight is given.
        """
        if weight is not None:
            raise ValueError(f"{type(self).__name__}: got a weight for every pixel, expected None")
        batch, channels, height, width = seg_logit.shape
        expected = (batch, channels, height, width) if self.use_sigmoid else (batch, height, width)
        if tuple(label.shape) != expected:
            kind = "multi-label (use_sigmoid=True)" if self.use_sigmoid else "index-map (use_sigmoid=False)"
            raise ValueError(f"{type(self).__name__}: got a label of shape {tuple(label.shape)} for logits of shape "
                             f"{tuple(seg_logit.shape)}, expected {expected} for a {kind} loss")
        return self.loss_weight * self.compute(seg_logit.float(), label, ignore_index)

    def compute(self, seg_logit: Tensor, label: Tensor, ignore_index: int) -> Tensor:
        """The loss without its weight; arguments as in :meth:`forward`, logits in float32."""
        raise NotImplementedError


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of ``values`` where ``mask`` is 1; zero, attached to the graph, where it is nowhere 1."""
    return (values * mask).sum() / mask.sum().clamp(min=1)
