"""What all networks share: convolutions, runs of residual blocks, the head, the initialisation."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Sequence

from torch import nn


def conv3x3(in_channels: int, out_channels: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    """A bias-free 3x3 convolution: (B, in, H, W) -> (B, out, ceil(H/stride), ceil(W/stride))."""
    return nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, groups=groups, bias=False)


def conv1x1(in_channels: int, out_channels: int, stride: int = 1) -> nn.Conv2d:
    """A bias-free 1x1 convolution."""
    return nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)


def conv_norm_relu(in_channels: int, out_channels: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    """A 3x3 convolution, BatchNorm and ReLU."""
    return [
        conv3x3(in_channels, out_channels, stride, groups),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    ]


def stage(
    block: Callable[[int, int, int], nn.Module], in_channels: int, channels: int, blocks: int, stride: int
) -> nn.Sequential:
    """`blocks` blocks `block(in_channels, out_channels, stride)` in a row; only the first one strides."""
    rest = [block(channels, channels, 1) for _ in range(blocks - 1)]
    return nn.Sequential(block(in_channels, channels, stride), *rest)


def head(channels: int, num_classes: int, norm: bool = False) -> nn.Sequential:
    """(B, channels, H, W) -> logits (B, num_classes): global average pooling, flatten, linear.

    `norm` puts the closing BatchNorm and ReLU of a pre-activation network before the pooling.
    """
    closing = [nn.BatchNorm2d(channels), nn.ReLU(inplace=True)] if norm else []
    return nn.Sequential(*closing, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, num_classes))


def chain(stem: nn.Module, stages: Sequence[nn.Module], head: nn.Sequential) -> nn.Sequential:
    """The network as a sequence with the children stem, stage1, stage2, ..., head; its weights are left as they are."""
    named = {f"stage{i}": module for i, module in enumerate(stages, start=1)}
    return nn.Sequential(OrderedDict(stem=stem, **named, head=head))


def assemble(stem: nn.Module, stages: list[nn.Sequential], head: nn.Sequential) -> nn.Sequential:
    """The network as a sequence with the children stem, stage1, stage2, ..., head, its weights initialised.

    Convolutions are normal with variance 2 / fan_out (He et al., Delving Deep into Rectifiers, ICCV 2015,
    eq. 14), biases of linear layers zero; all else keeps torch's defaults (BatchNorm: weight 1, bias 0).
    """
    model = chain(stem, stages, head)
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            # Counted per group, unlike nn.init.kaiming_normal_, which sees C times too many connections in a
            # depthwise convolution of C channels.
            fan_out = math.prod(module.kernel_size) * module.out_channels // module.groups
            nn.init.normal_(module.weight, std=math.sqrt(2 / fan_out))
        elif isinstance(module, nn.Linear):
            nn.init.zeros_(module.bias)
    return model
