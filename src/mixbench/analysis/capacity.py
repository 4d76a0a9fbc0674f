"""Regularizers that Mixup is said to be, and Rademacher complexities of the classes that they bound.

Zhang, Deng, Kawaguchi, Ghorbani, Zou (ICLR 2021), section 3.3: Lemmas 3.3 and 3.4, Theorems 3.4 and 3.5; Zou et al.,
MixupE (UAI 2023), Theorem 2. The generalized linear model is logistic regression, A = softplus. All in float64.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import expit, roots_jacobi

Array = NDArray[np.floating[Any]]


def coefficient(alpha: float) -> float:
    """E[(1 - lambda)^2 / lambda^2] under Beta(alpha + 1, alpha): (alpha + 1) / (alpha - 1), infinite for alpha <= 1."""
    return (alpha + 1) / (alpha - 1) if alpha > 1 else math.inf


def mixing_adds(theta: Array, inputs: Array, labels: Array, alpha: float, rescaled: bool) -> float:
    """What mixing adds to the logistic loss of the linear model `theta` (d,) on `inputs` (n, d), labels (n,).

    The expectation over all pairs and over lambda ~ Beta(alpha + 1, alpha), the label of the first example, as in
    Lemma 3.1. `rescaled`: each mixture divided by its lambda, x_i + (1 - lambda) / lambda r, as in Lemma 3.3's proof.
    """
    place, weight = roots_jacobi(60, alpha - 1, alpha)
    lam, share = (place + 1) / 2, weight / weight.sum()
    f = inputs @ theta
    mixed = lam * f[:, None, None] + (1 - lam) * f[None, :, None]
    mixed = mixed / lam if rescaled else mixed
    loss = (np.logaddexp(0, mixed) - labels[:, None, None] * mixed) @ share
    return float(loss.mean() - (np.logaddexp(0, f) - labels * f).mean())


def regularizer(theta: Array, inputs: Array, alpha: float) -> float:
    """Equation 7: 1 / (2n) sum A''(theta . x_i) E[(1 - lambda)^2 / lambda^2] theta Sigma theta; centred `inputs`."""
    f = inputs @ theta
    slope = expit(f)
    return float((slope * (1 - slope)).mean() / 2 * coefficient(alpha) * (f**2).mean())


def least_squares(inputs: Array, targets: Array, ratios: Array, generator: Generator) -> Array:
    """Weights (d,) of the least-squares fit, with an intercept, of as many mixtures of pairs as there are `ratios`."""
    one, two = generator.integers(len(inputs), size=(2, len(ratios)))
    lam = ratios[:, None]
    x = lam * inputs[one] + (1 - lam) * inputs[two]
    y = ratios * targets[one] + (1 - ratios) * targets[two]
    found = np.linalg.lstsq(np.c_[x, np.ones(len(x))], y, rcond=None)[0]
    return found[:-1]


def curvature(s: float) -> float:
    """E[A''(s z)], z ~ N(0, 1), of the logistic model."""
    u = np.linspace(-1, 1, 4001) * min(40.0, 9 * s)  # beyond, A'' or the density is nothing
    density = np.exp(-((u / s) ** 2) / 2) / (s * math.sqrt(2 * math.pi))
    return float(np.trapezoid(expit(u) * expit(-u) * density, u))


def largest_scale(gamma: float) -> float:
    """The largest s = sqrt(theta Sigma theta) in W_gamma for Gaussian x: E[A''(s z)] s^2 = gamma."""
    return float(brentq(lambda s: curvature(s) * s**2 - gamma, 1e-6, 20 + 20 * gamma))


def retentiveness(largest: float) -> float:
    """The largest rho with E[A''(s z)]^2 >= rho min(1, s^2) for all s up to `largest`, at most 1/2."""
    scales = np.geomspace(1e-3, largest, 400)
    return min(0.5, min(curvature(float(s)) ** 2 / min(1.0, s**2) for s in scales))


def bound(gamma: float, rho: float, rank: int, n: int) -> float:
    """Theorem 3.4: max{(gamma / rho)^(1/4), (gamma / rho)^(1/2)} sqrt(rank / n)."""
    return float(max((gamma / rho) ** 0.25, (gamma / rho) ** 0.5) * np.sqrt(rank / n))


def signed_sums(inputs: Array, draws: int, generator: Generator) -> Array:
    """sum_i xi_i x_i / n (draws, d) with random signs xi."""
    signs = generator.integers(0, 2, (draws, len(inputs))) * 2.0 - 1
    return signs @ inputs / len(inputs)


def hidden_bound(gamma: float, rank: int, mean: float, n: int) -> float:
    """Theorem A.1, for Theorem 3.5: 2 sqrt(gamma (rank + |Sigma^-1/2 mu|^2) / n), `mean` being the norm squared."""
    return float(2 * np.sqrt(gamma * (rank + mean) / n))


def best_direction(inputs: Array, signs: Array, starts: int, steps: int, generator: Generator) -> float:
    """The largest |sum_i xi_i ReLU(w . x_i)| / n over directions w, |w| = 1, that ascent finds: a lower bound."""
    found = 0.0
    for sign in (1.0, -1.0):
        w = generator.normal(size=(starts, inputs.shape[1]))
        for _ in range(steps):
            w /= np.linalg.norm(w, axis=1, keepdims=True)
            on = inputs @ w.T > 0
            value = np.einsum("n,nd,ns,sd->s", sign * signs, inputs, on, w, optimize=True) / len(inputs)
            found = max(found, float(value.max()))
            gradient = (on * (sign * signs)[:, None]).T @ inputs / len(inputs)
            w = w + 5 * gradient  # of a function that is homogeneous in w: nearly a power iteration
    return found


def largest_output(gamma: float, scale: float) -> float:
    """The largest t with (scale f - A'(f)) f <= gamma for all |f| <= t: equation 10 for Sigma = scale I."""

    def q(t: float) -> float:
        f = np.linspace(-t, t, 401)
        return float(((scale * f - expit(f)) * f).max())

    return float(brentq(lambda t: q(t) - gamma, 0, 10 + 10 * (gamma / scale) ** 0.5 + 10 / scale))
