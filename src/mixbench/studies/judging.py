"""From numbers over seeds to what can be said of them. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from mixbench.studies.study import CONFIRMED, CORRECTED, REFUTED, UNDECIDED

if TYPE_CHECKING:
    import pandas as pd

RESAMPLES = 2_000
MORE = "The intervals decide neither way: more seeds would tell."


def agreed(verdicts: Sequence[str]) -> str:
    """The verdict of several cases that the paper does not tell apart: theirs where they agree, else undecided."""
    return verdicts[0] if len(set(verdicts)) == 1 else UNDECIDED


def as_printed(printed: ArrayLike, corrected: ArrayLike) -> str:
    """The verdict on a statement that was tried many times as it is printed, and with a correction; both bool."""
    return CONFIRMED if np.all(printed) else CORRECTED if np.all(corrected) else REFUTED


def sided(intervals: Sequence[tuple[float, float]]) -> str:
    """The verdict of several comparisons, by the interval of each: confirmed where all lie above 0, refuted where all
    lie below, corrected where some lie above and all others below; undecided where one has 0 within.
    """
    above, below = ([of(ends) for ends in intervals] for of in (lambda e: e[0] > 0, lambda e: e[1] < 0))
    if not all(up or down for up, down in zip(above, below, strict=True)):
        return UNDECIDED
    return CONFIRMED if all(above) else REFUTED if all(below) else CORRECTED


def interval(values: ArrayLike, statistic: Callable[..., Any], share: float = 0.95) -> tuple[float, float]:
    """The percentile bootstrap interval of a statistic over seeds; the same each time it is asked for.

    `statistic` takes an `axis`, as numpy's do.
    """
    given = np.asarray(values, dtype=float)
    if np.ptp(given) == 0:  # the bootstrap of a constant is that constant
        return float(given[0]), float(given[0])
    found = stats.bootstrap(
        (given,), statistic, n_resamples=RESAMPLES, confidence_level=share, method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval  # fmt: skip
    return float(found.low), float(found.high)


def paired(values: ArrayLike, others: ArrayLike, share: float = 0.95) -> tuple[float, float]:
    """Student's interval of the mean of values less others, seed by seed: that of the bootstrap is too narrow for a
    handful of seeds.
    """
    differences = np.asarray(values, dtype=float) - np.asarray(others, dtype=float)
    if np.ptp(differences) == 0:
        return float(differences[0]), float(differences[0])
    low, high = stats.t.interval(share, len(differences) - 1, differences.mean(), stats.sem(differences))
    return float(low), float(high)


def quantile_of(value: float, among: ArrayLike) -> float:
    """The share of the numbers that are smaller than `value`."""
    return float(np.mean(np.asarray(among, dtype=float) < value))


def values_of(numbers: pd.DataFrame, part: str, quantity: str) -> np.ndarray:
    """One quantity of a part, case by case, of numbers with the columns part, case, quantity and value."""
    chosen = numbers[(numbers["part"] == part) & (numbers["quantity"] == quantity)]
    return chosen.sort_values("case")["value"].to_numpy()


def values_at(numbers: pd.DataFrame, part: str, setting: str, quantity: str) -> np.ndarray:
    """One quantity of a part and setting, sample by sample, of numbers with the columns part, setting, sample, quantity
    and value.
    """
    of = numbers[(numbers["part"] == part) & (numbers["setting"] == setting)]
    return of[of["quantity"] == quantity].sort_values("sample")["value"].to_numpy()


def spread(values: ArrayLike) -> str:
    """Median and middle 95 % in words, "0.0041 (0.0001 to 0.015)"."""
    low, middle, high = np.quantile(np.asarray(values, dtype=float), [0.025, 0.5, 0.975])
    return f"{middle:.3g} ({low:.3g} to {high:.3g})"
