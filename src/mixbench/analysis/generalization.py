"""Logistic regression trained on the quadratic form of mixing's loss, and its loss on the population (Park, Yun, Chun,
NeurIPS 2022, Theorem 4; its full statement is in an appendix that is not at hand).

Examples x ~ N(0, I_d), labels 1 with probability sigmoid(x . theta*): many samples at once, `theta` (S, d), `inputs`
(S, n, d), `labels` (S, n), all float64.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F


def sampled(samples: int, n: int, truth: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Inputs and labels of `samples` samples of n examples; centred, as Theorem 1 asks."""
    inputs = torch.randn(samples, n, len(truth), generator=generator, dtype=torch.float64)
    chance = torch.sigmoid(inputs @ truth)
    labels = (torch.rand(samples, n, generator=generator, dtype=torch.float64) < chance).double()
    return inputs - inputs.mean(1, keepdim=True), labels


def quadratic(theta: Tensor, inputs: Tensor, labels: Tensor, first: float, joint: Tensor) -> Tensor:
    """(S,): L_m + R_1 + R_2 of Theorem 1 for f(x) = theta . x, with E[1 - lambda] and a_jk (d, d) under D-tilde; with
    zeros for both it is the plain loss.
    """
    output = (inputs @ theta[..., None])[..., 0]
    chance = torch.sigmoid(output)
    sigma = inputs.mT @ inputs / inputs.shape[1]
    product = inputs * theta[:, None]
    square = ((product @ joint) * product).sum(2)
    square = square + torch.einsum("sj,sjk,sk->s", theta, joint * sigma, theta)[:, None]
    one = (labels - chance) * output * first
    return (F.softplus(output) - labels * output + one + chance * (1 - chance) * square / 2).mean(1)


def trained(inputs: Tensor, labels: Tensor, first: float, joint: Tensor, steps: int, limit: float) -> Tensor:
    """theta (S, d) after `steps` of gradient descent on `quadratic` from zero, Nesterov momentum 0.9 and rate 1; kept
    within the norm `limit`, as the plain loss of separable examples has no minimum.
    """
    theta = torch.zeros(len(inputs), inputs.shape[2], dtype=torch.float64)
    velocity = torch.zeros_like(theta)
    for _ in range(steps):
        ahead = (theta + 0.9 * velocity).requires_grad_()
        (slope,) = torch.autograd.grad(quadratic(ahead, inputs, labels, first, joint).sum(), ahead)
        moved = ahead.detach() - slope
        moved = moved * (limit / moved.norm(dim=1, keepdim=True).clamp(min=1e-30)).clamp(max=1)
        velocity, theta = moved - theta, moved
    return theta


def population(theta: Tensor, truth: Tensor, nodes: int = 60) -> Tensor:
    """(S,): E[softplus(f) - y f], by Gauss-Hermite quadrature over the plane of theta and theta*."""
    place, weight = np.polynomial.hermite_e.hermegauss(nodes)
    u, w = torch.from_numpy(place), torch.from_numpy(weight / math.sqrt(2 * math.pi))
    length = truth.norm()
    along = theta @ truth / length
    across = (theta.square().sum(1) - along.square()).clamp(min=0).sqrt()
    output = along[:, None, None] * u[:, None] + across[:, None, None] * u  # (S, along theta*, across)
    chance = torch.sigmoid(length * u)[:, None]
    return torch.einsum("sab,a,b->s", F.softplus(output) - chance * output, w, w)
