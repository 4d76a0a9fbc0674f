"""Regularizers and complexities against draws, closed forms, enumeration and linear programs."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.optimize import linprog
from scipy.special import expit

from mixbench.analysis import capacity as c


def test_the_coefficient() -> None:
    """Oracle: Monte Carlo under D-tilde, for an alpha at which its variance is finite."""
    lam = np.random.default_rng(0).beta(6, 5, 400_000)
    values = ((1 - lam) / lam) ** 2
    assert abs(values.mean() - c.coefficient(5)) < 5 * values.std() / 400_000**0.5
    assert c.coefficient(1) == c.coefficient(0.2) == np.inf


@pytest.mark.parametrize("rescaled", [False, True])
def test_what_mixing_adds(rescaled: bool) -> None:
    """Brute force: Monte Carlo over lambda, and a loop over pairs; for weights near 0 the rescaled loss adds (7)."""
    random = np.random.default_rng(0)
    x, y = random.normal(size=(6, 2)), random.integers(0, 2, 6).astype(float)
    x -= x.mean(0)
    theta, lam = np.array([0.6, -0.4]), random.beta(5, 4, 100_000)
    total = np.zeros_like(lam)
    for i, j in itertools.product(range(6), repeat=2):
        f = (lam * (x[i] @ theta) + (1 - lam) * (x[j] @ theta)) / (lam if rescaled else 1)
        total += (np.log1p(np.exp(f)) - y[i] * f) / 36
    f = x @ theta
    added = total - (np.log1p(np.exp(f)) - y * f).mean()
    error = added.std() / len(lam) ** 0.5
    assert abs(c.mixing_adds(theta, x, y, 4.0, rescaled) - added.mean()) < 5 * error
    if rescaled:
        small = 1e-3 * theta
        assert c.mixing_adds(small, x, y, 4.0, True) == pytest.approx(c.regularizer(small, x, 4.0), rel=1e-3)


def test_least_squares_of_mixtures() -> None:
    """Limiting case: ratios of 1 are ordinary least squares with an intercept."""
    random = np.random.default_rng(0)
    x, y = random.normal(1, 1, (50, 3)), random.normal(2, 1, 50)
    ones = c.least_squares(x, y, np.ones(20_000), np.random.default_rng(1))
    centred = np.linalg.lstsq(x - x.mean(0), y - y.mean(), rcond=None)[0]
    assert np.allclose(ones, centred, atol=0.05)


def test_scales_of_gaussian_examples() -> None:
    """Oracles: Monte Carlo of A''; the limits of small and large s in closed form; both conditions at their ends."""
    z = np.random.default_rng(0).normal(size=400_000)
    for s in (0.3, 2.0, 8.0):
        assert c.curvature(s) == pytest.approx((expit(s * z) * expit(-s * z)).mean(), rel=0.02)
    assert c.curvature(300.0) == pytest.approx(
        1 / (300 * (2 * np.pi) ** 0.5), rel=1e-3
    )  # A'' integrates to 1
    s = c.largest_scale(0.5)
    assert c.curvature(s) * s**2 == pytest.approx(0.5)
    assert c.largest_scale(1e-4) == pytest.approx(2e-2, rel=1e-3)
    rho = c.retentiveness(3.0)
    scales = np.linspace(0.01, 3, 200)
    assert min(c.curvature(float(s)) ** 2 / min(1, s**2) for s in scales) == pytest.approx(rho, rel=0.02)


def test_complexity_of_a_ball() -> None:
    """Enumeration of all signs: the mean of |sum xi x| / n; and one more linear program for outputs within t."""
    x = np.random.default_rng(0).normal(size=(6, 3))
    signs = np.array(list(itertools.product((-1, 1), repeat=6)))
    exact = np.linalg.norm(signs @ x / 6, axis=1).mean()
    drawn = np.linalg.norm(c.signed_sums(x, 20_000, np.random.default_rng(1)), axis=1)
    assert drawn.mean() == pytest.approx(exact, abs=5 * drawn.std() / 20_000**0.5)
    corners = np.array(list(itertools.product((-1, 1), repeat=3)))
    direction = signs[5] @ x / 6  # sup of theta . direction where |theta . corner| <= 1: the largest entry
    best = linprog(-direction, A_ub=corners, b_ub=np.ones(8), bounds=(None, None))
    assert -best.fun == pytest.approx(np.abs(direction).max())


def test_the_best_direction() -> None:
    """Brute force in the plane: directions on a fine circle."""
    random = np.random.default_rng(0)
    x, signs = random.normal(size=(15, 2)), random.integers(0, 2, 15) * 2.0 - 1
    angle = np.arange(0, 2 * np.pi, 1e-3)
    circle = np.stack([np.cos(angle), np.sin(angle)])
    best = np.abs(signs @ np.maximum(x @ circle, 0)).max() / 15
    found = c.best_direction(x, signs, 20, 60, random)
    assert 0.99 * best <= found <= best * (1 + 1e-3)


def test_the_largest_output() -> None:
    """Algebra: at the end the condition is an equality; the step of the proof, t <= (1 + sqrt(gamma s)) / s, holds."""
    for gamma, scale in itertools.product((0.1, 1.0, 10.0), (0.1, 1.0, 10.0)):
        t = c.largest_output(gamma, scale)
        assert max((scale * f - expit(f)) * f for f in (t, -t)) == pytest.approx(gamma, rel=1e-6)
        assert t <= (1 + (gamma * scale) ** 0.5) / scale
    assert c.hidden_bound(4.0, 3, 1.0, 16) == 2 * (4 * 4 / 16) ** 0.5
    assert c.bound(0.5, 0.5, 4, 16) == 0.5
