"""ResNet, plain and V1c, with the dilations of segmentation networks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmcv.cnn import build_conv_layer, build_norm_layer
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from mmseg.models.backbones.pretrained import in_scope
from mmseg.models.defaults import BN, ConfigType, OptConfigType
from mmseg.registry import MODELS

__all__ = ["BasicBlock", "Bottleneck", "ResNet", "ResNetV1c"]


class _Block(nn.Module):
    """What both residual blocks share: ``y = ReLU(residual(x) + shortcut(x))``.

    Args:
        in_channels: channels of x.
        planes: width of the block; it gives ``planes * expansion`` channels.
        stride: 1 or 2.
        dilation: of the block's one dilated 3x3 convolution.
        downsample: the shortcut, or None for the identity.
        style: ``"pytorch"`` strides a bottleneck's 3x3, ``"caffe"`` its first 1x1.
        with_cp: recompute the block in the backward pass instead of keeping its activations.
        conv_cfg: convolution.
        norm_cfg: normalisation.
    """

    expansion: int

    def __init__(
        self, in_channels: int, planes: int, stride: int = 1, dilation: int = 1, downsample: nn.Module | None = None,
        style: str = "pytorch", with_cp: bool = False, conv_cfg: OptConfigType = None, norm_cfg: ConfigType = BN,
    ) -> None:
        super().__init__()
        self.conv_cfg, self.norm_cfg, self.with_cp = conv_cfg, norm_cfg, with_cp
        self._build(in_channels, planes, stride, dilation, style)
        self.downsample = downsample
        self.relu = nn.ReLU(inplace=True)

    def _build(self, in_channels: int, planes: int, stride: int, dilation: int, style: str) -> None:
        raise NotImplementedError

    def _residual(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def _conv(self, in_channels: int, channels: int, size: int, **kwargs: Any) -> nn.Module:
        return build_conv_layer(self.conv_cfg, in_channels, channels, size, bias=False, **kwargs)

    def _norm(self, channels: int) -> nn.Module:
        return build_norm_layer(self.norm_cfg, channels)[1]

    def forward(self, x: Tensor) -> Tensor:
        """``(B, in_channels, H, W)`` to ``(B, planes * expansion, H / stride, W / stride)``."""
        if self.with_cp and x.requires_grad:  # recomputed; nothing is drawn in it
            residual = checkpoint(self._residual, x, use_reentrant=False, preserve_rng_state=False)
        else:
            residual = self._residual(x)
        return self.relu(residual + (x if self.downsample is None else self.downsample(x)))


class BasicBlock(_Block):
    """Two 3x3 convolutions (He et al., 2016); only the first is strided and dilated."""

    expansion = 1

    def _build(self, in_channels: int, planes: int, stride: int, dilation: int, style: str) -> None:
        self.conv1 = self._conv(in_channels, planes, 3, stride=stride, padding=dilation, dilation=dilation)
        self.bn1 = self._norm(planes)
        self.conv2 = self._conv(planes, planes, 3, padding=1)
        self.bn2 = self._norm(planes)

    def _residual(self, x: Tensor) -> Tensor:
        return self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))


class Bottleneck(_Block):
    """1x1, 3x3, 1x1 convolutions (He et al., 2016); the 3x3 is dilated."""

    expansion = 4

    def _build(self, in_channels: int, planes: int, stride: int, dilation: int, style: str) -> None:
        first, second = (1, stride) if style == "pytorch" else (stride, 1)
        self.conv1 = self._conv(in_channels, planes, 1, stride=first)
        self.bn1 = self._norm(planes)
        self.conv2 = self._conv(planes, planes, 3, stride=second, padding=dilation, dilation=dilation)
        self.bn2 = self._norm(planes)
        self.conv3 = self._conv(planes, 4 * planes, 1)
        self.bn3 = self._norm(4 * planes)

    def _residual(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn1(self.conv1(x)))
        return self.bn3(self.conv3(self.relu(self.bn2(self.conv2(x)))))


_BLOCKS: dict[int, tuple[type[_Block], tuple[int, ...]]] = {
    18: (BasicBlock, (2, 2, 2, 2)), 34: (BasicBlock, (3, 4, 6, 3)), 50: (Bottleneck, (3, 4, 6, 3)),
}


@MODELS.register_module()
class ResNet(BaseModule):
    """ResNet (He et al., CVPR 2016); arguments and key names as in mmsegmentation 1.x.

    Args:
        depth: 18, 34 or 50.
        in_channels: image channels.
        stem_channels: channels after the stem.
        base_channels: width of the first stage; it doubles with every stage.
        num_stages: how many of the four stages are built.
        strides: stride of each stage's first block.
        dilations: dilation of each stage.
        out_indices: stages whose outputs are returned.
        style: ``"pytorch"`` or ``"caffe"``, see :class:`Bottleneck`.
        deep_stem: three 3x3 convolutions instead of one 7x7.
        avg_down: average-pool in a strided shortcut instead of striding its 1x1 convolution.
        frozen_stages: the stem (0) and stages up to this one keep their weights; -1 freezes nothing.
        conv_cfg: convolution.
        norm_cfg: normalisation; ``requires_grad=False`` keeps its weight and bias.
        norm_eval: batch normalisation uses its running statistics in training too.
        contract_dilation: the first block of a dilated stage has half the dilation.
        with_cp: trade time for memory by recomputing blocks in the backward pass.
        zero_init_residual: residual branches start at zero, so that every block starts as its shortcut.
        init_cfg: mmengine's initialisation, such as ``dict(type='Pretrained', checkpoint=PATH)``.

    Raises:
        ValueError: for a depth that is not offered, or stages, strides, dilations and out_indices that do not fit together.
    """

    def __init__(
        self, depth: int, in_channels: int = 3, stem_channels: int = 64, base_channels: int = 64, num_stages: int = 4,
        strides: Sequence[int] = (1, 2, 2, 2), dilations: Sequence[int] = (1, 1, 1, 1),
        out_indices: Sequence[int] = (0, 1, 2, 3), style: str = "pytorch", deep_stem: bool = False, avg_down: bool = False,
        frozen_stages: int = -1, conv_cfg: OptConfigType = None, norm_cfg: ConfigType = BN, norm_eval: bool = False,
        contract_dilation: bool = False, with_cp: bool = False, zero_init_residual: bool = True,
        init_cfg: ConfigType | list[ConfigType] | None = None,
    ) -> None:
        super().__init__(in_scope(init_cfg))
        _check(depth, num_stages, strides, dilations, out_indices, style)
        self.init_source = "scratch"
        self.out_indices, self.frozen_stages, self.norm_eval = tuple(out_indices), frozen_stages, norm_eval
        self.deep_stem, self.avg_down, self.contract_dilation = deep_stem, avg_down, contract_dilation
        self.conv_cfg, self.norm_cfg = conv_cfg, norm_cfg
        self._block_args: dict[str, Any] = {"style": style, "with_cp": with_cp, "conv_cfg": conv_cfg, "norm_cfg": norm_cfg}
        self._build_stem(in_channels, stem_channels)

        block, counts = _BLOCKS[depth]
        channels = stem_channels
        self.stage_names = []
        for i in range(num_stages):
            planes = base_channels * 2 ** i
            self.add_module(f"layer{i + 1}", self._stage(block, counts[i], channels, planes, strides[i], dilations[i]))
            self.stage_names.append(f"layer{i + 1}")
            channels = planes * block.expansion
        self._init_parameters(zero_init_residual)
        self._freeze()

    def _build_stem(self, in_channels: int, channels: int) -> None:
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        if not self.deep_stem:
            self.conv1 = build_conv_layer(self.conv_cfg, in_channels, channels, 7, stride=2, padding=3, bias=False)
            self.bn1 = build_norm_layer(self.norm_cfg, channels)[1]
            return
        half = channels // 2
        layers: list[nn.Module] = []
        for before, after, stride in ((in_channels, half, 2), (half, half, 1), (half, channels, 1)):
            conv = build_conv_layer(self.conv_cfg, before, after, 3, stride=stride, padding=1, bias=False)
            layers += [conv, build_norm_layer(self.norm_cfg, after)[1], nn.ReLU(inplace=True)]
        self.stem = nn.Sequential(*layers)

    def _stage(
        self, block: type[_Block], count: int, in_channels: int, planes: int, stride: int, dilation: int,
    ) -> nn.Sequential:
        channels = planes * block.expansion
        downsample = self._shortcut(in_channels, channels, stride) if stride != 1 or in_channels != channels else None
        first_dilation = dilation // 2 if self.contract_dilation and dilation > 1 else dilation
        blocks = [block(in_channels, planes, stride, first_dilation, downsample, **self._block_args)]
        blocks += [block(channels, planes, 1, dilation, **self._block_args) for _ in range(count - 1)]
        return nn.Sequential(*blocks)

    def _shortcut(self, in_channels: int, channels: int, stride: int) -> nn.Sequential:
        pools: list[nn.Module] = []
        if self.avg_down:
            pools.append(nn.AvgPool2d(stride, stride, ceil_mode=True, count_include_pad=False))
            stride = 1
        conv = build_conv_layer(self.conv_cfg, in_channels, channels, 1, stride=stride, bias=False)
        return nn.Sequential(*pools, conv, build_norm_layer(self.norm_cfg, channels)[1])

    def _init_parameters(self, zero_init_residual: bool) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, _Block) and zero_init_residual:
                last: Any = module.bn3 if isinstance(module, Bottleneck) else module.bn2  # before the addition
                nn.init.zeros_(last.weight)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Features of the stages in ``out_indices``.

        Args:
            x: ``(B, in_channels, H, W)``, normalised.

        Returns:
            one ``(B, C_i, H_i, W_i)`` a stage; with strides 1, 2, 1, 1 the last three are at stride 8.
        """
        x = self.stem(x) if self.deep_stem else self.relu(self.bn1(self.conv1(x)))
        x = self.maxpool(x)
        outputs = []
        for i, name in enumerate(self.stage_names):
            x = getattr(self, name)(x)
            if i in self.out_indices:
                outputs.append(x)
        return tuple(outputs)

    def train(self, mode: bool = True) -> ResNet:
        """Set training mode, but keep frozen stages and, with ``norm_eval``, batch normalisation in evaluation mode."""
        super().train(mode)
        self._freeze()
        if mode and self.norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def _freeze(self) -> None:
        if self.frozen_stages < 0:
            return
        stem = [self.stem] if self.deep_stem else [self.conv1, self.bn1]
        for module in [*stem, *(getattr(self, name) for name in self.stage_names[:self.frozen_stages])]:
            module.eval()
            module.requires_grad_(False)


@MODELS.register_module()
class ResNetV1c(ResNet):
    """ResNet with a deep stem (variant C of He et al., "Bag of tricks", CVPR 2019); arguments of :class:`ResNet`."""

    def __init__(self, depth: int, **kwargs: Any) -> None:
        super().__init__(depth, **{"deep_stem": True, **kwargs})


def _check(
    depth: int, num_stages: int, strides: Sequence[int], dilations: Sequence[int], out_indices: Sequence[int], style: str,
) -> None:
    if depth not in _BLOCKS:
        raise ValueError(f"ResNet: got depth={depth}, expected one of {sorted(_BLOCKS)}")
    if not 1 <= num_stages <= 4 or len(strides) != num_stages or len(dilations) != num_stages:
        raise ValueError(f"ResNet: got num_stages={num_stages} with {len(strides)} strides and {len(dilations)} dilations; "
                         "expected 1 to 4 stages and one stride and one dilation for each")
    if any(not 0 <= i < num_stages for i in out_indices):
        raise ValueError(f"ResNet: got out_indices={tuple(out_indices)}, expected each below num_stages={num_stages}")
    if style not in ("pytorch", "caffe"):
        raise ValueError(f"ResNet: got style={style!r}, expected 'pytorch' or 'caffe'")
