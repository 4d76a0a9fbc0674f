"""Complexities and bounds against enumeration of all signs and the algebra that the paper's steps should be."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mixbench.analysis import complexity as c

samples = arrays(
    np.float64, st.tuples(st.integers(2, 7), st.integers(1, 3)), elements=st.floats(-10, 10, width=32)
)
ratios = st.floats(0.05, 0.95)


def exact(sample: np.ndarray) -> float:
    """All 2^n signs."""
    signs = np.array(list(itertools.product((-1, 1), repeat=len(sample))))
    return float(np.linalg.norm(signs @ sample, axis=1).mean() / len(sample))


def test_monte_carlo_against_all_signs() -> None:
    """Brute force on six examples, within five standard errors."""
    sample = np.random.default_rng(0).normal(1, 2, (6, 3))
    found, values = c.rademacher([sample, c.toward_mean(sample, 0.3)], 4000, np.random.default_rng(1))
    for estimate, drawn, of in zip(found, values, (sample, c.toward_mean(sample, 0.3)), strict=True):
        assert abs(estimate - exact(of)) < 5 * drawn.std() / len(drawn) ** 0.5


@settings(
    suppress_health_check=[HealthCheck.too_slow]
)  # its first example takes a second beside other processes
@given(samples, ratios)
def test_bounds_hold_where_they_must(sample: np.ndarray, lam: float) -> None:
    """Algebra: equation 18 by Jensen; equation 17 with the trace of the covariance by the triangle inequality; equation
    22 with the deviations from the sample's own mean; the corrected form of equation 19 is an identity."""
    room = 1e-9 * (1 + np.abs(sample).max() ** 2)
    mixed = c.toward_mean(sample, lam)
    assert exact(sample) <= c.by_norms(sample) + room
    assert exact(sample) - exact(mixed) <= c.bound(sample, lam, c.trace_of_covariance(sample)) + room
    assert c.network_difference(sample, lam) <= c.network_bound(sample - sample.mean(0), lam) + room
    assert c.mixed_square_sum(sample, lam) == pytest.approx(
        c.square_sum_corrected(sample, lam), abs=room * 100
    )


def test_what_is_printed_fails() -> None:
    """By hand: two points on a circle have equal norms, so that the printed bound is zero; a mean that is not zero
    breaks equation 19."""
    sample = np.array([[1.0, 0.0], [0.0, 1.0]])
    assert c.bound(sample, 0.5, c.variance_of_norms(sample)) == 0
    assert exact(sample) - exact(c.toward_mean(sample, 0.5)) > 0.05
    assert c.mixed_square_sum(sample, 0.5) == pytest.approx(1.25)
    assert c.square_sum_printed(sample, 0.5) == pytest.approx(0.75)
