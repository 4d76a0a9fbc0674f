"""Networks for spectrograms 161x101 of adiyoss/GCommandsPytorch: LeNet, VGG-11 and VGG-13.

Convolutions, pools and linear layers are those of the original; weights start as torch has them.
"""

from __future__ import annotations

from torch import nn

from mixbench.models.layers import chain

# Channels of the convolutions between two pools.
VGG = {
    11: ((64,), (128,), (256, 256), (512, 512), (512, 512)),
    13: ((64, 64), (128, 128), (256, 256), (512, 512), (512, 512)),
}


def lenet(in_channels: int, num_classes: int) -> nn.Sequential:
    """Two 5x5 convolutions of 20 channels: (B, in_channels, 161, 101) -> logits (B, num_classes).

    37 x 22 x 20 = 16280 numbers go into the hidden layer of 1000 units.
    """
    stem = nn.Sequential(nn.Conv2d(in_channels, 20, 5), nn.MaxPool2d(2), nn.ReLU(inplace=True))
    second = nn.Sequential(nn.Conv2d(20, 20, 5), nn.Dropout2d(), nn.MaxPool2d(2), nn.ReLU(inplace=True))
    hidden = [nn.Linear(16280, 1000), nn.ReLU(inplace=True), nn.Dropout()]
    return chain(stem, [second], nn.Sequential(nn.Flatten(), *hidden, nn.Linear(1000, num_classes)))


def vgg(in_channels: int, num_classes: int, depth: int) -> nn.Sequential:
    """VGG-11 or 13 with BatchNorm: (B, in_channels, 161, 101) -> logits (B, num_classes).

    Five pools leave 5 x 3 x 512 = 7680 numbers; the two linear layers after them have nothing in between, as in the
    original. Simonyan & Zisserman, ICLR 2015. Raises ValueError for another depth.
    """
    if depth not in VGG:
        raise ValueError(f"depth={depth}: must be 11 or 13")
    blocks, channels = [], in_channels
    for layout in VGG[depth]:
        layers: list[nn.Module] = []
        for out in layout:
            layers += [nn.Conv2d(channels, out, 3, padding=1), nn.BatchNorm2d(out), nn.ReLU(inplace=True)]
            channels = out
        blocks.append(nn.Sequential(*layers, nn.MaxPool2d(2)))
    return chain(
        blocks[0], blocks[1:], nn.Sequential(nn.Flatten(), nn.Linear(7680, 512), nn.Linear(512, num_classes))
    )
