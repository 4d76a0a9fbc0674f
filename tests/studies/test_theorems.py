"""Verdicts on theorems: numbers made by hand for which each verdict is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from mixbench.studies import capacity, orders, regularizers, upper_bound
from mixbench.studies.study import CONFIRMED, CORRECTED, REFUTED


@pytest.mark.parametrize(
    ("right", "printed", "verdict"), [(1, 1, CONFIRMED), (1, 0, CORRECTED), (0, 0, REFUTED)]
)
def test_an_expansion_holds_where_its_remainder_falls_fast_enough(
    right: int, printed: int, verdict: str
) -> None:
    """By hand: powers K + 1 are right, powers 1 are not, for either form of the theorem."""
    rows = [
        (part, case, f"{name}_{k}", k + 1.0 if good else 1.0)
        for part in orders.TANH
        for case in range(3)
        for name, good in (("slope", right), ("printed_slope", printed))
        for k in orders.SLOPES
    ]
    numbers = pd.DataFrame(rows, columns=["part", "case", "quantity", "value"])
    assert orders.STUDY.judges["theorem_1"](numbers, orders.Parameters()).verdict == verdict


@pytest.mark.parametrize(
    ("centred", "other", "verdict"), [(0.5, 0.5, CONFIRMED), (0.5, 2.0, CORRECTED), (2.0, 0.5, REFUTED)]
)
def test_an_upper_bound_holds_where_it_is_above(centred: float, other: float, verdict: str) -> None:
    """By hand: a quadratic form of 1 and adversarial losses below or above it, in Theta; outside nothing counts."""
    rows = [
        {
            "part": part, "inside": inside, "quadratic": 1.0, "by_example": by if inside else 9.0,
            "by_least": by / 2,
        }
        for part, by in (("linear", centred), ("uncentred", other))
        for inside in (True, True, False)
    ]  # fmt: skip
    judge = upper_bound.STUDY.judges["theorem_3_1"]
    assert judge(pd.DataFrame(rows), upper_bound.Parameters()).verdict == verdict


@pytest.mark.parametrize(("fit", "verdict"), [(None, CONFIRMED), (1.0, REFUTED)])
def test_a_lemma_on_shrinking_is_refuted_by_fits_that_do_not(fit: float | None, verdict: str) -> None:
    """By hand: fits that shrink as the lemma says (None), and fits that do not shrink."""
    rows = []
    for alpha in regularizers.ALPHAS:
        for sample, noise in enumerate(np.linspace(-0.01, 0.01, 5)):
            printed = (alpha - 1) / (2 * alpha) if alpha > 1 else 0.0
            found = {"printed": printed, "mixup": (printed if fit is None else fit) + noise}
            rows += [("squares", f"{alpha:g}", sample, name, value) for name, value in found.items()]
    numbers = pd.DataFrame(rows, columns=["part", "setting", "sample", "quantity", "value"])
    assert capacity.STUDY.judges["lemma_3_4"](numbers, capacity.Parameters()).verdict == verdict
