"""Products of gradients against a loop; gradients against finite differences; training by its limiting cases."""

from __future__ import annotations

from pathlib import Path

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


def test_the_loss_is_that_of_a_loop() -> None:
    """Brute force: minus the log of the softmax, by hand, for labels and for weights of classes."""
    network, images = nn.Flatten(), torch.tensor([[[[1.0]], [[2.0]]], [[[0.0]], [[5.0]]]])
    log_p = [[x - np.log(np.exp(a) + np.exp(b)) for x in (a, b)] for a, b in ((1, 2), (0, 5))]
    by_label = -(log_p[0][1] + log_p[1][0]) / 2
    assert small.loss(network, images, torch.tensor([1, 0])) == pytest.approx(by_label)
    by_weight = -(1.5 * log_p[0][0] - 0.5 * log_p[0][1] + log_p[1][1]) / 2
    weights = torch.tensor([[1.5, -0.5], [0.0, 1.0]])
    assert small.loss(network, images, weights) == pytest.approx(by_weight)


def test_saved_images_are_means_of_blocks(tmp_path: Path) -> None:
    """Brute force over blocks of the digits, rounded to bytes; a run on the file reads the same images."""
    from mixbench.config.compose import compose
    from mixbench.data import load
    from mixbench.training.unrecorded import epochs

    path = small.saved(tmp_path, "digits", 4, 50, 20)
    whole = load("digits", train_size=50, test_size=20)
    with np.load(path) as found:
        for name, split in (("train", whole.train), ("test", whole.test)):
            images = np.asarray(split.inputs).astype(float)
            mean = sum(images[:, i::2, j::2] for i in (0, 1) for j in (0, 1)) / 4
            assert np.abs(found[f"{name}_images"] - mean).max() <= 0.5 + 1e-4
            assert (found[f"{name}_labels"] == split.labels).all()
    path = small.saved(tmp_path, "digits", 8, 50, 20)
    overrides = [f"dataset.path={path}", "dataset.mean=[0]", "dataset.std=[1]", "model=small_cnn", "epochs=1"]
    ((loop, _),) = epochs(compose(["dataset=arrays", *overrides, "batch_size=10", "precision=float32"]))
    ((pixels, labels),) = loop.test.eval_batches(20)
    with np.load(path) as found:
        assert (pixels.mul(255).round().numpy()[:, 0] == found["test_images"][..., 0]).all()
        assert (labels.numpy() == found["test_labels"]).all()
