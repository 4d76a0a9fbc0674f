"""Products of gradients against a loop; gradients against finite differences; training by its limiting cases."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from mixbench.analysis import small


def test_products_are_a_loop_over_pixels() -> None:
    """Brute force of equation 12; offset 0 has the largest value."""
    gradient = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(0))
    found = small.products(gradient, 2)
    for down in range(-2, 3):
        for right in range(-2, 3):
            largest = [
                max(
                    abs(g[i, j] * g[i + down, j + right]).item()
                    for i in range(5)
                    for j in range(4)
                    if 0 <= i + down < 5 and 0 <= j + right < 4
                )
                for g in gradient
            ]
            assert found[2 + down, 2 + right].item() == pytest.approx(np.mean(largest), rel=1e-6)
    assert found.max() == found[2, 2]


def test_gradients_of_a_linear_network() -> None:
    """Closed form: the weights of the label's logit, summed over the channels."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 4, 10))
    images, labels = torch.randn(5, 3, 2, 2), torch.arange(5)
    found, scale = small.pixel_gradients(network, images, labels)
    torch.testing.assert_close(found, network[1].weight[labels].detach().view(5, 3, 2, 2).sum(1))
    assert scale == pytest.approx(network(images).std().item())


def test_training_repeats_and_learns() -> None:
    """Limiting case: classes told apart by their brightness; the same seed gives the same weights, another others."""
    labels = torch.arange(100) % 2
    images = small.prepared(
        np.full((100, 8, 8, 3), 200, np.uint8) * (labels[:, None, None, None] > 0).numpy(), 4
    )
    images = images - images.mean()
    assert images.shape == (100, 3, 4, 4)
    given = images, labels, None
    first, second, other = (small.trained(*given, seed, 5, 20, 0.05) for seed in (0, 0, 1))
    for a, b, c in zip(first.parameters(), second.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)
        assert a.dim() < 2 or not torch.equal(a, c)
    assert small.accuracy(first, images, labels) == 1
