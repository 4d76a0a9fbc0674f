"""Mixup's loss as an upper bound of adversarial losses (Zhang, Deng, Kawaguchi, Ghorbani, Zou, ICLR 2021, section 3.2).

Models are those of `mixbench.analysis.approximation`, M at once, with float64 weights (M, in + 1, out).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from mixbench.analysis.approximation import attacked_second_order, biased, moments, quadrature, second_order
from mixbench.analysis.radius import Problem, radii


def without_biases(weights: Sequence[Tensor]) -> list[Tensor]:
    """Weights (M, in, out) with a last row of zeros."""
    return [F.pad(weight, (0, 0, 0, 1)) for weight in weights]


def examples(count: int, n: int, dimension: int, distance: float, generator: torch.Generator) -> Problem:
    """`count` sets of n examples ~ N(., I), labelled by a plane through the origin, with a mean that is moved to
    `distance` from the plane, on the side of the labels 1. At distance 0 the examples are centred.
    """
    inputs = torch.randn(count, n, dimension, generator=generator, dtype=torch.float64)
    theta = F.normalize(torch.randn(count, 1, dimension, generator=generator, dtype=torch.float64), dim=2)
    inputs = inputs - inputs.mean(1, keepdim=True) + distance * theta
    return Problem(inputs, (inputs @ theta.mT > 0).double()[..., 0])


def inside(output: Tensor, labels: Tensor) -> Tensor:
    """(M,) bool: whether the weights are in Theta, y f + (y - 1) f >= 0 for every example: no training error."""
    return ((2 * labels - 1) * output >= 0).all(1)


def sizes(weights: Sequence[Tensor], inputs: Tensor, alpha: float) -> Tensor:
    """eps_i sqrt(d) (M, n) of Theorems 3.1 and 3.3 for models without biases, with c_x sqrt(d) = min |x_i|."""
    of_each = radii([weight[:, :-1] for weight in weights], inputs)
    return of_each * inputs.norm(dim=2).min(1, keepdim=True).values * moments(alpha)[0]


def three_sides(
    weights: Sequence[Tensor], inputs: Tensor, labels: Tensor, alpha: float
) -> tuple[Tensor, Tensor, Tensor]:
    """The three sides of the theorems' inequality, (M,) each: the quadratic form of Mixup's loss, the second-order
    adversarial loss with the size eps_i sqrt(d) for each example, and that with the least of them.
    """
    first, second = moments(alpha)
    same = torch.full((inputs.shape[2],) * 2, second, dtype=inputs.dtype)
    of_each = sizes(weights, inputs, alpha)
    least = of_each.min(1, keepdim=True).values
    return (
        second_order(weights, inputs, labels, first, same),
        attacked_second_order(weights, inputs, labels, of_each),
        attacked_second_order(weights, inputs, labels, least),
    )


def constant_radius(share: float, tau: float, kappa: float, least: float, most: float) -> float:
    """R of Theorem 3.2: `share` is p_tau, `kappa` the least g (1 - g), and `least` and `most` are those of |g - y|."""
    slope = share * least / (2 * most - share * (most - least))
    curve = (4 * kappa * share / (2 - share + 4 * kappa * share)) ** 0.5
    return min(slope, curve) * tau


def minimiser(inputs: Tensor, labels: Tensor, alpha: float, nodes: int) -> Tensor:
    """The theta (d,) at which Mixup's loss itself is least for a linear model without bias, inputs (n, d)."""
    lam, share = quadrature(alpha, nodes)
    theta = torch.zeros(inputs.shape[1], dtype=inputs.dtype, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [theta], max_iter=200, tolerance_grad=1e-9, tolerance_change=1e-14, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        output = inputs @ theta
        mixed = lam * output[:, None, None] + (1 - lam) * output[None, :, None]
        loss = ((F.softplus(mixed) - labels[:, None, None] * mixed) @ share).mean()
        loss.backward()
        return loss

    optimizer.step(closure)
    return theta.detach()


def slopes(weights: Sequence[Tensor], inputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """|g(f) - y| and g (1 - g), (M, n) each."""
    slope = torch.sigmoid(biased(weights, inputs)[0])
    return (slope - labels).abs(), slope * (1 - slope)
