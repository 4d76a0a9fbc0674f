"""Logistic regression on the quadratic form: against autograd-free closed forms, scipy and Monte Carlo."""

from __future__ import annotations

import torch
from scipy import optimize
from torch.nn import functional as F

from mixbench.analysis import generalization as g
from mixbench.analysis.approximation import second_order

TRUTH = torch.tensor([1.0, -0.5, 0.3, 0.8], dtype=torch.float64)


def test_the_form_is_that_of_approximation() -> None:
    """Oracle: `approximation.second_order` of linear models without biases."""
    inputs, labels = g.sampled(3, 20, TRUTH, torch.Generator().manual_seed(0))
    theta = torch.randn(3, 4, dtype=torch.float64)
    joint = torch.rand(4, 4, dtype=torch.float64)
    weights = [torch.cat([theta, torch.zeros(3, 1, dtype=torch.float64)], 1)[..., None]]
    found = g.quadratic(theta, inputs, labels, 0.3, joint)
    torch.testing.assert_close(found, second_order(weights, inputs, labels, 0.3, joint))


def test_training_finds_the_minimum() -> None:
    """Oracle: scipy's BFGS on one sample."""
    inputs, labels = g.sampled(2, 60, TRUTH, torch.Generator().manual_seed(1))
    joint = torch.full((4, 4), 1 / 6, dtype=torch.float64)
    found = g.trained(inputs, labels, 1 / 3, joint, 300, 30.0)

    def loss(theta: list[float]) -> float:
        given = torch.tensor(theta, dtype=torch.float64)[None]
        return g.quadratic(given, inputs[1:], labels[1:], 1 / 3, joint).item()

    best = optimize.minimize(loss, [0.0] * 4, tol=1e-10).x
    torch.testing.assert_close(found[1], torch.from_numpy(best), atol=1e-4, rtol=0)


def test_the_population_is_a_large_sample() -> None:
    """Monte Carlo: a million examples, to five standard errors."""
    theta = torch.tensor([[0.5, 1.0, -2.0, 0.2], [0.0, 0.0, 0.0, 0.0]], dtype=torch.float64)
    generator = torch.Generator().manual_seed(2)
    inputs = torch.randn(1_000_000, 4, generator=generator, dtype=torch.float64)
    chance, output = torch.sigmoid(inputs @ TRUTH)[:, None], inputs @ theta.T
    losses = F.softplus(output) - chance * output
    error = 5 * losses.std(0) / 1000 + 1e-9
    assert ((g.population(theta, TRUTH) - losses.mean(0)).abs() <= error).all()
