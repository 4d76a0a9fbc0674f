"""Rademacher complexities of linear classes with and without Mixup, and their bounds (Kimura, Why Mixup Improves the
Model Performance, 2021, sections 4 to 7). Samples are (n, d) float64; the weights' bound Lambda is 1.
"""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Sample = NDArray[np.float64]


def toward_mean(sample: Sample, lam: float) -> Sample:
    """lam x_i + (1 - lam) mean: what Mixup makes of each example, in expectation over its partner."""
    return lam * sample + (1 - lam) * sample.mean(0)


def rademacher(samples: list[Sample], draws: int, generator: Generator) -> tuple[Sample, Sample]:
    """E |sum_i sigma_i x_i| / n of each sample by Monte Carlo, with the same signs for all, and the values (S,
    draws)."""
    n = len(samples[0])
    signs = generator.integers(0, 2, (draws, n)) * 2.0 - 1
    values = np.stack([np.linalg.norm(signs @ sample, axis=1) / n for sample in samples])
    return values.mean(1), values


def by_norms(sample: Sample) -> float:
    """Equation 18's bound of the complexity: sqrt(sum |x_i|^2) / n."""
    return float(np.sqrt((sample**2).sum()) / len(sample))


def variance_of_norms(sample: Sample) -> float:
    """s^2(|x|) as printed in equation 17: the sample variance of the norms."""
    return float(np.linalg.norm(sample, axis=1).var())


def trace_of_covariance(sample: Sample) -> float:
    """What s^2 must be: the mean squared distance from the mean."""
    return float(sample.var(0).sum())


def bound(sample: Sample, lam: float, variance: float) -> float:
    """Equation 17: |1 - lam| / sqrt(n) sqrt(s^2)."""
    return float(abs(1 - lam) * np.sqrt(variance / len(sample)))


def mixed_square_sum(sample: Sample, lam: float) -> float:
    """sum |lam x_i + (1 - lam) mean|^2."""
    return float((toward_mean(sample, lam) ** 2).sum())


def square_sum_printed(sample: Sample, lam: float) -> float:
    """Equation 19's bound of it, without a cross term: lam^2 sum |x_i|^2 + (1 - lam)^2 n |mean|^2."""
    mean = (sample.mean(0) ** 2).sum() * len(sample)
    return float(lam**2 * (sample**2).sum() + (1 - lam) ** 2 * mean)


def square_sum_corrected(sample: Sample, lam: float) -> float:
    """Its value: lam^2 sum |x_i|^2 + (1 - lam^2) n |mean|^2."""
    mean = (sample.mean(0) ** 2).sum() * len(sample)
    return float(lam**2 * (sample**2).sum() + (1 - lam**2) * mean)


def network_difference(sample: Sample, lam: float) -> float:
    """The difference of the maxima before equation 22, without its constant: max |x_i| - max (lam |x_i| + (1 - lam)
    |mean|).
    """
    norms, mean = np.linalg.norm(sample, axis=1), np.linalg.norm(sample.mean(0))
    return float(norms.max() - (lam * norms + (1 - lam) * mean).max())


def network_bound(noise: Sample, lam: float) -> float:
    """Equation 22 without its constant: (1 - lam) max |eps_i|."""
    return float((1 - lam) * np.linalg.norm(noise, axis=1).max())
