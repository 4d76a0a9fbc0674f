"""Networks against torchvision's blocks, plain functional recomputations and published parameter counts."""

from __future__ import annotations

import inspect
import math
import subprocess
import sys
from contextlib import nullcontext

import pytest
import torch
import torchvision
from omegaconf import OmegaConf
from torch import nn
from torch.nn import functional as F
from torchvision.models.resnet import BasicBlock as TorchvisionBlock

from mixbench.config.library import conf_dir
from mixbench.models import MODELS, cifar_resnet, mobilenet, preactresnet, resnet18, small_cnn, wrn
from mixbench.schema.knob import check
from mixbench.schema.model import OPTIONS, label, min_image_size

ALL = sorted(p.stem for p in (conf_dir() / "model").glob("*.yaml"))
PHOTOGRAPHS = ("resnet50", "vit_b16", "coatnet0")  # tested in test_photographs.py
SPECTROGRAMS = ("lenet", "vgg11", "vgg13")  # in test_speech.py
NAMES = [name for name in ALL if name not in (*PHOTOGRAPHS, *SPECTROGRAMS, "mlp", "gin")]


def option(name: str, **overrides):
    """The option `name` as its schema's dataclass, with some knobs changed."""
    values = OmegaConf.load(conf_dir() / "model" / f"{name}.yaml")
    schema = values.pop("defaults")[0].split("/")[-1].removesuffix("@_here_")
    return OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(OPTIONS[schema]), values, overrides))


def build(name: str, in_channels: int = 3, num_classes: int = 10, **overrides) -> nn.Sequential:
    knobs = vars(option(name, **overrides))
    return MODELS[knobs.pop("name")](in_channels, num_classes, **knobs)


def scrambled(model: nn.Sequential) -> nn.Sequential:
    """The model in float64 with every BatchNorm's weights and statistics away from their neutral values."""
    torch.manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.3)
            nn.init.normal_(module.running_mean, std=0.3)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return model.double()


# --- what the networks compute --------------------------------------------------------------------


class Pieces:
    """A model's convolutions and BatchNorms, applied one after another in the order of the model."""

    def __init__(self, model: nn.Sequential, training: bool) -> None:
        modules = list(model.modules())
        self.convs = iter([m.weight for m in modules if isinstance(m, nn.Conv2d)])
        self.norms = iter([m for m in modules if isinstance(m, nn.BatchNorm2d)])
        self.linear = model.head[-1]
        self.training = training

    def conv(self, x, stride=1):
        weight = next(self.convs)
        groups = x.shape[1] // weight.shape[1]
        return F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2, groups=groups)

    def norm(self, x):
        n = next(self.norms)
        mean, var = n.running_mean.clone(), n.running_var.clone()
        return F.batch_norm(x, mean, var, n.weight, n.bias, self.training, eps=1e-5)

    def classify(self, x):
        assert next(self.convs, None) is None
        assert next(self.norms, None) is None
        return x.mean((2, 3)) @ self.linear.weight.T + self.linear.bias


def preactivation(p: Pieces, x, blocks, strides, convs_per_block, norm_at_end):
    """He et al., ECCV 2016, figure 4(e): x + conv(relu(bn(...))); a shortcut convolves what is activated."""
    x = p.conv(x)
    for n, stage_stride in zip(blocks, strides, strict=True):
        for i in range(n):
            stride = stage_stride if i == 0 else 1
            striding = 0 if convs_per_block == 2 else 1
            active = out = F.relu(p.norm(x))
            for c in range(convs_per_block):
                out = p.conv(out if c == 0 else F.relu(p.norm(out)), stride if c == striding else 1)
            x = out + (x if x.shape == out.shape else p.conv(active, stride))
    return p.classify(F.relu(p.norm(x)) if norm_at_end else x)


def thin_resnet(p: Pieces, x, blocks):
    """He et al., CVPR 2016, section 4.2, option A: subsampled identity, new channels zero."""
    x = F.relu(p.norm(p.conv(x)))
    for s in range(3):
        for i in range(blocks):
            stride = 2 if s > 0 and i == 0 else 1
            out = p.norm(p.conv(F.relu(p.norm(p.conv(x, stride)))))
            carried = torch.zeros_like(out)
            carried[:, : x.shape[1]] = x[:, :, ::stride, ::stride]
            x = F.relu(out + carried)
    return p.classify(x)


def separable_stack(p: Pieces, x, strides):
    """Howard et al. 2017, table 1: depthwise 3x3, pointwise 1x1, each followed by BatchNorm and ReLU."""
    x = F.relu(p.norm(p.conv(x)))
    for stride in strides:
        x = F.relu(p.norm(p.conv(x, stride)))
        x = F.relu(p.norm(p.conv(x)))
    return p.classify(x)


RECOMPUTED = {
    "wrn": (lambda: wrn(3, 7, 16, 2), lambda p, x: preactivation(p, x, (2, 2, 2), (1, 2, 2), 2, True)),
    "wrn10_1": (lambda: wrn(3, 7, 10, 1), lambda p, x: preactivation(p, x, (1, 1, 1), (1, 2, 2), 2, True)),
    "preactresnet18": (
        lambda: preactresnet(3, 7, 18),
        lambda p, x: preactivation(p, x, (2, 2, 2, 2), (1, 2, 2, 2), 2, False),
    ),
    "preactresnet50": (
        lambda: preactresnet(3, 7, 50),
        lambda p, x: preactivation(p, x, (3, 4, 6, 3), (1, 2, 2, 2), 3, False),
    ),
    "resnet20": (lambda: cifar_resnet(3, 7, 20), lambda p, x: thin_resnet(p, x, 3)),
    "mobilenet": (
        lambda: mobilenet(3, 7),
        lambda p, x: separable_stack(p, x, (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1)),
    ),
}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", RECOMPUTED)
def test_logits_equal_a_functional_recomputation(name, training):
    """Oracle: the network written out in torch.nn.functional from its paper; float64, odd image sides."""
    make, recompute = RECOMPUTED[name]
    model = scrambled(make()).train(training)
    x = torch.randn(3, 3, 13, 18, dtype=torch.float64)
    expected = recompute(Pieces(model, training), x)
    torch.testing.assert_close(model(x), expected, rtol=1e-9, atol=1e-9)


def test_resnet18_equals_torchvision_blocks():
    """Oracle: torchvision's BasicBlock with copied weights: logits, gradients and running statistics."""
    model = scrambled(resnet18(3, 7))
    layers: list[nn.Module] = [nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU()]
    channels = 64
    for out, stride in [(64, 1), (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1)]:
        same = stride == 1 and channels == out
        down = nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out))
        layers.append(TorchvisionBlock(channels, out, stride, None if same else down))
        channels = out
    reference = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 7)).double()
    ours, theirs = model.state_dict(), reference.state_dict()
    reference.load_state_dict(dict(zip(theirs, ours.values(), strict=True)))

    x = torch.randn(4, 3, 16, 16, dtype=torch.float64)
    expected = reference(x)
    logits = model(x)
    torch.testing.assert_close(logits, expected, rtol=1e-9, atol=1e-9)
    logits.square().sum().backward()
    expected.square().sum().backward()
    for a, b in zip(model.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-7, atol=1e-7)
    for a, b in zip(model.buffers(), reference.buffers(), strict=True):
        torch.testing.assert_close(a, b)


def released_by_mixupe(model: nn.Module, x: torch.Tensor, blocks: int) -> torch.Tensor:
    """models/wide_resnet.py of oneHuster/MixupE, in torch.nn.functional."""
    convs = iter([m for m in model.modules() if isinstance(m, nn.Conv2d)])
    norms = iter([m for m in model.modules() if isinstance(m, nn.BatchNorm2d)])

    def conv(x: torch.Tensor, stride: int = 1) -> torch.Tensor:
        layer = next(convs)
        return F.conv2d(x, layer.weight, layer.bias, stride, layer.weight.shape[-1] // 2)

    def activated(x: torch.Tensor) -> torch.Tensor:
        norm = next(norms)
        return F.relu(F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias))

    x = conv(x)
    for stride in [s for first in (1, 2, 2) for s in (first, *[1] * (blocks - 1))]:
        out = conv(activated(x))
        out = conv(activated(out), stride)
        x = out + (x if out.shape == x.shape else conv(x, stride))
    return F.linear(activated(x).mean((2, 3)), model.head[-1].weight, model.head[-1].bias)


def test_the_wrn_of_mixupes_code() -> None:
    """Oracle: that code written out, in evaluation mode and float64; torch's initial weights, uniform within
    1 / sqrt(fan_in); its 36,546,980 parameters for WRN-28-10 and 100 classes."""
    model = wrn(3, 7, 16, 2, variant="mixupe")
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            bound = 1 / math.sqrt(module.weight[0].numel())
            assert 0.9 * bound < module.weight.abs().max() <= bound
            assert module.bias.abs().max() <= bound
            assert module.bias.any()
    assert [m.momentum for m in model.modules() if isinstance(m, nn.BatchNorm2d)] == [0.1] * 12 + [0.9]
    model = scrambled(model).eval()
    x = torch.randn(3, 3, 12, 16, dtype=torch.float64)
    torch.testing.assert_close(model(x), released_by_mixupe(model, x, 2), rtol=1e-9, atol=1e-9)
    with torch.device("meta"):
        whole = build("wrn28_10", num_classes=100, variant="mixupe")
    assert sum(p.numel() for p in whole.parameters()) == 36_546_980
    with pytest.raises(ValueError, match="variant=code"):
        wrn(3, 7, 16, 2, variant="code")


# --- how large they are ---------------------------------------------------------------------------

PARAMETERS = [
    ("wrn16_4", 10, 2_748_890),  # the three: xternalz' PyTorch code
    ("wrn16_4", 100, 2_772_020),
    ("wrn16_4", 200, 2_797_720),
    ("wrn28_10", 100, 36_536_884),  # 36.5 M in Zagoruyko & Komodakis, table 4
    ("wrn28_2", 100, 1_479_220),  # 1.48 M in Park et al., table 2
    ("resnet18", 10, 11_173_962),  # kuangliu's pytorch-cifar
    ("preactresnet18", 10, 11_171_146),  # kuangliu's pytorch-cifar
    ("resnet56", 10, 853_018),  # 0.85 M in He et al., CVPR 2016, table 6
    ("mobilenet", 10, 410_471),  # "around 0.4 million" in Li & Tang
]


@pytest.mark.parametrize(("name", "classes", "count"), PARAMETERS)
def test_parameter_counts(name, classes, count):
    """Oracle: published counts and those of widely used public implementations."""
    with torch.device("meta"):
        model = build(name, 3, classes)
    assert sum(p.numel() for p in model.parameters()) == count


def conv_shapes(module: nn.Module) -> list[torch.Size]:
    return [m.weight.shape for m in module.modules() if isinstance(m, nn.Conv2d)]


@pytest.mark.parametrize("depth", [18, 34, 50, 101])
def test_preactresnet_has_the_convolutions_of_resnet(depth):
    """Oracle: torchvision's ResNet of that depth has the same weight shapes in every stage, in that order."""
    with torch.device("meta"):
        reference = getattr(torchvision.models, f"resnet{depth}")()
        model = preactresnet(3, 10, depth)
    for i in range(1, 5):
        theirs, ours = getattr(reference, f"layer{i}"), getattr(model, f"stage{i}")
        assert conv_shapes(ours) == conv_shapes(theirs)


# --- which images they take -----------------------------------------------------------------------

STRIDES = {"mobilenet": (1, 2, 2, 2, 2), "small_cnn": (2, 1), "wrn": (1, 2, 2), "cifar_resnet": (1, 2, 2)}


@pytest.mark.parametrize("stem_stride", [1, 2])
@pytest.mark.parametrize("name", NAMES)
def test_stages_and_their_strides(name, stem_stride):
    """Oracle: a stage of stride s makes ceil(side / s) of a side, for 8 to 96 pixels, 1 and 3 channels."""
    strides = STRIDES.get(option(name).name, (1, 2, 2, 2))
    for in_channels in (1, 3):
        with torch.device("meta"):  # in evaluation, where BatchNorm takes half the time there
            model = build(name, in_channels, 10, stem_stride=stem_stride).eval()
        *body, head = model.named_children()
        assert [n for n, _ in body] == ["stem", *(f"stage{i + 1}" for i in range(len(strides)))]
        assert head[0] == "head"
        for side in (8 * stem_stride, 28, 32, 64, 96):
            x, expected = torch.empty(2, in_channels, side, side, device="meta"), side
            for (_, module), stride in zip(body, (stem_stride, *strides), strict=True):
                x, expected = module(x), math.ceil(expected / stride)
                assert x.shape[2:] == (expected, expected)
            assert model.head(x).shape == (2, 10)


@pytest.mark.parametrize("stem_stride", [1, 2])
@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_learns_on_the_smallest_image(name, stem_stride):
    """Limiting case: grey images of the least size. The loss is finite and reaches every parameter."""
    torch.manual_seed(0)
    model = build(name, 1, 10, stem_stride=stem_stride)
    side = min_image_size(option(name, stem_stride=stem_stride))
    F.cross_entropy(model(torch.randn(4, 1, side, side)), torch.tensor([0, 3, 5, 9])).backward()
    for key, p in model.named_parameters():
        assert p.grad is not None, key
        assert torch.isfinite(p.grad).all(), key
        assert p.grad.abs().sum() > 0, key


@pytest.mark.parametrize("side", [28, 32, 64, 96])
@pytest.mark.parametrize("name", ["wrn16_4", "resnet56", "mobilenet", "small_cnn"])
def test_logits_do_not_depend_on_batch_or_memory_format(name, side):
    """Oracle: the same images one by one, in evaluation mode; channels_last equals the default format."""
    model = scrambled(build(name, 3, 10)).eval()
    x = torch.randn(2, 3, side, side, dtype=torch.float64)
    with torch.no_grad():
        whole = model(x)
        torch.testing.assert_close(whole, torch.cat([model(x[:1]), model(x[1:])]), rtol=1e-9, atol=1e-9)
        last = model.to(memory_format=torch.channels_last)(x.to(memory_format=torch.channels_last))
    torch.testing.assert_close(whole, last, rtol=1e-9, atol=1e-9)


def test_small_cnn_reads_digits():
    """Oracle: scikit-learn's digits. Ten epochs of plain SGD, about a second, give more than 97 %."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    images, labels = load_digits(return_X_y=True)
    images = torch.tensor((images / 16 - 0.3) / 0.38, dtype=torch.float32).reshape(-1, 1, 8, 8)
    split = train_test_split(images, torch.tensor(labels), test_size=0.2, random_state=0, stratify=labels)
    train, test, train_labels, test_labels = split
    torch.manual_seed(0)
    model = small_cnn(1, 10)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    for epoch in range(10):
        optimizer.param_groups[0]["lr"] = 0.1 if epoch < 7 else 0.01
        for rows in torch.randperm(len(train))[: len(train) // 64 * 64].view(-1, 64):
            optimizer.zero_grad()
            F.cross_entropy(model(train[rows]), train_labels[rows]).backward()
            optimizer.step()
    with torch.no_grad():
        accuracy = (model.eval()(test).argmax(1) == test_labels).double().mean()
    assert accuracy > 0.97


# --- how they start -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["wrn16_4", "resnet18", "resnet56", "preactresnet50", "mobilenet", "small_cnn"]
)
def test_initial_weights(name):
    """Oracle: torch's own fan-out computation, per group; N(0, 2 / fan_out) within five standard errors."""
    torch.manual_seed(0)
    for module in build(name).modules():
        if isinstance(module, nn.Conv2d):
            w = module.weight.detach()
            fan_out = nn.init._calculate_correct_fan(w, "fan_out") / module.groups
            std, n = math.sqrt(2 / fan_out), w.numel()
            assert abs(w.mean()) < 5 * std / math.sqrt(n)
            assert abs(w.std() / std - 1) < 5 / math.sqrt(2 * n)
        elif isinstance(module, nn.BatchNorm2d):
            assert (module.weight == 1).all()
            assert (module.bias == 0).all()
        elif isinstance(module, nn.Linear):
            assert (module.bias == 0).all()
            assert module.weight.abs().max() <= 1 / math.sqrt(module.in_features)


# --- the options ----------------------------------------------------------------------------------


def test_knobs_are_the_builders_arguments():
    """Oracle: the builders' signatures: the same names, and the YAML's values where they have a default."""
    assert set(MODELS) == set(OPTIONS) == {option(n).name for n in ALL}
    for name in ALL:
        knobs = vars(option(name))
        parameters = inspect.signature(MODELS[knobs.pop("name")]).parameters
        first = "in_features" if name in ("mlp", "gin") else "in_channels"
        assert list(parameters)[:2] == [first, "num_classes"]
        assert set(knobs) == set(parameters) - {first, "num_classes"}
        for key, value in knobs.items():
            assert parameters[key].default in (inspect.Parameter.empty, value)


@pytest.mark.parametrize("name", ["wrn16_4", "resnet56", "preactresnet18"])
def test_schema_and_builder_refuse_the_same_depths(name):
    """Oracle: each other. The builder raises exactly for the depths that have a message in the schema."""
    for depth in range(-3, 120):
        node = option(name, depth=depth)
        refused = [*check(node, "model."), *node.problems()]
        expectation = pytest.raises(ValueError, match=f"depth={depth}: ") if refused else nullcontext()
        with torch.device("meta"), expectation:
            build(name, depth=depth)


def test_labels():
    """Oracle: the option's own name, as the papers write it; overrides show."""
    others = {"mobilenet": "mobilenet_x0.35", "vit_b16": "vit12_768_16", "mlp": "mlp2x128", "gin": "gin5x32"}
    for name in ALL:
        assert label(option(name)) == others.get(name, name)
    assert label(option("wrn16_4", depth=40, width=2)) == "wrn40_2"
    assert label(option("preactresnet18", stem_stride=2)) == "preactresnet18-s2"
    assert label(option("resnet56", depth=110)) == "resnet110"
    assert label(option("mobilenet", width=1.0)) == "mobilenet_x1"


def test_the_schema_does_not_import_torch():
    """Oracle: sys.modules of a fresh interpreter."""
    code = "import sys, mixbench.schema.model; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
