"""Networks for small images, photographs, spectrograms and table rows, as nn.Sequential with the children stem, stage1,
..., head; those for rows have no stem. Those for graphs are a module of their own.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from mixbench.models.mlp import mlp
from mixbench.models.mobilenet import mobilenet
from mixbench.models.packed import packed_gin
from mixbench.models.photographs import bottleneck_resnet, coatnet, vit
from mixbench.models.preactivation import preactresnet, wrn
from mixbench.models.resnet import cifar_resnet, resnet18
from mixbench.models.small_cnn import small_cnn
from mixbench.models.speech import lenet, vgg

__all__ = [
    "MODELS",
    "bottleneck_resnet",
    "cifar_resnet",
    "coatnet",
    "lenet",
    "mlp",
    "mobilenet",
    "packed_gin",
    "preactresnet",
    "resnet18",
    "small_cnn",
    "vgg",
    "vit",
    "wrn",
]

# name: builder(in_channels, num_classes, **knobs); for rows of so many columns, for graphs of so many features of nodes
MODELS: dict[str, Callable[..., nn.Module]] = {
    "wrn": wrn,
    "resnet18": resnet18,
    "cifar_resnet": cifar_resnet,
    "preactresnet": preactresnet,
    "mobilenet": mobilenet,
    "small_cnn": small_cnn,
    "bottleneck_resnet": bottleneck_resnet,
    "vit": vit,
    "lenet": lenet,
    "vgg": vgg,
    "coatnet": coatnet,
    "mlp": mlp,
    "gin": packed_gin,
}
