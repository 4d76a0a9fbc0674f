"""The adversarial loss beside the quadratic form of mixing's loss, for the networks of `radius` (Park, Yun, Chun,
NeurIPS 2022, Theorem 3; its full statement is in an appendix that is not at hand, so in the form of Zhang et al.,
ICLR 2021, Theorems 3.1 and 3.3, which it extends).

For networks without biases f(x) = grad f . x, and where every example is on its right side, R_1 is the first-order
term of an l2 attack of size eps_i = E[1 - lambda] R_i |x_i|, R_i = |cos(grad f, x_i)|. R_2 is at least its
second-order term, as the mean of a square is at least the square of the mean: for every mask with E[M] = lambda.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from mixbench.analysis.radius import outputs_and_gradients


def quadratic(
    weights: Sequence[Tensor], inputs: Tensor, labels: Tensor, first: float, joint: Tensor
) -> Tensor:
    """(M,): L_m + R_1 + R_2 for centred inputs (M, n, d), with E[1 - lambda] and a_jk (d, d) under D-tilde. R_3 is zero
    for ReLU.
    """
    output, slope = outputs_and_gradients(weights, inputs)
    chance = torch.sigmoid(output)
    sigma = inputs.mT @ inputs / inputs.shape[1]
    product = slope * inputs
    square = ((product @ joint) * product).sum(2) + ((slope @ (joint * sigma)) * slope).sum(2)
    one = (labels - chance) * product.sum(2) * first
    return (F.softplus(output) - labels * output + one + chance * (1 - chance) * square / 2).mean(1)


def sizes(weights: Sequence[Tensor], inputs: Tensor, first: float) -> Tensor:
    """eps_i (M, n), the attack on each example: E[1 - lambda] |grad f . x| / |grad f|."""
    _, slope = outputs_and_gradients(weights, inputs)
    return first * (slope * inputs).sum(2).abs() / slope.norm(dim=2).clamp(min=1e-300)


def attacked_second_order(weights: Sequence[Tensor], inputs: Tensor, labels: Tensor, size: Tensor) -> Tensor:
    """(M,): the second-order form of the adversarial loss, with a size (M, n) for each example."""
    output, slope = outputs_and_gradients(weights, inputs)
    chance, norm = torch.sigmoid(output), slope.norm(dim=2) * size
    loss = F.softplus(output) - labels * output + (chance - labels).abs() * norm
    return (loss + chance * (1 - chance) * norm.square() / 2).mean(1)


def attacked(weights: Sequence[Tensor], inputs: Tensor, labels: Tensor, size: Tensor, steps: int) -> Tensor:
    """(M,): the mean of the largest loss that is found within `size` (M, n) of each example: by projected gradient
    ascent from the example in steps of 2.5 size / steps, the largest loss on the way counting.
    """
    shift = torch.zeros_like(inputs)
    most = torch.full(labels.shape, -torch.inf, dtype=inputs.dtype)
    for step in range(steps + 1):
        output, slope = outputs_and_gradients(weights, inputs + shift)
        most = torch.maximum(most, F.softplus(output) - labels * output)
        if step < steps:
            away = (torch.sigmoid(output) - labels).sign()[..., None] * F.normalize(slope, dim=2, eps=1e-300)
            shift = shift + 2.5 * size[..., None] / steps * away
            shift = shift * (size / shift.norm(dim=2).clamp(min=1e-300)).clamp(max=1)[..., None]
    return most.mean(1)
