"""Networks for photographs: ResNet-50 and ViT-B/16 of torchvision, CoAtNet-0 of timm, cut into stem, stages and head.

Weights, their initial values and what is computed are the libraries' own; only the names of the parts are ours, so that
what looks for stages finds them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from mixbench.errors import ConfigError
from mixbench.models.layers import chain

if TYPE_CHECKING:
    from torchvision.models import VisionTransformer

BLOCKS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}


def bottleneck_resnet(in_channels: int, num_classes: int, depth: int = 50) -> nn.Sequential:
    """ResNet-50, 101 or 152 with a 7x7 stem of stride 4: (B, in_channels, H, W) -> logits (B, num_classes).

    He et al., Deep Residual Learning for Image Recognition, CVPR 2016; torchvision's, whose blocks stride in the 3x3
    convolution. Raises ValueError for another depth.
    """
    # Here: importing it takes a second, for every run.
    from torchvision.models.resnet import (
        Bottleneck,
        ResNet,
    )

    if depth not in BLOCKS:
        raise ValueError(f"depth={depth}: must be one of {', '.join(map(str, BLOCKS))}")
    whole = ResNet(Bottleneck, list(BLOCKS[depth]), num_classes=num_classes)
    if in_channels != 3:
        whole.conv1 = nn.Conv2d(in_channels, 64, 7, 2, 3, bias=False)
        nn.init.kaiming_normal_(whole.conv1.weight, mode="fan_out", nonlinearity="relu")
    stem = nn.Sequential(whole.conv1, whole.bn1, whole.relu, whole.maxpool)
    stages = [whole.layer1, whole.layer2, whole.layer3, whole.layer4]
    return chain(stem, stages, nn.Sequential(whole.avgpool, nn.Flatten(), whole.fc))


def vit(
    in_channels: int,
    num_classes: int,
    image_size: int = 224,
    patch: int = 16,
    depth: int = 12,
    heads: int = 12,
    width: int = 768,
    mlp_width: int = 3072,
    dropout: float = 0.0,
) -> nn.Sequential:
    """Vision transformer, ViT-B/16 by default: (B, in_channels, image_size, image_size) -> logits (B, num_classes).

    Dosovitskiy et al., An Image is Worth 16x16 Words, ICLR 2021; torchvision's. Every layer is a stage, whose output is
    (B, 1 + (image_size / patch)^2, width), the class token first.
    """
    from torchvision.models import VisionTransformer

    whole = VisionTransformer(
        image_size, patch, depth, heads, width, mlp_width, dropout=dropout, num_classes=num_classes
    )
    if in_channels != 3:
        whole.conv_proj = nn.Conv2d(in_channels, width, patch, patch)
        nn.init.trunc_normal_(whole.conv_proj.weight, std=(in_channels * patch**2) ** -0.5)
        nn.init.zeros_(whole.conv_proj.bias)
    head = nn.Sequential(whole.encoder.ln, ClassToken(), whole.heads)
    return chain(Patches(whole), list(whole.encoder.layers), head)


class Patches(nn.Module):
    """Images (B, C, H, W) to tokens (B, 1 + HW / patch^2, width), the class token first, with their positions."""

    def __init__(self, whole: VisionTransformer) -> None:
        super().__init__()
        self.embedding, self.dropout = whole.conv_proj, whole.encoder.dropout
        self.class_token, self.positions = whole.class_token, whole.encoder.pos_embedding

    def forward(self, x: Tensor) -> Tensor:
        patches = self.embedding(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.class_token.expand(len(x), -1, -1), patches], dim=1)
        return self.dropout(tokens + self.positions)


class ClassToken(nn.Module):
    """The first token (B, width) of (B, N, width)."""

    def forward(self, x: Tensor) -> Tensor:
        return x[:, 0]


def coatnet(
    in_channels: int, num_classes: int, image_size: int = 224, drop_path: float = 0.0, dropout: float = 0.0
) -> nn.Sequential:
    """CoAtNet-0: (B, in_channels, image_size, image_size) -> logits (B, num_classes).

    Dai et al., CoAtNet: Marrying Convolution and Attention for All Data Sizes, NeurIPS 2021; timm's coatnet_0_224.
    Raises ConfigError where timm is not installed.
    """
    try:
        import timm
    except ImportError:
        raise ConfigError("model=coatnet0: needs timm; pip install 'mixbench[timm]' brings it.") from None

    whole: Any = timm.create_model(
        "coatnet_0_224",
        pretrained=False,
        in_chans=in_channels,
        num_classes=num_classes,
        img_size=image_size,
        drop_path_rate=drop_path,
        drop_rate=dropout,
    )
    return chain(whole.stem, list(whole.stages), nn.Sequential(whole.norm, whole.head))
