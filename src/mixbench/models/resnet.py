"""Residual networks that activate after the addition: ResNet-18 and the thin CIFAR ResNets (ResNet-56)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from mixbench.models.layers import assemble, conv1x1, conv3x3, conv_norm_relu, head, stage


class BasicBlock(nn.Module):
    """relu(shortcut(x) + body(x)) with two 3x3 convolutions, the first of which strides."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, shortcut: nn.Module) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *conv_norm_relu(in_channels, out_channels, stride),
            conv3x3(out_channels, out_channels),
            nn.BatchNorm2d(out_channels),
        )
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.shortcut(x) + self.body(x), inplace=True)


class ZeroPadShortcut(nn.Module):
    """Every `stride`-th pixel, zeros as the missing channels (He et al., CVPR 2016, option A)."""

    def __init__(self, extra_channels: int, stride: int) -> None:
        super().__init__()
        self.extra_channels = extra_channels
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        return functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.extra_channels))


def projecting(in_channels: int, out_channels: int, stride: int) -> BasicBlock:
    """A block whose shortcut is a 1x1 convolution with BatchNorm where the shape changes (option B)."""
    same = stride == 1 and in_channels == out_channels
    projection = nn.Sequential(conv1x1(in_channels, out_channels, stride), nn.BatchNorm2d(out_channels))
    return BasicBlock(in_channels, out_channels, stride, nn.Identity() if same else projection)


def padding(in_channels: int, out_channels: int, stride: int) -> BasicBlock:
    """A block whose shortcut has no parameters (option A)."""
    same = stride == 1 and in_channels == out_channels
    shortcut = nn.Identity() if same else ZeroPadShortcut(out_channels - in_channels, stride)
    return BasicBlock(in_channels, out_channels, stride, shortcut)


def resnet18(in_channels: int, num_classes: int, stem_stride: int = 1) -> nn.Sequential:
    """ResNet-18 for small images: (B, in_channels, H, W) -> logits (B, num_classes).

    The network of He et al., Deep Residual Learning for Image Recognition, CVPR 2016, with a 3x3 stem and no
    max-pooling; four stages of two blocks, 64 to 512 channels, strides 1, 2, 2, 2, projection shortcuts.
    """
    stem = nn.Sequential(*conv_norm_relu(in_channels, 64, stem_stride))
    channels = [64, 64, 128, 256, 512]
    stages = [stage(projecting, channels[i], channels[i + 1], 2, stride=min(i + 1, 2)) for i in range(4)]
    return assemble(stem, stages, head(512, num_classes))


def cifar_resnet(in_channels: int, num_classes: int, depth: int, stem_stride: int = 1) -> nn.Sequential:
    """Thin ResNet of He et al., CVPR 2016, section 4.2: (B, in_channels, H, W) -> logits (B, num_classes).

    Three stages of (depth - 2) / 6 blocks with 16, 32 and 64 channels and strides 1, 2, 2; shortcuts without
    parameters (option A), as in the paper.

    Raises:
        ValueError: if depth is not 6n + 2.
    """
    blocks, remainder = divmod(depth - 2, 6)
    if remainder or blocks < 1:
        raise ValueError(f"depth={depth}: a CIFAR ResNet has depth 6n + 2 (20, 32, 44, 56, 110, ...)")
    stem = nn.Sequential(*conv_norm_relu(in_channels, 16, stem_stride))
    channels = [16, 16, 32, 64]
    stages = [stage(padding, channels[i], channels[i + 1], blocks, stride=min(i + 1, 2)) for i in range(3)]
    return assemble(stem, stages, head(64, num_classes))
