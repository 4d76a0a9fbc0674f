"""How far Mixup protects a network's examples: R_i = |cos(grad_x f(x_i), x_i)| (Zhang et al., ICLR 2021, Theorem 3.1).

Many small networks without biases are trained at once, each on its own examples, as one set of tensors with a first
axis for the networks.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Problem:
    """M sets of n examples of d numbers: `inputs` (M, n, d) ~ N(0, I), `labels` (M, n), 1 where the direction theta* ~
    N(0, I) of the set has a positive product with the example, else 0. float64.
    """

    inputs: Tensor
    labels: Tensor


def problems(count: int, n: int, dimension: int, generator: torch.Generator) -> Problem:
    """`count` sets, drawn as the paper describes (section 3.2, "On the value of R")."""
    inputs = torch.randn(count, n, dimension, generator=generator, dtype=torch.float64)
    direction = torch.randn(count, dimension, 1, generator=generator, dtype=torch.float64)
    return Problem(inputs, (inputs @ direction > 0).double()[..., 0])


def initial(count: int, widths: Sequence[int], generator: torch.Generator) -> list[Tensor]:
    """Weights of `count` networks d -> ... -> 1 without biases, each (M, in, out), float64.

    `widths`: d, the hidden layers, 1; d and 1 alone give linear models. Uniform within
    1 / sqrt(in), as in torch.nn.Linear.
    """
    weights = []
    for inside, outside in itertools.pairwise(widths):
        drawn = torch.rand(count, inside, outside, generator=generator, dtype=torch.float64)
        weights.append((2 * drawn - 1) / inside**0.5)
    return weights


def outputs_and_gradients(weights: Sequence[Tensor], inputs: Tensor) -> tuple[Tensor, Tensor]:
    """f(x) (M, n) and its gradient by the input (M, n, d), for inputs (M, n, d), with ReLU between the layers."""
    hidden, active = inputs, []
    for weight in weights[:-1]:
        hidden = hidden @ weight
        active.append((hidden > 0).to(hidden.dtype))
        hidden = hidden * active[-1]
    output = hidden @ weights[-1]
    gradient = weights[-1].mT.expand(*inputs.shape[:2], -1)
    for weight, on in zip(reversed(weights[:-1]), reversed(active), strict=True):
        gradient = (gradient * on) @ weight.mT
    return output[..., 0], gradient


def radii(weights: Sequence[Tensor], inputs: Tensor) -> Tensor:
    """R_i (M, n) in [0, 1]; 0 where the gradient vanishes."""
    _, gradient = outputs_and_gradients(weights, inputs)
    return F.cosine_similarity(gradient, inputs, dim=2, eps=1e-300).abs()


def trained(
    weights: Sequence[Tensor],
    problem: Problem,
    epochs: int,
    lr: float,
    momentum: float,
    batch_size: int,
    generator: torch.Generator,
) -> Iterator[list[Tensor]]:
    """Gradient descent on the logistic loss, each network on its own set: the weights before the first epoch and after
    each. The examples are taken in the same random order by all networks, in batches of at most `batch_size`.
    """
    now = [weight.clone().requires_grad_() for weight in weights]
    optimizer = torch.optim.SGD(now, lr=lr, momentum=momentum)
    n = problem.inputs.shape[1]
    yield [weight.detach() for weight in now]
    for _ in range(epochs):
        for batch in torch.randperm(n, generator=generator).split(batch_size):
            output, _ = outputs_and_gradients(now, problem.inputs[:, batch])
            loss = F.binary_cross_entropy_with_logits(output, problem.labels[:, batch], reduction="none")
            optimizer.zero_grad()
            loss.mean(1).sum().backward()  # the networks share nothing
            optimizer.step()
        yield [weight.detach() for weight in now]
