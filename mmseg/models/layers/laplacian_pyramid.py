"""The high bands of a Laplacian pyramid: what the shallow branch sees of an image."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["LaplacianPyramid"]


class LaplacianPyramid(nn.Module):
    """Split an image into band-pass levels (Burt and Adelson, 1983), as ISDNet (Guo et al., CVPR 2022) does for its input.

    With the 5x5 binomial kernel ``k`` (outer product of 1 4 6 4 1, over 256) and reflected borders::

        down(x) = (k * x)[even rows, even columns]
        up(x)   = 4 k * (x with zeros between rows and columns)
        band_i  = level_i - up(down(level_i)),    level_{i+1} = down(level_i)

    For odd sizes ``up`` is one row or column too large; the last one is left out, which is what ISDNet's resizing with nearest
    does. The low-pass remainder is not returned.
    Everything is computed in float32, also under autocast: bands are small differences of large numbers.

    Args:
        channels: image channels.
    """

    kernel: Tensor

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        row = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16
        kernel = torch.outer(row, row).repeat(channels, 1, 1, 1)
        self.register_buffer("kernel", kernel, persistent=False)

    def forward(self, image: Tensor, num_bands: int = 2) -> list[Tensor]:
        """The high bands, finest first.

        Args:
            image: ``(B, C, H, W)``, normalised; the coarsest level it is split into is at least 3 px on each side.
            num_bands: how many bands.

        Returns:
            float32 bands: ``(B, C, H, W)``, ``(B, C, ceil(H / 2), ceil(W / 2))``, ...
        """
        bands = []
        level = image.float()
        with torch.autocast(image.device.type, enabled=False):
            for _ in range(num_bands):
                smaller = self._blur(level)[..., ::2, ::2]
                bands.append(level - self._up(smaller, level.shape[2:]))
                level = smaller
        return bands

    def shallow_input(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """ISDNet's input to the shallow branch, and its target for super-resolution.

        Args:
            image: ``(B, C, H, W)``, normalised, at least 5 px on each side.

        Returns:
            ``(B, 2C, H, W)``, band 1 concatenated with the bilinearly enlarged band 2; and ``(B, C, H, W)``, their sum.
        """
        fine, coarse = self(image, num_bands=2)
        coarse = F.interpolate(coarse, size=fine.shape[2:], mode="bilinear", align_corners=False)
        return torch.cat([fine, coarse], dim=1), fine + coarse

    def _blur(self, x: Tensor, surplus: tuple[int, int] = (0, 0)) -> Tensor:
        """Convolve, without the last rows and columns; they are left out of the padding, since an exported graph, where the
        size is open, can neither branch on its parity nor take a part of the result."""
        kernel = self.kernel.float()
        padded = F.pad(x, (2, 2 - surplus[1], 2, 2 - surplus[0]), mode="reflect")
        if x.is_cuda:  # planar, for which torch has a kernel of its own: cuDNN's for channels-last may compute in TF32
            kernel, padded = kernel.flatten().view(kernel.shape), padded.contiguous()
        return F.conv2d(padded, kernel, groups=kernel.shape[0])

    def _up(self, x: Tensor, size: torch.Size) -> Tensor:
        batch, channels, height, width = x.shape
        spread = x.new_zeros(batch, channels, 2 * height, 2 * width)
        spread[..., ::2, ::2] = x
        return 4 * self._blur(spread, (2 * height - size[0], 2 * width - size[1]))
