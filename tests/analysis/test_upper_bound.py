"""The theorems' sides written out for one model, Mixup's minimiser by its gradient, and the proof's own inequality."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mixbench.analysis import upper_bound as t
from mixbench.analysis.approximation import attacked, attacked_second_order, mixup
from mixbench.analysis.radius import initial, problems, trained

ALPHA = 2.0


def test_sides_are_those_of_the_text() -> None:
    """By hand for a linear model on centred data: Lemma 3.1's R_1 and R_2, and equation 5 with eps_i sqrt(d) =
    |cos(theta, x_i)| min |x| E[1 - lambda], E[1 - lambda] = 0.4 and E[(1 - lambda)^2] = 0.2 for alpha = 2."""
    problem = problems(2, 12, 4, torch.Generator().manual_seed(0))
    x = problem.inputs - problem.inputs.mean(1, keepdim=True)
    weights = initial(2, [4, 1], torch.Generator().manual_seed(1))
    found = t.three_sides(t.without_biases(weights), x, problem.labels, ALPHA)
    for m in range(2):
        theta, inputs, y = weights[0][m, :, 0], x[m], problem.labels[m]
        f = inputs @ theta
        g = torch.sigmoid(f)
        loss = torch.log1p(f.exp()) - y * f
        covariance = inputs.T @ inputs / 12
        quadratic = loss - 0.4 * (g - y) * f + 0.1 * g * (1 - g) * (theta @ covariance @ theta + f**2)
        cosine = (f / inputs.norm(dim=1) / theta.norm()).abs()
        size = cosine * inputs.norm(dim=1).min() * 0.4

        def attack(s: torch.Tensor, loss=loss, g=g, y=y, theta=theta) -> torch.Tensor:
            return loss + s * (g - y).abs() * theta.norm() + s**2 / 2 * g * (1 - g) * theta.norm() ** 2

        for side, expected in zip(found, (quadratic, attack(size), attack(size.min())), strict=True):
            torch.testing.assert_close(side[m], expected.mean())
        assert t.inside(f[None], (f > 0).double()[None]).item()
        assert not t.inside(f[None], (f < 0).double()[None]).item()


def test_sizes_may_differ_between_examples() -> None:
    """Limiting case: equal sizes are one size, for the attack and its second-order form."""
    problem = problems(2, 5, 3, torch.Generator().manual_seed(0))
    weights = t.without_biases(initial(2, [3, 6, 1], torch.Generator().manual_seed(1)))
    data, equal = (weights, problem.inputs, problem.labels), torch.full((2, 5), 0.3).double()
    torch.testing.assert_close(attacked_second_order(*data, equal), attacked_second_order(*data, 0.3))
    each, one = (attacked(*data, size, 20, torch.Generator().manual_seed(2)) for size in (equal, 0.3))
    torch.testing.assert_close(each, one)


def test_the_minimiser_is_stationary() -> None:
    """Oracle: the gradient of `approximation.mixup`, by autograd, is zero there."""
    problem = problems(1, 15, 3, torch.Generator().manual_seed(0))
    theta = t.minimiser(problem.inputs[0], problem.labels[0], 1.0, 8)
    weight = theta[None, :, None].clone().requires_grad_()
    loss = mixup(t.without_biases([weight]), problem.inputs, problem.labels, 1.0, 8).sum()
    assert torch.autograd.grad(loss, weight)[0].abs().max() < 1e-7


@given(
    st.floats(0.05, 0.95), st.floats(0.05, 0.95), st.floats(0.01, 0.25), st.floats(0.01, 1), st.floats(0, 1)
)
def test_the_constant_is_what_the_proof_needs(
    share: float, tau: float, kappa: float, most: float, part: float
) -> None:
    """Algebra (proof of Theorem 3.2, p = p_tau / 2): both of its conditions on the radius hold, one with equality."""
    least, p = most * (0.01 + 0.99 * part), share / 2
    r = t.constant_radius(share, tau, kappa, least, most)
    curve = r**2 * (1 + (1 - p) / 4 / (p * kappa)) / tau**2
    slope = r * (1 + (1 - p) * most / (p * least)) / tau
    assert max(curve, slope) == pytest.approx(1)


def test_theorem_3_1_where_it_must_hold() -> None:
    """The theorem itself, for centred data and no training error; the sides are equal where theta is zero."""
    problem = problems(20, 8, 4, torch.Generator().manual_seed(0))
    x = problem.inputs - problem.inputs.mean(1, keepdim=True)
    generator = torch.Generator().manual_seed(1)
    *_, last = trained(initial(20, [4, 1], generator), problem, 200, 0.5, 0.9, 8, generator)
    weights = t.without_biases(last)
    labels = (x @ last[0] > 0).double()[..., 0]
    left, middle, right = t.three_sides(weights, x, labels, 1.0)
    assert (left >= middle - 1e-12).all()
    assert (middle >= right - 1e-12).all()


def test_examples_have_their_mean() -> None:
    """Closed form: the mean lies at the distance, on the side of the labels 1; at 0, half of many labels are 1."""
    far = t.examples(3, 2000, 5, 3.0, torch.Generator().manual_seed(0))
    torch.testing.assert_close(far.inputs.mean(1).norm(dim=1), torch.full((3,), 3.0).double())
    assert far.labels.mean() == pytest.approx(0.99865, abs=0.002)
    near = t.examples(3, 2000, 5, 0.0, torch.Generator().manual_seed(0))
    assert near.inputs.mean(1).abs().max() < 1e-12
    assert near.labels.mean() == pytest.approx(0.5, abs=0.03)
