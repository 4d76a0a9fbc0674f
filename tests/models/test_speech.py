"""LeNet and VGG for spectrograms: sizes, and what they compute, against the original written out and torchvision."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torchvision.models.vgg import cfgs, make_layers

from mixbench.models.speech import lenet, vgg


def count(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def test_lenet_is_the_original() -> None:
    """Oracle: the network of adiyoss/GCommandsPytorch in torch.nn.functional, in evaluation mode; parameters by hand:
    520 + 10,020 + 16,281,000 + 30,030."""
    torch.manual_seed(0)
    model = lenet(1, 30).eval()
    first, second, hidden, last = (m for m in model.modules() if isinstance(m, (nn.Conv2d, nn.Linear)))
    x = torch.randn(2, 1, 161, 101)
    y = F.relu(F.max_pool2d(F.conv2d(x, first.weight, first.bias), 2))
    y = F.relu(F.max_pool2d(F.conv2d(y, second.weight, second.bias), 2))
    assert y[0].numel() == 16280
    y = F.linear(F.relu(F.linear(y.flatten(1), hidden.weight, hidden.bias)), last.weight, last.bias)
    torch.testing.assert_close(model(x), y)
    assert count(model) == 520 + 10_020 + 16_281_000 + 30_030


@pytest.mark.parametrize("depth", [11, 13])
def test_vgg_has_the_convolutions_of_torchvision(depth: int) -> None:
    """Oracle: torchvision's vgg with BatchNorm, with one channel; 7680 numbers and two linear layers after them."""
    model = vgg(1, 30, depth).eval()
    features = make_layers(cfgs[{11: "A", 13: "B"}[depth]], batch_norm=True)
    features[0] = nn.Conv2d(1, 64, 3, padding=1)
    *convolutions, head = model.children()
    ours = [v for m in convolutions for v in m.state_dict().values()]
    features.load_state_dict(dict(zip(features.state_dict(), ours, strict=True)))
    x = torch.randn(2, 1, 161, 101)
    with torch.no_grad():
        expected = features.eval()(x).flatten(1)
        assert expected.shape == (2, 7680)
        for layer in (m for m in head if isinstance(m, nn.Linear)):
            expected = layer(expected)
        torch.testing.assert_close(model(x), expected)
    assert count(model) == count(features) + 7681 * 512 + 513 * 30


def test_another_depth_is_refused() -> None:
    with pytest.raises(ValueError, match="depth=16"):
        vgg(1, 30, 16)
