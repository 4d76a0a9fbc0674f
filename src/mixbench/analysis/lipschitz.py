"""What Li & Tang (IEEE TAI 2025) say of Lipschitz constants: Lemma 1 on Mixup's loss, Theorem 1 on SAM's gradient.

Losses are functions of one flat vector, so that derivatives along any direction are exact: no step sizes.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.func import grad, jvp, vmap

Loss = Callable[[Tensor], Tensor]  # a vector -> a number


def second_along(loss: Loss, start: Tensor, way: Tensor, at: Tensor) -> Tensor:
    """d^2/dt^2 loss(start + t way) at the places `at` (T,), for each pair in `start`, `way` (N, d): (N, T)."""

    def second(t: Tensor, begin: Tensor, along: Tensor) -> Tensor:
        return _slope(lambda s: _slope(lambda r: loss(begin + r * along), s), t)

    return vmap(vmap(second, (0, None, None)), (None, 0, 0))(at, start, way)


def chords(loss: Loss, first: Tensor, second: Tensor, lam: Tensor) -> tuple[Tensor, Tensor]:
    """How far the loss between two examples is from the straight line, and the most that it curves there.

    (N,) each: |l(lam a + (1 - lam) b) - lam l(a) - (1 - lam) l(b)|, and the largest |d^2 l / dt^2| at 65 places of
    the line, for the pairs `first`, `second` (N, d) and ratios `lam` (N,). The former is at most lam (1 - lam) / 2
    times the latter (equation 9, with the curvature that there is in the place of kappa_2 |a - b|^2).
    """
    of_each = vmap(loss)
    mixed = lam[:, None] * first + (1 - lam[:, None]) * second
    chord = of_each(mixed) - lam * of_each(first) - (1 - lam) * of_each(second)
    places = torch.linspace(0, 1, 65, dtype=first.dtype)
    return chord.abs(), second_along(loss, second, first - second, places).abs().amax(1)


def steepest(loss: Loss, first: Tensor, second: Tensor, step: float) -> float:
    """The largest change of slope within `step`, divided by it, at 100 places of each pair's line."""

    def slope(t: Tensor, begin: Tensor, along: Tensor) -> Tensor:
        return _slope(lambda s: loss(begin + s * along), t)

    places = torch.linspace(0, 1 - step, 100, dtype=first.dtype)
    slopes = vmap(vmap(slope, (0, None, None)), (None, 0, 0))
    here, there = (slopes(at, second, first - second) for at in (places, places + step))
    return float(((there - here).abs() / step).max())


def _slope(of: Callable[[Tensor], Tensor], at: Tensor) -> Tensor:
    return jvp(of, (at,), (torch.ones_like(at),))[1]


def ascended_gradient(loss: Loss, w: Tensor, rho: float) -> Tensor:
    """The gradient that SAM and G-Mix step with, at w + rho g / |g|, g the gradient at w."""
    g = grad(loss)(w)
    return grad(loss)(w + rho * g / g.norm())


def largest_curvature(loss: Loss, w: Tensor, rounds: int = 30) -> tuple[float, Tensor]:
    """The largest eigenvalue of the Hessian by its size, and its direction, by power iteration from the gradient."""
    derivative = grad(loss)
    direction = derivative(w)
    value = torch.zeros((), dtype=w.dtype)
    for _ in range(rounds):
        direction = direction / direction.norm()
        turned = jvp(derivative, (w,), (direction,))[1]
        value = direction @ turned
        direction = turned
    return abs(float(value)), direction / direction.norm()


def printed_constant(kappa: float, rho: float) -> float:
    """Theorem 1's Lipschitz constant of the gradient at w + delta by w."""
    return 2 * kappa + 2 * kappa**2 * rho


def corrected_constant(kappa: float, rho: float, gradient: float) -> float:
    """The same where no gradient between the two places is shorter than `gradient`.

    g / |g| is Lipschitz with kappa / |g|, not kappa: |a/|a| - b/|b|| <= |a - b| / min(|a|, |b|).
    """
    return kappa + kappa**2 * rho / gradient


def quadratic(curvatures: Tensor) -> Loss:
    """1/2 sum c_i w_i^2, whose kappa is the largest c."""
    return lambda w: (curvatures * w**2).sum() / 2
