"""Statistics of the tables against scipy, pandas and brute force."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from mixbench.summarize.statistics import estimate, ordering, paired_difference

values = st.lists(st.floats(-100, 100), min_size=1, max_size=8)


@given(values)
def test_mean_and_deviation_agree_with_pandas(numbers: list[float]) -> None:
    """Oracle: pandas' mean and std (ddof=1); missing runs do not count."""
    found = estimate([*numbers, math.nan])
    series = pd.Series(numbers)
    assert found.n == len(numbers)
    assert found.mean == pytest.approx(series.mean(), abs=1e-9)
    if len(numbers) > 1:
        assert found.std == pytest.approx(series.std(), abs=1e-6)
    else:
        assert math.isnan(found.std)


def test_nothing_gives_nothing() -> None:
    """Limiting case: no run."""
    assert estimate([math.nan]).n == 0
    assert paired_difference({0: 1.0}, {1: 2.0}).n == 0
    assert not paired_difference({0: 1.0}, {1: 2.0}).separated


def test_the_interval_is_that_of_all_resamples() -> None:
    """Brute force: with five pairs there are 5^5 resamples; their percentiles are the interval's limit."""
    a, b = {0: 3.0, 1: 5.0, 2: 4.5, 3: 9.0, 4: 2.0}, {0: 1.0, 1: 4.0, 2: 4.0, 3: 3.0, 4: 0.5, 7: 0.0}
    differences = [2.0, 1.0, 0.5, 6.0, 1.5]
    means = [np.mean(r) for r in itertools.product(differences, repeat=5)]
    found = paired_difference(a, b)
    assert (found.mean, found.n) == (np.mean(differences), 5)
    assert found.low == pytest.approx(np.percentile(means, 2.5), abs=0.15)
    assert found.high == pytest.approx(np.percentile(means, 97.5), abs=0.15)
    assert found.separated
    assert paired_difference(a, b) == found


def test_pairing_by_seed_matters() -> None:
    """By hand: equal spreads, but seed by seed always one better: the pairs separate what the means do not."""
    a = {s: 10.0 * s + 1 for s in range(5)}
    b = {s: 10.0 * s for s in range(5)}
    assert paired_difference(a, b).separated
    assert (paired_difference(a, b).low, paired_difference(a, b).high) == (1.0, 1.0)


def test_four_seeds_give_no_interval() -> None:
    """Limiting case: four differences of one sign are chance in one case of eight."""
    found = paired_difference({s: 1.0 + s for s in range(4)}, dict.fromkeys(range(4), 0.0))
    assert (found.mean, found.n) == (2.5, 4)
    assert math.isnan(found.low)
    assert not found.separated


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=2, max_size=7))
def test_ordering_agrees_with_scipy_and_brute_force(pairs: list[tuple[int, int]]) -> None:
    """Oracle: scipy.stats.kendalltau, and counting the pairs."""
    ours = {str(i): float(x) for i, (x, _) in enumerate(pairs)}
    paper = {str(i): float(y) for i, (_, y) in enumerate(pairs)}
    found = ordering({**ours, "extra": 1.0}, {**paper, "missing": math.nan})
    expected = stats.kendalltau(list(ours.values()), list(paper.values())).statistic
    assert found.kendall == pytest.approx(expected, nan_ok=True)
    same = [
        (ours[a] - ours[b]) * (paper[a] - paper[b]) > 0
        for a in ours
        for b in ours
        if a < b and paper[a] != paper[b]
    ]
    assert (found.pairs, found.agreeing) == (len(same), sum(same))
