"""Taylor series of a smooth network along a line, by power series arithmetic: no nested differentiation.

A series is a tensor whose first axis holds the coefficients c_0, c_1, ..., c_K of powers of a.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def exponential(u: Tensor) -> Tensor:
    """The series of exp(u(a)), from e' = u' e."""
    e = [u[0].exp()]
    for k in range(1, len(u)):
        e.append(sum((i * u[i] * e[k - i] for i in range(1, k + 1)), torch.zeros_like(u[0])) / k)
    return torch.stack(e)


def logarithm(u: Tensor) -> Tensor:
    """The series of log(u(a)), u_0 > 0, from u v' = u'."""
    v = [u[0].log()]
    for k in range(1, len(u)):
        known = sum((i * v[i] * u[k - i] for i in range(1, k)), torch.zeros_like(u[0]))
        v.append((u[k] - known / k) / u[0])
    return torch.stack(v)


def tangent(u: Tensor) -> Tensor:
    """The series of tanh(u(a)), from t' = (1 - t^2) u'."""
    t, slope = [u[0].tanh()], [1 - u[0].tanh() ** 2]
    for k in range(1, len(u)):
        t.append(sum((i * u[i] * slope[k - i] for i in range(1, k + 1)), torch.zeros_like(u[0])) / k)
        slope.append(-sum((t[i] * t[k - i] for i in range(k + 1)), torch.zeros_like(u[0])))
    return torch.stack(t)


def log_sum_exp(u: Tensor) -> Tensor:
    """h of the softmax loss over the last axis: (K + 1, ..., C) -> (K + 1, ...)."""
    top = u[0].amax(-1, keepdim=True)
    shifted = torch.cat([(u[0] - top)[None], u[1:]])
    found = logarithm(exponential(shifted).sum(-1))
    return torch.cat([(found[0] + top[..., 0])[None], found[1:]])


def network(weights: Sequence[Tensor], start: Tensor, way: Tensor, order: int) -> Tensor:
    """Coefficients (order + 1, ..., C) of f(start + a way), tanh between the layers; `start` and `way` are (..., d).

    `weights` are (in + 1, out) from layer to layer; the last row of each is the bias.
    """
    zero = torch.zeros_like(start)
    series = torch.stack([start, way, *[zero] * (order - 1)][: order + 1])
    for depth, weight in enumerate(weights):
        series = series @ weight[:-1]
        series = torch.cat([(series[0] + weight[-1])[None], series[1:]])
        if depth < len(weights) - 1:
            series = tangent(series)
    return series


def value(series: Tensor, a: Tensor | float) -> Tensor:
    """The sum of c_k a^k; `a` is a number, or has a shape that fits the coefficients'."""
    total = torch.zeros_like(series[0])
    for coefficient in reversed(series):
        total = total * a + coefficient
    return total
