"""Directional derivatives against the whole Jacobian, and equation 6 against equation 4."""

from __future__ import annotations

import torch
from torch import nn
from torch.func import jacrev, vmap

from mixbench.analysis.directions import coefficients


def test_coefficients_are_those_of_the_jacobian() -> None:
    """Oracle: torch.func's Jacobian of each example alone; and q is the sum of alpha times both norms (equation 6)."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Flatten(), nn.Linear(12, 7), nn.BatchNorm1d(7), nn.Tanh(), nn.Linear(7, 4)
    ).double()
    inputs, mean = torch.randn(6, 3, 2, 2).double(), torch.randn(3, 2, 2).double()
    labels = torch.tensor([0, 1, 2, 3, 0, 1])
    alpha, q = coefficients(model, inputs, labels, mean)
    jacobian = vmap(jacrev(lambda x: model(x[None])[0]))(inputs).flatten(2)
    error = model(inputs).softmax(1) - torch.eye(4)[labels]
    toward = (mean - inputs).flatten(1)
    cosine = nn.functional.cosine_similarity(jacobian, toward[:, None], dim=2)
    torch.testing.assert_close(alpha, (error * cosine).detach())
    torch.testing.assert_close(q, torch.einsum("nk,nkd,nd->n", error, jacobian, toward).detach())
    norms = jacobian.norm(dim=2) * toward.norm(dim=1, keepdim=True)
    torch.testing.assert_close(q, (alpha * norms).sum(1).detach())
