"""What a table says about its numbers: spread, paired differences, and agreement with the paper's ordering."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

BOOTSTRAP = 10_000  # resamples of an interval
# Of n differences that are pure noise all have the same sign, so that the interval leaves out zero, with probability
# 2^(1-n): one time in four for three seeds, 6 % for five. With fewer seeds in common nothing is said of the order of
# methods: no interval, no rank, no correlation with a paper's order.
FEWEST_PAIRS = 5


@dataclass(frozen=True)
class Estimate:
    """Mean of n runs with the sample standard deviation (n - 1 in the denominator; NaN for a single run)."""

    mean: float
    std: float
    n: int


def estimate(values: Sequence[float]) -> Estimate:
    """Mean and spread of the finite ones among `values`; all NaN with n = 0 where there is none."""
    finite = np.array([v for v in values if math.isfinite(v)], dtype=float)
    if len(finite) == 0:
        return Estimate(math.nan, math.nan, 0)
    std = float(np.std(finite, ddof=1)) if len(finite) > 1 else math.nan
    return Estimate(float(finite.mean()), std, len(finite))


def tellable(methods: Iterable[Mapping[int, float]]) -> bool:
    """Whether the methods, each a value by seed, have so many seeds in common that they may be put into an order.

    Methods without a finite value do not count; fewer than two have no order.
    """
    seeds = [{seed for seed, value in values.items() if math.isfinite(value)} for values in methods]
    known = [found for found in seeds if found]
    return len(known) > 1 and len(set.intersection(*known)) >= FEWEST_PAIRS


@dataclass(frozen=True)
class Difference:
    """Mean of the paired differences a - b over the seeds that both have, and its 95 % bootstrap interval.

    `low` and `high` are NaN with fewer than five common seeds.
    """

    mean: float
    low: float
    high: float
    n: int

    @property
    def separated(self) -> bool:
        """True where the interval leaves out zero."""
        return self.low > 0 or self.high < 0


def paired_difference(a: Mapping[Any, float], b: Mapping[Any, float]) -> Difference:
    """Difference of two methods over common seeds: `a` and `b` map a seed to its value.

    The interval is the percentile bootstrap over seeds (10,000 resamples, fixed random state), the same each time
    it is asked for.
    """
    seeds = sorted(set(a) & set(b))
    differences = np.array([a[s] - b[s] for s in seeds if math.isfinite(a[s]) and math.isfinite(b[s])])
    if len(differences) == 0:
        return Difference(math.nan, math.nan, math.nan, 0)
    mean = float(differences.mean())
    if len(differences) < FEWEST_PAIRS:
        return Difference(mean, math.nan, math.nan, len(differences))
    if np.ptp(differences) == 0:  # the bootstrap of a constant is that constant
        return Difference(mean, mean, mean, len(differences))
    interval = stats.bootstrap(
        (differences,), np.mean, n_resamples=BOOTSTRAP, method="percentile", rng=np.random.default_rng(0)
    ).confidence_interval
    return Difference(mean, float(interval.low), float(interval.high), len(differences))


@dataclass(frozen=True)
class Ordering:
    """How well our ordering of methods agrees with the paper's."""

    kendall: float  # Kendall's tau-b: 1 the same order, -1 the reverse; NaN for fewer than two methods
    n: int  # methods compared
    pairs: int  # pairs that the paper orders
    agreeing: int  # of them, pairs that our means order in the same way


def ordering(ours: Mapping[str, float], paper: Mapping[str, float]) -> Ordering:
    """Agreement over the methods for which both have a finite number. Ties in the paper order nothing."""
    names = [m for m in ours if m in paper and math.isfinite(ours[m]) and math.isfinite(paper[m])]
    if len(names) < 2:
        return Ordering(math.nan, len(names), 0, 0)
    ordered = [(a, b) for a, b in itertools.combinations(names, 2) if paper[a] != paper[b]]
    agreeing = sum((ours[a] - ours[b]) * (paper[a] - paper[b]) > 0 for a, b in ordered)
    tau = stats.kendalltau([ours[m] for m in names], [paper[m] for m in names]).statistic
    return Ordering(float(tau), len(names), len(ordered), agreeing)
