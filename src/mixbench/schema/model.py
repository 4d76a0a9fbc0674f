"""Knobs of the model options: the network that is trained."""

from __future__ import annotations

import importlib.util
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from mixbench.errors import MixbenchError
from mixbench.schema.knob import MISSING, knob


@dataclass
class Model:
    """What all networks share.

    `kinds` are the kinds of inputs that the network takes, `short` its name in directories and tables, formatted with
    its knobs, and `least_side` the smallest image, in pixels, that it accepts. `num_stages` is the number of its
    modules stage1, stage2, ..., `reduction` the stride of all of them together; None: not known.
    """

    kinds: ClassVar[tuple[str, ...]] = ("image",)
    short: ClassVar[str] = "{0.name}"
    least_side: ClassVar[int] = 1
    num_stages: ClassVar[int | None] = None
    reduction: ClassVar[int | None] = None

    name: str = MISSING


@dataclass
class StemModel(Model):
    """A network that begins with a convolution of small stride."""

    least_side: ClassVar[int] = 8

    stem_stride: int = knob("stride of the first convolution; 2 quarters the cost", at_least=1, at_most=2)


@dataclass
class WideResNet(StemModel):
    """Wide residual network WRN-depth-width: pre-activation blocks, three stages, no dropout.

    Source: Zagoruyko & Komodakis, Wide Residual Networks, BMVC 2016.
    """

    short: ClassVar[str] = "wrn{0.depth}_{0.width}"
    num_stages: ClassVar[int | None] = 3
    reduction: ClassVar[int | None] = 4

    name: str = "wrn"
    depth: int = knob("number of convolutional layers, 6n + 4", at_least=10, at_most=2000)
    width: int = knob(
        "widening factor: 16, 32 and 64 times as many channels in the three stages", at_least=1, at_most=100
    )
    variant: str = knob(
        "the network of the paper, or that of MixupE's code: biases, other strides, shortcuts and initial weights",
        default="paper",
        choices=["paper", "mixupe"],
    )

    def problems(self) -> Iterator[str]:
        if (self.depth - 4) % 6:
            yield f"model.depth={self.depth}: a wide residual network has depth 6n + 4 (10, 16, 22, 28, ...)."

    def least_weights(self) -> int:
        """The number of weights in the 3x3 convolutions of the three stages, which are nearly all."""
        sides = [16, *(c * self.width for c in (16, 32, 64))]
        layers = (self.depth - 4) // 3
        return sum(9 * c * (before + (layers - 1) * c) for before, c in itertools.pairwise(sides))


@dataclass
class ResNet18(StemModel):
    """ResNet-18 for small images: 3x3 stem without pooling, four stages, projection shortcuts.

    Source: He et al., Deep Residual Learning for Image Recognition, CVPR 2016.
    """

    num_stages: ClassVar[int | None] = 4
    reduction: ClassVar[int | None] = 8

    name: str = "resnet18"


@dataclass
class CifarResNet(StemModel):
    """Thin ResNet-(6n + 2) for small images: three stages, parameter-free shortcuts (option A).

    Source: He et al., Deep Residual Learning for Image Recognition, CVPR 2016, section 4.2.
    """

    short: ClassVar[str] = "resnet{0.depth}"
    num_stages: ClassVar[int | None] = 3
    reduction: ClassVar[int | None] = 4

    name: str = "cifar_resnet"
    depth: int = knob("number of layers, 6n + 2", at_least=8, at_most=2000)

    def problems(self) -> Iterator[str]:
        if (self.depth - 2) % 6:
            yield f"model.depth={self.depth}: a CIFAR ResNet has depth 6n + 2 (20, 32, 44, 56, 110, ...)."


@dataclass
class PreActResNet(StemModel):
    """Pre-activation ResNet for small images, without BatchNorm and ReLU before the pooling.

    Source: He et al., Identity Mappings in Deep Residual Networks, ECCV 2016; the closing layers as in
    Verma et al., Manifold Mixup, ICML 2019.
    """

    short: ClassVar[str] = "preactresnet{0.depth}"
    num_stages: ClassVar[int | None] = 4
    reduction: ClassVar[int | None] = 8

    name: str = "preactresnet"
    depth: int = knob("number of layers: 18 or 34 (basic blocks), 50 or 101 (bottlenecks)")

    def problems(self) -> Iterator[str]:
        if self.depth not in (18, 34, 50, 101):
            yield f"model.depth={self.depth}: a PreActResNet has depth 18, 34, 50 or 101."


@dataclass
class MobileNet(StemModel):
    """MobileNetV1 for small images: depthwise separable convolutions, stem with stride 1.

    Source: Howard et al., MobileNets: Efficient Convolutional Neural Networks for Mobile Vision, 2017.
    """

    short: ClassVar[str] = "mobilenet_x{0.width:g}"
    num_stages: ClassVar[int | None] = 5
    reduction: ClassVar[int | None] = 16

    name: str = "mobilenet"
    width: float = knob("channels relative to the original's 32 to 1024", at_least=0.05, at_most=4)


@dataclass
class SmallCNN(StemModel):
    """Three 3x3 convolutions with BatchNorm and ReLU, 57 thousand parameters: for 8x8 digits.

    Source: mixbench.
    """

    num_stages: ClassVar[int | None] = 2
    reduction: ClassVar[int | None] = 2

    name: str = "small_cnn"


@dataclass
class BottleneckResNet(Model):
    """ResNet for photographs: 7x7 stem with pooling, four stages of bottleneck blocks.

    Source: He et al., Deep Residual Learning for Image Recognition, CVPR 2016; torchvision.models.resnet50.
    """

    short: ClassVar[str] = "resnet{0.depth}"
    least_side: ClassVar[int] = 32
    num_stages: ClassVar[int | None] = 4
    reduction: ClassVar[int | None] = 32

    name: str = "bottleneck_resnet"
    depth: int = knob("number of layers: 50, 101 or 152")

    def problems(self) -> Iterator[str]:
        if self.depth not in (50, 101, 152):
            yield f"model.depth={self.depth}: a ResNet of bottleneck blocks has depth 50, 101 or 152."


@dataclass
class OfOneSize(Model):
    """A network that is made for squares of one size."""

    image_size: int = knob("side of the images, in pixels", at_least=1, at_most=4096)

    def conflicts(self, run: Any) -> Iterator[str]:
        """What does not go together with the rest of the run."""
        try:
            spec = run.dataset.spec() if run.dataset.present() else None
        except MixbenchError:  # which the data set's own check names
            return
        if spec is not None and spec.kind == "image" and tuple(spec.shape[:2]) != (self.image_size,) * 2:
            yield (
                f"model.image_size={self.image_size}: images of {spec.name} have {spec.shape[0]}x{spec.shape[1]}"
                " pixels; both must be the same."
            )


@dataclass
class ViT(OfOneSize):
    """Vision transformer: square patches as tokens, the logits from a class token.

    Source: Dosovitskiy et al., An Image is Worth 16x16 Words, ICLR 2021; torchvision.models.VisionTransformer.
    """

    short: ClassVar[str] = "vit{0.depth}_{0.width}_{0.patch}"

    name: str = "vit"
    patch: int = knob("side of a patch, in pixels", at_least=1, at_most=4096)
    depth: int = knob("number of layers, each a stage", at_least=1, at_most=1000)
    heads: int = knob("attention heads of a layer", at_least=1, at_most=1000)
    width: int = knob("length of a token", at_least=1, at_most=100_000)
    mlp_width: int = knob("hidden units of a layer", at_least=1, at_most=1_000_000)
    dropout: float = knob("share of the units that are dropped in training", at_least=0, below=1)

    @property
    def num_stages(self) -> int:  # type: ignore[override]
        return self.depth

    def problems(self) -> Iterator[str]:
        if self.image_size % self.patch:
            yield f"model.patch={self.patch}: must divide model.image_size={self.image_size}."
        if self.width % self.heads:
            yield f"model.heads={self.heads}: must divide model.width={self.width}."


@dataclass
class CoAtNet(OfOneSize):
    """CoAtNet-0: two stages of convolutions, then two of attention.

    Source: Dai et al., CoAtNet: Marrying Convolution and Attention for All Data Sizes, NeurIPS 2021; timm's
    coatnet_0_224.
    """

    short: ClassVar[str] = "coatnet0"
    least_side: ClassVar[int] = 32
    num_stages: ClassVar[int | None] = 4
    reduction: ClassVar[int | None] = 32

    name: str = "coatnet"
    drop_path: float = knob(
        "share of the last block's outputs that are dropped in training", at_least=0, below=1
    )
    dropout: float = knob("share of the head's inputs that are dropped in training", at_least=0, below=1)

    def lacking(self) -> str:
        """What has to be installed for it; empty where it is."""
        here = importlib.util.find_spec("timm") is not None
        return "" if here else f"timm, for model={label(self)} (pip install 'mixbench[timm]')"

    def problems(self) -> Iterator[str]:
        if self.image_size % 32:
            yield f"model.image_size={self.image_size}: must be a multiple of 32."


@dataclass
class MLP(Model):
    """Multi-layer perceptron for table rows: hidden layers of one width with ReLU.

    Source: Zou et al., MixupE, 2023, section 4.2, after Zhang et al., mixup, 2018: two layers of 128 units.
    """

    kinds: ClassVar[tuple[str, ...]] = ("row",)
    short: ClassVar[str] = "mlp{0.depth}x{0.width}"

    name: str = "mlp"
    width: int = knob("units of each hidden layer", at_least=1, at_most=100_000)
    depth: int = knob("number of hidden layers, which are the stages", at_least=1, at_most=1000)

    @property
    def num_stages(self) -> int:  # type: ignore[override]
        return self.depth


@dataclass
class GIN(Model):
    """Graph isomorphism network: sums over neighbours, and a readout of every layer.

    Source: Xu, Hu, Leskovec, Jegelka, How Powerful are Graph Neural Networks?, ICLR 2019; PyTorch Geometric's GINConv.
    """

    kinds: ClassVar[tuple[str, ...]] = ("graph",)
    short: ClassVar[str] = "gin{0.layers}x{0.width}"

    name: str = "gin"
    width: int = knob("units of each convolution", at_least=1, at_most=100_000)
    layers: int = knob("representations, the input's included", at_least=1, at_most=1000)
    dropout: float = knob("share of each layer's scores that are dropped in training", at_least=0, below=1)

    def lacking(self) -> str:
        """What has to be installed for it; empty where it is."""
        here = importlib.util.find_spec("torch_geometric") is not None
        return "" if here else f"PyTorch Geometric, for model={label(self)} (pip install 'mixbench[graphs]')"

    def conflicts(self, run: Any) -> Iterator[str]:
        """What does not go together with the rest of the run."""
        if run.compile:
            yield "compile=true: model=gin computes with graphs of every size; allowed here: false."
        if getattr(run.regularizer, "variant", "") == "exact":
            yield (
                "regularizer.variant=exact: differentiates by the input, which a graph does not allow; allowed with"
                " model=gin: paper, official."
            )


@dataclass
class OfSpectrograms(Model):
    """A network whose linear layers are made for spectrograms of 161x101."""

    def conflicts(self, run: Any) -> Iterator[str]:
        """What does not go together with the rest of the run."""
        try:
            spec = run.dataset.spec() if run.dataset.present() else None
        except MixbenchError:  # which the data set's own check names
            return
        if spec is not None and spec.kind == "image" and tuple(spec.shape[:2]) != (161, 101):
            shape = "x".join(map(str, spec.shape[:2]))
            yield f"model={label(self)}: is made for spectrograms of 161x101; inputs of {spec.name} have {shape}."


@dataclass
class LeNet(OfSpectrograms):
    """Two convolutions and two linear layers, for spectrograms of a second.

    Source: adiyoss/GCommandsPytorch, as in Zhang et al., mixup, ICLR 2018, and Zou et al., MixupE, 2023.
    """

    num_stages: ClassVar[int | None] = 1

    name: str = "lenet"


@dataclass
class VGG(OfSpectrograms):
    """VGG with BatchNorm, for spectrograms of a second.

    Source: Simonyan & Zisserman, Very Deep Convolutional Networks, ICLR 2015; adiyoss/GCommandsPytorch.
    """

    short: ClassVar[str] = "vgg{0.depth}"
    num_stages: ClassVar[int | None] = 4

    name: str = "vgg"
    depth: int = knob("number of layers of the original: 11 or 13")

    def problems(self) -> Iterator[str]:
        if self.depth not in (11, 13):
            yield f"model.depth={self.depth}: a VGG for spectrograms has depth 11 or 13."


OPTIONS: dict[str, type] = {
    "wrn": WideResNet,
    "resnet18": ResNet18,
    "cifar_resnet": CifarResNet,
    "preactresnet": PreActResNet,
    "mobilenet": MobileNet,
    "small_cnn": SmallCNN,
    "bottleneck_resnet": BottleneckResNet,
    "vit": ViT,
    "coatnet": CoAtNet,
    "lenet": LeNet,
    "vgg": VGG,
    "mlp": MLP,
    "gin": GIN,
}


def label(model: Model) -> str:
    """A short name of the network for directories and tables: "wrn16_4", "preactresnet18-s2" (stem stride 2)."""
    stride = getattr(model, "stem_stride", 1)
    return model.short.format(model) + ("" if stride == 1 else f"-s{stride}")


def min_image_size(model: Model) -> int:
    """The smallest image side, in pixels, that the network accepts."""
    return model.least_side * getattr(model, "stem_stride", 1)


def last_side(model: Model, side: int) -> int | None:
    """The side of the last stage's output for images of `side` pixels; None where the network does not say."""
    stride = getattr(model, "stem_stride", 1)
    reduction = getattr(model, "reduction", None)
    return None if reduction is None else -(-side // (stride * reduction))
