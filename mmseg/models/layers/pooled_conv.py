"""A convolution block for globally pooled descriptors that survives a batch of one."""

from __future__ import annotations

import torch.distributed as dist
from mmcv.cnn import ConvModule
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

__all__ = ["PooledConv"]


class PooledConv(ConvModule):
    """``ConvModule`` for ``(B, C, 1, 1)`` descriptors; its arguments and key names are unchanged.

    In training, batch normalisation needs more than one value per channel, and a pooled descriptor of a batch of one has
    exactly one: PyTorch raises an error. Such a call is normalised by the running statistics instead, as in evaluation, and
    leaves them alone. With ``SyncBatchNorm`` over several ranks the other ranks supply the variance.
    """

    def forward(self, x: Tensor, activate: bool = True, norm: bool = True) -> Tensor:
        """Convolve, normalise, activate.

        Args:
            x: ``(B, C, 1, 1)``; other sizes work as well.
            activate: whether to apply the activation.
            norm: whether to normalise.

        Returns:
            ``(B, out_channels, 1, 1)``.
        """
        if not self._has_no_variance(x):
            return super().forward(x, activate, norm)
        self.norm.eval()
        try:
            return super().forward(x, activate, norm)
        finally:
            self.norm.train()

    def _has_no_variance(self, x: Tensor) -> bool:
        if not (isinstance(self.norm, _BatchNorm) and self.norm.training):
            return False
        ranks = dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1
        synchronised = isinstance(self.norm, nn.SyncBatchNorm) and ranks > 1
        return x.numel() == x.shape[1] and not synchronised
