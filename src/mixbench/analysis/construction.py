"""Masks of given coefficients: the construction of Park, Yun, Chun, NeurIPS 2022, Theorem 2.

For a matrix A (d, d) of wanted a_jk the proof sets M = (1 - lambda) 1 + S^(1/2) Z with S = A - (1 - lambda)^2 1 1^T
and Z standard normal. Such an M has the mean 1 - lambda, so that E[(1 - M)(1 - M)^T] = lambda^2 1 1^T + S, which is A
for lambda = 1/2 alone. With lambda 1 + S^(1/2) Z it is A always, and the mean is the lambda that equation 1 needs.
"""

from __future__ import annotations

import math

import torch
from scipy.special import ndtr
from torch import Tensor

from mixbench.analysis import coefficients as c


def needed(wanted: Tensor, lam: float) -> Tensor:
    """S = A - (1 - lambda)^2 1 1^T, which must be nonnegative definite: the covariance of a mask with mean lambda."""
    return wanted - (1 - lam) ** 2


def smallest(matrix: Tensor) -> float:
    """The smallest eigenvalue, relative to the largest in size."""
    values = torch.linalg.eigvalsh(matrix)
    return (values[0] / values.abs().max().clamp(min=1e-300)).item()


def root(matrix: Tensor) -> Tensor:
    """The symmetric square root of a nonnegative definite matrix."""
    values, vectors = torch.linalg.eigh(matrix)
    return vectors * values.clamp(min=0).sqrt() @ vectors.T


def coefficients(mean: float, covariance: Tensor) -> Tensor:
    """a_jk (d, d) of M = mean 1 + covariance^(1/2) Z, in closed form."""
    return (1 - mean) ** 2 + covariance


def outside(mean: float, covariance: Tensor) -> float:
    """The share of the pixels of such masks that lie outside [0, 1], in closed form."""
    scale = covariance.diagonal().clamp(min=0).sqrt().numpy() + 1e-300
    return float((ndtr(-mean / scale) + ndtr((mean - 1) / scale)).mean())


def grid(rows: Tensor, columns: Tensor | None = None) -> Tensor:
    """a_jk (n^2, n^2) of a square mask whose a_jk is a product over the axes, `joint` (n, n) of each."""
    return torch.kron(rows, rows if columns is None else columns)


def box_on_a_torus(lam: float, n: int) -> Tensor:
    """a_jk of a square box whose corner is uniform and that goes on at the opposite border, so that E[M] is the same at
    all pixels; its side is drawn from the two whole numbers around n sqrt(1 - lambda), so that it is lambda.
    """
    low = min(math.floor(n * math.sqrt(1 - lam)), n - 1)
    share = ((1 - lam) * n * n - low**2) / ((low + 1) ** 2 - low**2)
    return (1 - share) * grid(_ring(low, n)) + share * grid(_ring(low + 1, n))


def _ring(side: int, n: int) -> Tensor:
    """The share of the n places of an interval on a ring that hold both pixels."""
    pixel = torch.arange(n)
    holds = ((pixel[:, None] - pixel) % n < side).double()  # (pixel, place)
    return holds @ holds.T / n


def targets(lam: float, n: int, generator: torch.Generator) -> dict[str, Tensor]:
    """Matrices (n^2, n^2) that could be wanted: those of the methods, of their equations, and random ones."""
    d = n * n
    noise = torch.randn(d, d, generator=generator, dtype=torch.float64) / math.sqrt(d)
    bump = 2 * (1 - lam) * d
    return {
        "Mixup": torch.full((d, d), (1 - lam) ** 2, dtype=torch.float64),
        "random": (1 - lam) ** 2 + 0.05 * noise @ noise.T,
        "box on a torus": box_on_a_torus(lam, n),
        "CutMix": grid(c.box_clipped(1 - lam, n)),
        "equation 10": grid(c.box_inside(lam, n)),
        "GMix, paper": grid(c.bump_clipped(bump, n)),
        "equation 11": grid(c.bump_in_plane(bump, n)),
    }
