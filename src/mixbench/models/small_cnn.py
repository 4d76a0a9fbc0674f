"""A small convolutional network for 8x8 digits and quick trials."""

from __future__ import annotations

from torch import nn

from mixbench.models.layers import assemble, conv_norm_relu, head


def small_cnn(in_channels: int, num_classes: int, stem_stride: int = 1) -> nn.Sequential:
    """Three 3x3 convolutions with BatchNorm and ReLU: (B, in_channels, H, W) -> logits (B, num_classes).

    32, 64 and 64 channels; the second convolution strides by 2.
    """
    stem = nn.Sequential(*conv_norm_relu(in_channels, 32, stem_stride))
    stages = [nn.Sequential(*conv_norm_relu(32, 64, stride=2)), nn.Sequential(*conv_norm_relu(64, 64))]
    return assemble(stem, stages, head(64, num_classes))
