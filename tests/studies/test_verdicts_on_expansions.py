"""Verdicts on regularizers, complexities and expansions: numbers made by hand that lead to each verdict.

The oracle is the rule in the judge's docstring, or the definition of a bound: what holds as printed is confirmed, what
holds with a correction alone is corrected, what fails with it too is refuted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from verdicts import FORMS, NOISE, Case, by_case, by_setting, check, names, untried

from mixbench.studies import first_order, orders, rademacher, regularizers
from mixbench.studies.study import CONFIRMED, CORRECTED, REFUTED, UNDECIDED


def coefficients(finite: float, growth: float) -> pd.DataFrame:
    """Means over draws: this many times (alpha + 1) / (alpha - 1), or growing so much."""
    rows = {}
    for alpha in regularizers.ALPHAS:
        ends = (1.0, growth) if alpha <= 1 else (1.0, finite * (alpha + 1) / (alpha - 1))
        for draws, value in zip((regularizers.DRAWS[0], regularizers.DRAWS[-1]), ends, strict=True):
            rows["coefficient", f"{alpha:g}", str(draws)] = value
    return by_setting(rows)


def mixing_adds(mixup: float, rescaled: float) -> pd.DataFrame:
    rows = {}
    for alpha in regularizers.FINITE:
        for scale in regularizers.SCALES:
            of = {"mixup": mixup, "rescaled": rescaled}
            rows |= {("glm", f"{alpha:g}, {scale:g}", name): value for name, value in of.items()}
    return by_setting(rows)


def fits(off: Callable[[float], float]) -> pd.DataFrame:
    """Shrunken fits that are this far from the lemma's, by alpha."""
    rows = {}
    for alpha in regularizers.ALPHAS:
        printed = (alpha - 1) / (2 * alpha) if alpha > 1 else 0.0
        rows["squares", f"{alpha:g}", "printed"] = printed
        rows["squares", f"{alpha:g}", "mixup"] = printed + off(alpha) + NOISE
    return by_setting(rows)


def retentive(complexity: float, everywhere: float) -> pd.DataFrame:
    of = {"complexity": complexity, "bound": 1.0, "rho": 0.5}
    rows = {("linear", "1, 1, 30", name): value for name, value in of.items()}
    return by_setting(rows | {("linear", "everywhere", "rho"): everywhere})


def ranks(mixup: float, ridge: float, equal_trace: float) -> pd.DataFrame:
    powers = {"mixup": mixup, "ridge": ridge, "ridge, equal trace": equal_trace}
    return by_setting(
        {("ranks", str(r), name): r**power for r in rademacher.RANKS for name, power in powers.items()}
    )


def classes(fixed: float, free: float) -> pd.DataFrame:
    settings = {"fixed, 1": fixed, "free, 10": free, f"free, {3 * rademacher.WIDTH}": free}
    rows = {}
    for setting, value in settings.items():
        rows |= {("hidden", setting, "complexity"): value, ("hidden", setting, "bound"): 1.0}
    return by_setting(rows)


def shapes(printed: float, corrected: float) -> pd.DataFrame:
    rows = {("bounded", "output, 1, 1", "step"): 1.0}
    for shape in rademacher.SHAPES:
        of = {"complexity": 1.0, "bound": printed, "corrected": corrected}
        rows |= {("bounded", f"{shape}, 10", name): value for name, value in of.items()}
    return by_setting(rows)


def slopes(printed: int, corrected: int) -> pd.DataFrame:
    """Powers K + 1 are right, powers 1 are not."""
    rows = {}
    for name, right in (("printed_slope", printed), ("slope", corrected)):
        rows |= {
            (part, f"{name}_{k}"): k + 1.0 if right else 1.0 for part in orders.TANH for k in orders.SLOPES
        }
    return by_case(rows)


def series(untrained: Any, trained: Any) -> pd.DataFrame:
    """Relative errors at the largest order; at order 1 they are 1."""
    rows = {}
    for part, last in {"untrained": untrained, "trained": trained}.items():
        largest = orders.Parameters().orders
        rows |= {(part, f"error_{k}"): 1.0 if k < largest else last for k in range(1, largest + 1)}
    return by_case(rows)


def first_terms(untrained: Any, trained: Any) -> pd.DataFrame:
    """The first-order term, beside a rest of 1."""
    rows = {}
    for part, first in {"untrained": untrained, "trained": trained}.items():
        rows |= {(part, "first"): first, (part, "rest"): 1.0}
    return by_case(rows)


def quick(without_biases: float, with_biases: float) -> pd.DataFrame:
    rows = {}
    for part, far in zip(first_order.RELU, (without_biases, with_biases), strict=True):
        rows |= {(part, "far"): far, (part, "correlation"): 1.0, (part, "sum"): 1.0}
    return by_case(rows)


def weights(off: float) -> pd.DataFrame:
    count = len(first_order.ALPHAS)
    of = {"drawn": 0.3 + off, "error": 0.001, "printed": 0.3}
    return pd.DataFrame(
        [
            {"part": "weights", "case": case, "quantity": name, "value": value}
            for name, value in of.items()
            for case in range(count)
        ]
    )


def second_order(slope: float) -> pd.DataFrame:
    rows = {(part, "taylor_slope_2"): slope for part in orders.TANH}
    return by_case(rows | {(part, "taylor_error_2"): 0.1 for part in orders.TANH})


SOME = np.array([0, 1] * 4)  # half of the cases
CASES: list[Case] = [
    ("capacity", "coefficient", CORRECTED, lambda: coefficients(1.0, 100.0)),
    ("capacity", "coefficient", REFUTED, lambda: coefficients(1.5, 100.0)),
    ("capacity", "coefficient", REFUTED, lambda: coefficients(1.0, 1.0)),
    *[
        ("capacity", "lemma_3_3", v, lambda p=p, c=c: mixing_adds(1.0 if p else 2.0, 1.0 if c else 2.0))
        for p, c, v in FORMS
    ],
    ("capacity", "lemma_3_4", CONFIRMED, lambda: fits(lambda alpha: 0.0)),
    ("capacity", "lemma_3_4", REFUTED, lambda: fits(lambda alpha: 1.0)),
    ("capacity", "lemma_3_4", UNDECIDED, lambda: fits(lambda alpha: 0.0 if alpha < 1 else 1.0)),
    ("capacity", "theorem_3_4", CONFIRMED, lambda: retentive(0.9, 0.5)),
    ("capacity", "theorem_3_4", CORRECTED, lambda: retentive(0.9, 0.0)),
    ("capacity", "theorem_3_4", REFUTED, lambda: retentive(1.1, 0.0)),
    ("capacity", "remark_3_2", CONFIRMED, lambda: ranks(0.5, 0.0, -0.5)),
    ("capacity", "remark_3_2", CORRECTED, lambda: ranks(0.5, 0.5, 0.0)),
    ("capacity", "remark_3_2", REFUTED, lambda: ranks(0.0, 0.5, 0.0)),
    ("capacity", "theorem_3_5", CONFIRMED, lambda: classes(0.9, 0.9)),
    ("capacity", "theorem_3_5", CORRECTED, lambda: classes(0.9, 1.5)),
    ("capacity", "theorem_3_5", REFUTED, lambda: classes(1.5, 1.5)),
    ("capacity", "theorem_2", CONFIRMED, lambda: shapes(2.0, 2.0)),
    ("capacity", "theorem_2", CORRECTED, lambda: shapes(0.5, 2.0)),
    ("capacity", "theorem_2", REFUTED, lambda: shapes(0.5, 0.5)),
    *[("orders", "theorem_1", v, lambda p=p, c=c: slopes(p, c)) for p, c, v in FORMS],
    ("orders", "large_order", CONFIRMED, lambda: series(0.1, 0.1)),
    ("orders", "large_order", CORRECTED, lambda: series(0.1, 10.0)),
    ("orders", "large_order", REFUTED, lambda: series(10.0, 10.0)),
    ("orders", "large_order", UNDECIDED, lambda: series(0.1, 10.0 ** (2 * SOME - 1))),
    # The correction is "before training only", which this is not.
    ("orders", "large_order", UNDECIDED, lambda: series(10.0, 0.1)),
    ("orders", "dominates", CONFIRMED, lambda: first_terms(2.0, 2.0)),
    ("orders", "dominates", CORRECTED, lambda: first_terms(2.0, 0.5)),
    ("orders", "dominates", REFUTED, lambda: first_terms(0.5, 0.5)),
    ("orders", "dominates", UNDECIDED, lambda: first_terms(2.0, 0.5 + SOME)),
    ("orders", "equation_5", CONFIRMED, lambda: quick(0.0, 0.0)),
    ("orders", "equation_5", CORRECTED, lambda: quick(0.0, 1.0)),
    ("orders", "equation_5", REFUTED, lambda: quick(1.0, 1.0)),
    ("orders", "mean_weight", CONFIRMED, lambda: weights(0.001)),
    ("orders", "mean_weight", REFUTED, lambda: weights(0.1)),
    ("orders", "lemma_3_1", CONFIRMED, lambda: second_order(3.0)),
    ("orders", "lemma_3_1", REFUTED, lambda: second_order(2.0)),
]


@pytest.mark.parametrize(("name", "judge", "verdict", "numbers"), CASES, ids=names(CASES))
def test_the_verdict_follows_from_the_numbers(
    name: str, judge: str, verdict: str, numbers: Callable[[], pd.DataFrame]
) -> None:
    """By hand; see the module."""
    check(name, judge, verdict, numbers)


def test_no_judge_is_left_out() -> None:
    """Those of the two studies."""
    assert untried(("capacity", "orders"), CASES) == set()
