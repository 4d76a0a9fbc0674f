"""Pre-activation residual networks: WRN-depth-width and PreActResNet-18/34/50/101."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from mixbench.models.layers import assemble, chain, conv1x1, conv3x3, head, stage


class PreActivation(nn.Module):
    """A residual block that normalises and activates before each convolution.

    Where the shape changes, the shortcut is a 1x1 convolution of the activated input; otherwise it is the
    input itself (He et al., Identity Mappings in Deep Residual Networks, ECCV 2016).
    """

    def __init__(self, in_channels: int, convs: list[nn.Conv2d], stride: int) -> None:
        super().__init__()
        self.activate = nn.Sequential(nn.BatchNorm2d(in_channels), nn.ReLU(inplace=True))
        body: list[nn.Module] = [convs[0]]
        for conv in convs[1:]:
            body += [nn.BatchNorm2d(conv.in_channels), nn.ReLU(inplace=True), conv]
        self.body = nn.Sequential(*body)
        out_channels = convs[-1].out_channels
        same = stride == 1 and in_channels == out_channels
        self.shortcut = None if same else conv1x1(in_channels, out_channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        active = self.activate(x)
        carried = x if self.shortcut is None else self.shortcut(active)
        return carried + self.body(active)


def basic(in_channels: int, out_channels: int, stride: int) -> PreActivation:
    """The block of two 3x3 convolutions, the first of which strides."""
    convs = [conv3x3(in_channels, out_channels, stride), conv3x3(out_channels, out_channels)]
    return PreActivation(in_channels, convs, stride)


def bottleneck(in_channels: int, out_channels: int, stride: int) -> PreActivation:
    """The block 1x1, 3x3, 1x1 whose 3x3 convolution strides and has a quarter of the output's channels."""
    inner = out_channels // 4
    convs = [conv1x1(in_channels, inner), conv3x3(inner, inner, stride), conv1x1(inner, out_channels)]
    return PreActivation(in_channels, convs, stride)


class ReleasedByMixupE(nn.Module):
    """The residual block of the WRN in the code of MixupE (Zou et al., UAI 2023).

    Convolutions have biases, the second one strides, and the 1x1 convolution of the shortcut, where the shape
    changes, sees the block's input without normalisation and activation.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.BatchNorm2d(in_channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(in_channels, out_channels, 3, padding=1),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(out_channels, out_channels, 3, stride, padding=1),
        )
        same = stride == 1 and in_channels == out_channels
        self.shortcut = nn.Identity() if same else nn.Conv2d(in_channels, out_channels, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x) + self.shortcut(x)


def wrn(
    in_channels: int, num_classes: int, depth: int, width: int, stem_stride: int = 1, variant: str = "paper"
) -> nn.Sequential:
    """Wide residual network WRN-depth-width: (B, in_channels, H, W) -> logits (B, num_classes).

    Three stages of (depth - 4) / 6 basic blocks with 16, 32 and 64 times `width` channels; strides 1, 2, 2
    after the stem's; no dropout, no biases in the convolutions. Zagoruyko & Komodakis, BMVC 2016.

    `variant="mixupe"` is the network of the code of MixupE instead: the blocks of `ReleasedByMixupE`, a bias in
    the stem too, momentum 0.9 in the closing BatchNorm, and torch's initial weights.

    Raises:
        ValueError: if depth is not 6n + 4, or there is no such variant.
    """
    if variant not in ("paper", "mixupe"):
        raise ValueError(f"variant={variant}: not one of paper, mixupe")
    blocks, remainder = divmod(depth - 4, 6)
    if remainder or blocks < 1:
        raise ValueError(
            f"depth={depth}: a wide residual network has depth 6n + 4 (10, 16, 22, 28, 34, 40, ...)"
        )
    channels = [16, 16 * width, 32 * width, 64 * width]
    block: Callable[[int, int, int], nn.Module] = basic if variant == "paper" else ReleasedByMixupE
    stages = [stage(block, channels[i], channels[i + 1], blocks, stride=min(i + 1, 2)) for i in range(3)]
    if variant == "paper":
        return assemble(
            conv3x3(in_channels, 16, stem_stride), stages, head(channels[-1], num_classes, norm=True)
        )
    closing = head(channels[-1], num_classes, norm=True)
    closing[0] = nn.BatchNorm2d(channels[-1], momentum=0.9)
    return chain(nn.Conv2d(in_channels, 16, 3, stem_stride, padding=1), stages, closing)


# depth: (block, channels of a stage's output relative to 64, 128, 256, 512; blocks per stage)
PREACT_LAYOUTS: dict[int, tuple[Callable[[int, int, int], nn.Module], int, tuple[int, int, int, int]]] = {
    18: (basic, 1, (2, 2, 2, 2)),
    34: (basic, 1, (3, 4, 6, 3)),
    50: (bottleneck, 4, (3, 4, 6, 3)),
    101: (bottleneck, 4, (3, 4, 23, 3)),
}


def preactresnet(in_channels: int, num_classes: int, depth: int, stem_stride: int = 1) -> nn.Sequential:
    """Pre-activation ResNet for small images: (B, in_channels, H, W) -> logits (B, num_classes).

    A 3x3 stem of 64 channels and four stages with strides 1, 2, 2, 2. The last block's output is pooled as it
    is, without a closing BatchNorm and ReLU: so does the public code of Manifold Mixup, PuzzleMix and MixupE,
    while He et al. (ECCV 2016) close with both.

    Raises:
        ValueError: if depth is not 18, 34, 50 or 101.
    """
    if depth not in PREACT_LAYOUTS:
        raise ValueError(f"depth={depth}: a PreActResNet has depth {', '.join(map(str, PREACT_LAYOUTS))}")
    block, expansion, blocks = PREACT_LAYOUTS[depth]
    channels = [64, *(64 * 2**i * expansion for i in range(4))]
    stages = [stage(block, channels[i], channels[i + 1], blocks[i], stride=min(i + 1, 2)) for i in range(4)]
    return assemble(conv3x3(in_channels, 64, stem_stride), stages, head(channels[-1], num_classes))
