"""Power series against nested automatic differentiation and series that are known."""

from __future__ import annotations

import math

import pytest
import torch
from torch.func import grad, vmap

from mixbench.analysis import series as s


@pytest.mark.parametrize(
    ("of", "expected"), [(s.exponential, torch.exp), (s.logarithm, torch.log), (s.tangent, torch.tanh)]
)
def test_functions_of_series(of, expected) -> None:
    """Oracle: the derivatives, by nested torch.func.grad, of the function of 1.3 + 0.7 a - 0.4 a^2 + 0.2 a^3 at 0."""
    u = torch.tensor([1.3, 0.7, -0.4, 0.2], dtype=torch.float64)

    def along(a: torch.Tensor) -> torch.Tensor:
        return expected(s.value(u, a))

    found = of(torch.cat([u, torch.zeros(2, dtype=torch.float64)]))
    derivative, zero = along, torch.zeros((), dtype=torch.float64)
    for k in range(6):
        assert found[k].item() == pytest.approx(derivative(zero).item() / math.factorial(k), rel=1e-10)
        derivative = grad(derivative)


def test_a_network_along_a_line() -> None:
    """Oracle: nested torch.func.grad of each output and of log-sum-exp; and the sum of many terms is the network."""
    torch.manual_seed(0)
    weights = [torch.randn(4, 6).double() / 2, torch.randn(7, 3).double()]
    start, way = torch.randn(2, 5, 3).double()

    def outputs(a: torch.Tensor, x: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        hidden = torch.tanh((x + a * v) @ weights[0][:-1] + weights[0][-1])
        return hidden @ weights[1][:-1] + weights[1][-1]

    found = s.network(weights, start, way, 4)
    h = s.log_sum_exp(found)
    zero = torch.zeros((), dtype=torch.float64)
    for name, series in (("output", found[..., 1]), ("h", h)):

        def along(a: torch.Tensor, x: torch.Tensor, v: torch.Tensor, name: str = name) -> torch.Tensor:
            f = outputs(a, x, v)
            return f[1] if name == "output" else f.logsumexp(0)

        derivative = along
        for k in range(5):
            expected = vmap(derivative, (None, 0, 0))(zero, start, way) / math.factorial(k)
            torch.testing.assert_close(series[k], expected)
            derivative = grad(derivative)
    long = s.network(weights, start, way, 30)
    torch.testing.assert_close(s.value(long, 0.1), outputs(torch.tensor(0.1).double(), start, way))
    torch.testing.assert_close(s.network(weights, start, way, 0)[0], outputs(zero, start, way))
