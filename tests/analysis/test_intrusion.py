"""Sensitive and intruding mixtures against brute force and the training step itself."""

from __future__ import annotations

import copy

import torch
from torch import nn

from mixbench.analysis.intrusion import features, intruding, losses_around
from mixbench.losses import cross_entropy, one_hot
from mixbench.models import small_cnn
from mixbench.optim.eager import eager
from mixbench.optim.sam import SAM


def test_losses_around_are_those_of_a_step() -> None:
    """Oracle: by hand, the gradient of the mean loss, scaled to length rho and added; nothing of the model moves."""
    torch.manual_seed(0)
    model = small_cnn(1, 3).train()
    rule = SAM(model, eager(torch.optim.SGD, list(model.parameters()), lr=0.1), rho=0.3)
    x, y = torch.randn(6, 1, 8, 8), one_hot(torch.tensor([0, 1, 2, 0, 1, 2]), 3)
    kept = copy.deepcopy(model.state_dict())
    before, after = losses_around(rule, x, y)
    assert all(torch.equal(value, kept[name]) for name, value in model.state_dict().items())

    other = copy.deepcopy(model)
    by_hand = cross_entropy(other(x), y)
    assert torch.allclose(before, by_hand)
    gradients = torch.autograd.grad(by_hand.mean(), list(other.parameters()))
    length = torch.cat([g.flatten() for g in gradients]).norm()
    with torch.no_grad():
        for weight, g in zip(other.parameters(), gradients, strict=True):
            weight += 0.3 * g / length
    assert torch.allclose(after, cross_entropy(other(x), y), atol=1e-5)


def test_features_are_what_the_last_layer_sees() -> None:
    """The last layer of the features is the logits, whatever the size of a part."""
    torch.manual_seed(0)
    model = small_cnn(1, 3).eval()
    x = torch.randn(7, 1, 8, 8)
    last = list(model.modules())[-1]
    assert isinstance(last, nn.Linear)
    assert torch.allclose(last(features(model, x, together=3)), model(x), atol=1e-6)


def test_intruding_against_a_loop() -> None:
    """Brute force over all examples but a mixture's own two."""
    generator = torch.Generator().manual_seed(0)
    known, labels = torch.randn(40, 3, generator=generator), torch.randint(4, (40,), generator=generator)
    first, second = torch.randint(40, (2, 25), generator=generator)
    mixtures = (known[first] + known[second]) / 2
    found = intruding(mixtures, known, labels, first, second)
    for mixture, a, b, intrudes in zip(
        mixtures, first.tolist(), second.tolist(), found.tolist(), strict=True
    ):
        others = [i for i in range(40) if i not in (a, b)]
        nearest = min(others, key=lambda i: float((known[i] - mixture).norm()))
        assert intrudes == (labels[nearest] not in (labels[a], labels[b]))
    assert 0 < found.sum() < 25
