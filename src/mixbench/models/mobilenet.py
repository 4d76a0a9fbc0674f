"""MobileNetV1 for small images."""

from __future__ import annotations

from torch import nn

from mixbench.models.layers import assemble, conv1x1, conv_norm_relu, head

# Output channels at width 1, and stride, of the depthwise separable convolutions of each stage.
STAGES = [
    [(64, 1)],
    [(128, 2), (128, 1)],
    [(256, 2), (256, 1)],
    [(512, 2), *[(512, 1)] * 5],
    [(1024, 2), (1024, 1)],
]


def separable(in_channels: int, out_channels: int, stride: int) -> nn.Sequential:
    """A depthwise 3x3 convolution and a pointwise 1x1 convolution, each with BatchNorm and ReLU."""
    depthwise = conv_norm_relu(in_channels, in_channels, stride, groups=in_channels)
    pointwise = [conv1x1(in_channels, out_channels), nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True)]
    return nn.Sequential(*depthwise, *pointwise)


def mobilenet(in_channels: int, num_classes: int, width: float = 0.35, stem_stride: int = 1) -> nn.Sequential:
    """MobileNetV1: (B, in_channels, H, W) -> logits (B, num_classes).

    Every layer has `width` times the channels of the original, rounded down. The stem keeps the resolution,
    while the original's halves it. Howard et al., MobileNets, 2017 (arXiv:1704.04861).
    """
    channels = int(32 * width)
    stem = nn.Sequential(*conv_norm_relu(in_channels, channels, stem_stride))
    stages = []
    for layout in STAGES:
        blocks = []
        for full_channels, stride in layout:
            out_channels = int(full_channels * width)
            blocks.append(separable(channels, out_channels, stride))
            channels = out_channels
        stages.append(nn.Sequential(*blocks))
    return assemble(stem, stages, head(channels, num_classes))
