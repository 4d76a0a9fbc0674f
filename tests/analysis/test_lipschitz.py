"""Derivatives along lines, curvatures and Theorem 1's constants against closed forms."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from mixbench.analysis import lipschitz as li


def test_second_derivative_along_a_line() -> None:
    """Closed form: of sum (x^3) along x + t y it is 6 sum (x + t y) y^2."""
    generator = torch.Generator().manual_seed(0)
    start, way = torch.randn(2, 5, 4, generator=generator, dtype=torch.float64)
    at = torch.linspace(0, 1, 7, dtype=torch.float64)
    found = li.second_along(lambda x: (x**3).sum(), start, way, at)
    expected = (6 * (start[:, None] + at[:, None] * way[:, None]) * way[:, None] ** 2).sum(-1)
    assert torch.allclose(found, expected)


def test_the_chord_of_a_quadratic() -> None:
    """Closed form: of |z|^2 it is lam (1 - lam) |a - b|^2, with curvature 2 |a - b|^2: the bound is met."""
    generator = torch.Generator().manual_seed(0)
    first, second = torch.randn(2, 5, 4, generator=generator, dtype=torch.float64)
    lam = torch.rand(5, generator=generator, dtype=torch.float64)
    chord, curved = li.chords(lambda z: (z**2).sum(), first, second, lam)
    squared = ((first - second) ** 2).sum(1)
    assert torch.allclose(chord, lam * (1 - lam) * squared)
    assert torch.allclose(curved, 2 * squared)
    assert torch.allclose(chord, lam * (1 - lam) / 2 * curved)


def test_slopes_jump_at_a_kink() -> None:
    """Closed form: of |z| on a line through 0 the slope changes by 2 |a - b|, within any step; of z^2 in proportion."""
    first, second = torch.tensor([[1.0]]).double(), torch.tensor([[-1.0]]).double()
    assert abs(li.steepest(lambda z: z.abs().sum(), first, second, 1e-1) - 4 / 1e-1) < 1e-9
    assert abs(li.steepest(lambda z: (z**2).sum(), first, second, 1e-3) - 8) < 1e-9


def test_the_largest_curvature_of_a_quadratic() -> None:
    """Closed form: the largest of its coefficients by size, along that axis."""
    curvatures = torch.tensor([0.5, -3.0, 1.0], dtype=torch.float64)
    value, direction = li.largest_curvature(li.quadratic(curvatures), torch.ones(3, dtype=torch.float64), 100)
    assert abs(value - 3) < 1e-9
    assert torch.allclose(direction.abs(), torch.tensor([0.0, 1, 0], dtype=torch.float64), atol=1e-6)


def test_on_a_line_the_ascended_gradient_jumps() -> None:
    """Closed form: of kappa w^2 / 2 it is kappa (w + rho sign w), which jumps by 2 kappa rho at 0."""
    kappa, rho = 2.0, 0.5
    loss = li.quadratic(torch.tensor([kappa], dtype=torch.float64))
    for w in (1e-3, 1e-6):
        there, here = (
            li.ascended_gradient(loss, torch.tensor([v], dtype=torch.float64), rho) for v in (w, -w)
        )
        assert torch.allclose(there - here, torch.tensor([2 * kappa * (w + rho)], dtype=torch.float64))
        assert (there - here).norm() / (2 * w) > li.printed_constant(kappa, rho)


@given(st.integers(0, 2**31), st.floats(0.01, 5), st.floats(0.001, 3))
def test_the_corrected_constant_holds(seed: int, rho: float, apart: float) -> None:
    """Algebra: for any quadratic and any two places, with the shorter of their two gradients."""
    generator = torch.Generator().manual_seed(seed)

    def drawn() -> Tensor:
        return torch.randn(6, generator=generator, dtype=torch.float64)

    curvatures, u = drawn(), drawn()
    loss = li.quadratic(curvatures)
    v = u + apart * drawn()
    change = (li.ascended_gradient(loss, u, rho) - li.ascended_gradient(loss, v, rho)).norm()
    shortest = float(torch.stack([(curvatures * w).norm() for w in (u, v)]).min())
    kappa = float(curvatures.abs().max())
    assert change <= li.corrected_constant(kappa, rho, shortest) * (u - v).norm() * (1 + 1e-9)
