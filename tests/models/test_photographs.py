"""ResNet-50, ViT-B/16 and CoAtNet-0 against the libraries that they come from."""

from __future__ import annotations

import re

import pytest
import timm
import torch
import torchvision
from torch import nn
from torchvision.models import VisionTransformer

from mixbench.config.compose import compose
from mixbench.errors import ConfigError
from mixbench.models.photographs import bottleneck_resnet, coatnet, vit


def renamed(state: dict, pairs: list[tuple[str, str]]) -> dict:
    """The weights under the names that the first matching pattern gives."""
    found = {}
    for key, value in state.items():
        for pattern, name in pairs:
            if re.match(pattern, key):
                found[re.sub(pattern, name, key)] = value
                break
    return found


def assert_equal(ours: nn.Module, theirs: nn.Module, pairs: list[tuple[str, str]], side: int) -> None:
    """Their weights, under our names, give their logits, in training and in evaluation."""
    ours.load_state_dict(renamed(theirs.state_dict(), pairs))
    x = torch.randn(3, 3, side, side)
    for training in (True, False):
        with torch.no_grad():
            torch.testing.assert_close(
                ours.train(training)(x), theirs.train(training)(x), rtol=1e-5, atol=1e-5
            )


def count(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def test_parameter_counts() -> None:
    """Oracle: those of the libraries; 25.6 M, 86 M and 25 M in the papers."""
    with torch.device("meta"):
        assert count(bottleneck_resnet(3, 1000)) == count(torchvision.models.resnet50()) == 25_557_032
        assert count(vit(3, 1000)) == count(torchvision.models.vit_b_16()) == 86_567_656
        assert count(coatnet(3, 1000)) == count(timm.create_model("coatnet_0_224")) == 25_036_820


def test_resnet50_is_torchvisions() -> None:
    """Oracle: torchvision.models.resnet50 with its weights copied; and the same initial weights from the same seed."""
    torch.manual_seed(0)
    ours = bottleneck_resnet(3, 7)
    torch.manual_seed(0)
    theirs = torchvision.models.resnet50(num_classes=7)
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(mine, other)
    pairs = [("conv1", "stem.0"), ("bn1", "stem.1"), (r"layer(\d)", r"stage\1"), ("fc", "head.2")]
    assert_equal(ours, theirs, pairs, 40)


def test_vit_is_torchvisions() -> None:
    """Oracle: torchvision's VisionTransformer of two layers, whose head, all zeros at first, is made random."""
    theirs = VisionTransformer(32, 8, 2, 4, 16, 24, num_classes=7)
    nn.init.normal_(theirs.heads.head.weight)
    pairs = [
        ("conv_proj", "stem.embedding"),
        ("class_token", "stem.class_token"),
        ("encoder.pos_embedding", "stem.positions"),
        ("encoder.layers.encoder_layer_0", "stage1"),
        ("encoder.layers.encoder_layer_1", "stage2"),
        ("encoder.ln", "head.0"),
        ("heads", "head.2"),
    ]
    assert_equal(vit(3, 7, 32, 8, 2, 4, 16, 24), theirs, pairs, 32)


def test_coatnet_is_timms() -> None:
    """Oracle: timm's coatnet_0_224 for images of 64 pixels."""
    theirs = timm.create_model("coatnet_0_224", num_classes=7, img_size=64)
    pairs = [
        ("stem", "stem"),
        (r"stages.(\d)", lambda m: f"stage{int(m[1]) + 1}"),
        ("norm", "head.0"),
        ("head", "head.1"),
    ]
    assert_equal(coatnet(3, 7, 64), theirs, pairs, 64)


def test_every_parameter_learns_from_grey_images() -> None:
    """Limiting case: one channel; but ViT's head is zero at first, which nothing passes, so that one gets a step."""
    for model, side in (
        (bottleneck_resnet(1, 5), 32),
        (vit(1, 5, 16, 8, 2, 2, 8, 12), 16),
        (coatnet(1, 5, 64), 64),
    ):
        nn.init.normal_(
            [*model.modules()][-1].weight if isinstance([*model.modules()][-1], nn.Linear) else torch.empty(1)
        )
        torch.nn.functional.cross_entropy(
            model(torch.randn(4, 1, side, side)), torch.tensor([0, 1, 2, 4])
        ).backward()
        for key, p in model.named_parameters():
            assert p.grad is not None, key
            assert torch.isfinite(p.grad).all(), key


MISTAKES = {
    "model=vit_b16 dataset.size=96": "model.image_size=224: images of imagenet have 96x96 pixels",
    "model=vit_b16 model.patch=15": "model.patch=15: must divide model.image_size=224",
    "model=vit_b16 model.heads=7": "model.heads=7: must divide model.width=768",
    "model=coatnet0 model.image_size=100": "model.image_size=100: must be a multiple of 32",
    "model=resnet50 model.depth=18": "model.depth=18: a ResNet of bottleneck blocks has depth 50, 101 or 152",
    "model=resnet50 dataset.size=16 dataset.resize=16": "needs images of at least 32 pixels",
}


@pytest.mark.parametrize("overrides", MISTAKES)
def test_mistakes_are_named(overrides: str) -> None:
    with pytest.raises(ConfigError) as caught:
        compose(["dataset=imagenet", "dataset.path=/nowhere", "batch_size=8", *overrides.split()])
    assert MISTAKES[overrides] in str(caught.value)


def test_another_depth_is_refused() -> None:
    with pytest.raises(ValueError, match="depth=18"):
        bottleneck_resnet(3, 7, 18)
