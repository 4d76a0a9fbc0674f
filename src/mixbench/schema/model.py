"""Knobs of the model options: the network that is trained."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mixbench.schema.knob import MISSING, knob


@dataclass
class Model:
    """What all networks share."""

    name: str = MISSING
    stem_stride: int = knob("stride of the first convolution; 2 quarters the cost", at_least=1, at_most=2)


@dataclass
class WideResNet(Model):
    """Wide residual network WRN-depth-width: pre-activation blocks, three stages, no dropout.

    Source: Zagoruyko & Komodakis, Wide Residual Networks, BMVC 2016.
    """

    name: str = "wrn"
    depth: int = knob("number of convolutional layers, 6n + 4", at_least=10)
    width: int = knob("widening factor: 16, 32 and 64 times as many channels in the three stages", at_least=1)

    def problems(self) -> Iterator[str]:
        if (self.depth - 4) % 6:
            yield f"model.depth={self.depth}: a wide residual network has depth 6n + 4 (10, 16, 22, 28, ...)."


@dataclass
class ResNet18(Model):
    """ResNet-18 for small images: 3x3 stem without pooling, four stages, projection shortcuts.

    Source: He et al., Deep Residual Learning for Image Recognition, CVPR 2016.
    """

    name: str = "resnet18"


@dataclass
class CifarResNet(Model):
    """Thin ResNet-(6n + 2) for small images: three stages, parameter-free shortcuts (option A).

    Source: He et al., Deep Residual Learning for Image Recognition, CVPR 2016, section 4.2.
    """

    name: str = "cifar_resnet"
    depth: int = knob("number of layers, 6n + 2", at_least=8)

    def problems(self) -> Iterator[str]:
        if (self.depth - 2) % 6:
            yield f"model.depth={self.depth}: a CIFAR ResNet has depth 6n + 2 (20, 32, 44, 56, 110, ...)."


@dataclass
class PreActResNet(Model):
    """Pre-activation ResNet for small images, without BatchNorm and ReLU before the pooling.

    Source: He et al., Identity Mappings in Deep Residual Networks, ECCV 2016; the closing layers as in
    Verma et al., Manifold Mixup, ICML 2019.
    """

    name: str = "preactresnet"
    depth: int = knob("number of layers: 18 or 34 (basic blocks), 50 or 101 (bottlenecks)")

    def problems(self) -> Iterator[str]:
        if self.depth not in (18, 34, 50, 101):
            yield f"model.depth={self.depth}: a PreActResNet has depth 18, 34, 50 or 101."


@dataclass
class MobileNet(Model):
    """MobileNetV1 for small images: depthwise separable convolutions, stem with stride 1.

    Source: Howard et al., MobileNets: Efficient Convolutional Neural Networks for Mobile Vision, 2017.
    """

    name: str = "mobilenet"
    width: float = knob("channels relative to the original's 32 to 1024", at_least=0.05, at_most=4)


@dataclass
class SmallCNN(Model):
    """Three 3x3 convolutions with BatchNorm and ReLU, 57 thousand parameters: for 8x8 digits.

    Source: mixbench.
    """

    name: str = "small_cnn"


OPTIONS: dict[str, type] = {
    "wrn": WideResNet,
    "resnet18": ResNet18,
    "cifar_resnet": CifarResNet,
    "preactresnet": PreActResNet,
    "mobilenet": MobileNet,
    "small_cnn": SmallCNN,
}

LABELS = {
    "wrn": "wrn{0.depth}_{0.width}",
    "cifar_resnet": "resnet{0.depth}",
    "preactresnet": "preactresnet{0.depth}",
    "mobilenet": "mobilenet_x{0.width:g}",
}


def label(model: Any) -> str:
    """A short name of the network for directories and tables: "wrn16_4", "preactresnet18-s2" (stem stride 2).

    `model` is the composed model config: an instance of one of the classes above, or an equal DictConfig.
    """
    stem = "" if model.stem_stride == 1 else f"-s{model.stem_stride}"
    return LABELS.get(model.name, model.name).format(model) + stem


def min_image_size(model: Any) -> int:
    """The smallest image side, in pixels, that the network accepts."""
    return 8 * int(model.stem_stride)
