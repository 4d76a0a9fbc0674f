"""Verdicts on theorems and equations: for every judge numbers made by hand that lead to each of its verdicts.

The oracle is the rule in the judge's docstring, or the definition of a bound: what holds as printed is confirmed, what
holds with a correction alone is corrected, what fails with it too is refuted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest
from verdicts import FORMS, NOISE, Case, by_case, check, names, untried

from mixbench.studies import construction, expansion, generalization, lipschitz, protection, upper_bound
from mixbench.studies.study import CONFIRMED, CORRECTED, REFUTED, UNDECIDED


def lemma_1(printed: int, corrected: int) -> pd.DataFrame:
    of = {"lemma_printed": 1.0 if printed else 0.9, "lemma_corrected": 1.0 if corrected else 0.9}
    return by_case({("tanh", name): value for name, value in (of | {"lemma_tightness": 0.5}).items()})


def kinks(steeper: Any) -> pd.DataFrame:
    return by_case(
        {
            ("tanh", "slopes_steeper"): 1.0,
            ("relu", "slopes_steeper"): steeper,
            ("relu", "lemma_corrected"): 0.5,
        }
    )


def ascent(quadratic: tuple[float, float], tanh: tuple[float, float]) -> pd.DataFrame:
    """Bounds as printed and corrected of a quotient that is 1."""
    rows = {}
    for part, (printed, corrected) in {"quadratic": quadratic, "tanh": tanh}.items():
        of = {"quotient": 1.0, "printed": printed, "corrected": corrected, "gradient": 1.0}
        rows |= {(part, name): value for name, value in of.items()}
    return by_case(rows)


def by_z(shares: Any) -> pd.DataFrame:
    return by_case({("tanh", f"by_z_{lam:g}"): shares for lam in lipschitz.RATIOS})


def bounds(part: str, **columns: float) -> pd.DataFrame:
    """Samples whose quantities are 1 but for these."""
    names = ("difference", "printed", "corrected", "square_sum", "square_sum_printed", "square_sum_corrected")
    row = dict.fromkeys((*names, "step_20", "step_20_corrected"), 1.0) | {"error": 0.0, "shift": 0.0}
    return pd.DataFrame([row | columns | {"part": part}] * 4)


def falling(powers: list[float]) -> pd.DataFrame:
    """Differences of complexities that fall with these powers of n, sample by sample."""
    return pd.DataFrame(
        [
            {"part": "linear", "d": 1, "shift": 0, "lam": 0.5, "sample": i, "n": n, "difference": n**power}
            for i, power in enumerate(powers)
            for n in (10, 100, 1000)
        ]
    )


def variances(mean: Callable[[float], float], drawn: Callable[[float], float]) -> pd.DataFrame:
    return pd.DataFrame([{"lam": lam, "mean": mean(lam), "drawn": drawn(lam)} for lam in (0.1, 0.3, 0.5)])


def square(lam: float) -> float:
    return lam**2


def both(lam: float) -> float:
    return lam**2 + (1 - lam) ** 2


def inside(part: str, count: int = 4, **columns: float) -> list[dict[str, Any]]:
    names = ("plain", "loss", "quadratic", "by_example", "by_least", "attacked", "size", "grown", "constant")
    row = dict.fromkeys((*names, "constant_size"), 1.0) | {"plain": 0.5, "n": 100, "inside": True}
    return [{**row, **columns, "part": part}] * count


def attacks(many_wrong: int, in_theta: bool = True) -> pd.DataFrame:
    """Of 100 models of each kind, so many whose loss under attack is above Mixup's."""
    rows = []
    for part in upper_bound.CENTRED:
        rows += inside(part, 100 - many_wrong, attacked=0.9, inside=in_theta)
        rows += inside(part, many_wrong, attacked=1.1, inside=in_theta) if many_wrong else []
    return pd.DataFrame(rows)


def chains(kind: str, least: float, in_theta: bool = True) -> pd.DataFrame:
    return pd.DataFrame(inside(kind, by_example=0.9, by_least=least, inside=in_theta))


def chains_of(centred: float, other: float) -> pd.DataFrame:
    """Adversarial losses below or above a quadratic form of 1, in Theta; outside, where they are far above, nothing
    counts.
    """
    rows = []
    for part, by in (("linear", centred), ("uncentred", other)):
        rows += inside(part, 2, by_example=by, by_least=by / 2)
        rows += inside(part, 1, by_example=9.0, by_least=by / 2, inside=False)
    return pd.DataFrame(rows)


def minimisers(grown: float, constant: float) -> pd.DataFrame:
    trained = [row for part in upper_bound.CENTRED for row in inside(part, grown=grown)]
    return pd.DataFrame(trained + inside("minimisers", constant=constant))


def forms(where_right: float, where_wrong: float) -> pd.DataFrame:
    """Adversarial losses of models with all examples right and without, beside quadratic forms of 1."""
    rows = [
        dict.fromkeys(protection.MASKS, 1.0)
        | {"epoch": epoch, "accuracy": accuracy, "second_order": loss, "attacked": loss, "size": 0.1}
        for epoch, accuracy, loss in (
            (0, 0.5, where_wrong),
            (protection.Parameters().epochs, 1.0, where_right),
        )
    ]
    return pd.DataFrame(rows * 2)


def remainders(parts: tuple[str, ...], printed: float, corrected: float) -> pd.DataFrame:
    """Remainders that fall with these powers of the scale."""
    return pd.DataFrame(
        [
            {"part": part, "alpha": 1, "beta": 1, "network": network, "scale": scale, "off": 0.1}
            | {"printed": scale**printed, "corrected": scale**corrected}
            for part in parts
            for network in range(3)
            for scale in expansion.SCALES
        ]
    )


def masks(printed: float, corrected: float, errors: float, eigenvalue: float = 0.1) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"target": name, "lam": lam, "eigenvalue": eigenvalue if name == "CutMix" else 0.1}
            | {"closed_printed": printed, "closed_corrected": corrected, "errors_corrected": errors}
            | {"mean_printed": 1 - lam, "outside": 0.1}
            for name in construction.TARGETS
            for lam in (0.3, 0.5)
        ]
    )


def populations(loss: Callable[[str, int], float]) -> pd.DataFrame:
    """Losses on the population by method and size, with little noise over samples; their forms are 0."""
    sizes = generalization.Parameters().sizes
    return pd.DataFrame(
        [
            {"n": n, "method": name, "sample": i, "population": loss(name, n) + noise * 0.01, "form": 0.0}
            for n in sizes
            for name in generalization.METHODS
            for i, noise in enumerate(NOISE)
        ]
    )


def better_by(*gains: float) -> pd.DataFrame:
    """By how much mixing's loss is lower than plain training's: at the first size, and at all others."""
    first = generalization.Parameters().sizes[0]
    return populations(lambda name, n: 1.0 if name == "Vanilla" else 1.0 - gains[0 if n == first else 1])


CASES: list[Case] = [
    *[("lipschitz", "lemma_1", v, lambda p=p, c=c: lemma_1(p, c)) for p, c, v in FORMS],
    ("lipschitz", "assumption_1", REFUTED, lambda: kinks(50.0)),
    ("lipschitz", "assumption_1", CONFIRMED, lambda: kinks(1.0)),
    ("lipschitz", "assumption_1", UNDECIDED, lambda: kinks(3.0)),
    ("lipschitz", "theorem_1", CONFIRMED, lambda: ascent((2, 2), (2, 2))),
    ("lipschitz", "theorem_1", CORRECTED, lambda: ascent((2, 2), (0.5, 2))),
    # A bound that fails on networks is refuted, whatever it does on quadratics.
    ("lipschitz", "theorem_1", REFUTED, lambda: ascent((2, 2), (0.5, 0.5))),
    ("lipschitz", "theorem_1", REFUTED, lambda: ascent((0.5, 2), (0.5, 0.5))),
    ("lipschitz", "theorem_1_by_z", CONFIRMED, lambda: by_z(0.0)),
    ("lipschitz", "theorem_1_by_z", REFUTED, lambda: by_z(0.2)),
    # One network of eight exceeds it: that is no bound, and no interval above zero.
    ("lipschitz", "theorem_1_by_z", UNDECIDED, lambda: by_z([0.1, *[0.0] * 7])),
    ("complexity", "theorem_2", CONFIRMED, lambda: bounds("linear")),
    ("complexity", "theorem_2", CORRECTED, lambda: bounds("linear", printed=0.5)),
    ("complexity", "theorem_2", REFUTED, lambda: bounds("linear", printed=0.5, corrected=0.5)),
    ("complexity", "equation_19", CONFIRMED, lambda: bounds("linear")),
    ("complexity", "equation_19", CORRECTED, lambda: bounds("linear", square_sum_printed=0.5)),
    ("complexity", "equation_19", REFUTED, lambda: bounds("linear", square_sum=2)),
    ("complexity", "equation_20", CONFIRMED, lambda: bounds("linear")),
    ("complexity", "equation_20", CORRECTED, lambda: bounds("linear", step_20=2)),
    ("complexity", "equation_20", REFUTED, lambda: bounds("linear", step_20=2, step_20_corrected=2)),
    ("complexity", "theorem_3", CONFIRMED, lambda: bounds("network")),
    ("complexity", "theorem_3", CORRECTED, lambda: bounds("network", printed=0.5)),
    ("complexity", "theorem_3", REFUTED, lambda: bounds("network", printed=0.5, corrected=0.5)),
    ("complexity", "figure_1", CONFIRMED, lambda: falling([-0.6, -0.5, -0.4])),
    ("complexity", "figure_1", UNDECIDED, lambda: falling([-0.6, -0.5, 0.2])),
    ("complexity", "figure_1", REFUTED, lambda: falling([-0.2, -0.1, -0.1])),
    # It grows: what never falls does not fall as one over the root.
    ("complexity", "figure_1", REFUTED, lambda: falling([0.1, 0.2, 0.3])),
    # As printed it is the same for either partner.
    ("smoothing", "theorem_4", CONFIRMED, lambda: variances(square, square)),
    ("smoothing", "theorem_4", CORRECTED, lambda: variances(square, both)),
    ("smoothing", "theorem_4", REFUTED, lambda: variances(both, both)),
    ("smoothing", "theorem_4", REFUTED, lambda: variances(square, lambda lam: 3 * both(lam))),
    *[
        ("upper_bound", "theorem_3_1", verdict, lambda by=by: chains_of(*by))
        for by, verdict in (((0.5, 0.5), CONFIRMED), ((0.5, 2.0), CORRECTED), ((2.0, 0.5), REFUTED))
    ],
    ("upper_bound", "losses", CONFIRMED, lambda: attacks(0)),
    ("upper_bound", "losses", CORRECTED, lambda: attacks(1)),
    ("upper_bound", "losses", REFUTED, lambda: attacks(10)),
    ("upper_bound", "losses", UNDECIDED, lambda: attacks(0, in_theta=False)),
    ("upper_bound", "theorem_3_3", CONFIRMED, lambda: chains("network", 0.8)),
    ("upper_bound", "theorem_3_3", REFUTED, lambda: chains("network", 0.95)),
    ("upper_bound", "theorem_3_3", UNDECIDED, lambda: chains("network", 0.8, in_theta=False)),
    ("upper_bound", "theorem_3_2", CONFIRMED, lambda: minimisers(2.0, 0.9)),
    ("upper_bound", "theorem_3_2", CORRECTED, lambda: minimisers(0.5, 0.9)),
    ("upper_bound", "theorem_3_2", REFUTED, lambda: minimisers(0.5, 1.1)),
    ("upper_bound", "theorem_b_1", UNDECIDED, lambda: minimisers(0.5, 0.9)),
    ("protection", "theorem_3", CONFIRMED, lambda: forms(0.9, 0.9)),
    ("protection", "theorem_3", CORRECTED, lambda: forms(0.9, 1.1)),
    ("protection", "theorem_3", REFUTED, lambda: forms(1.1, 0.9)),
    *[
        ("expansion", "theorem_1", v, lambda p=p, c=c: remainders(expansion.TWO, 2 + p, 2 + c))
        for p, c, v in FORMS
    ],
    ("expansion", "n_samples", CONFIRMED, lambda: remainders(expansion.THREE, 2, 3)),
    ("expansion", "n_samples", REFUTED, lambda: remainders(expansion.THREE, 2, 2)),
    ("construction", "theorem_2", CONFIRMED, lambda: masks(0, 0, 1)),
    ("construction", "theorem_2", CORRECTED, lambda: masks(0.5, 0, 1)),
    ("construction", "theorem_2", REFUTED, lambda: masks(0.5, 0.5, 1)),
    ("construction", "theorem_2", REFUTED, lambda: masks(0.5, 0, 9)),
    ("construction", "condition", CONFIRMED, lambda: masks(0, 0, 1)),
    ("construction", "condition", CORRECTED, lambda: masks(0, 0, 1, eigenvalue=-0.1)),
    ("generalization", "theorem_4", UNDECIDED, lambda: populations(lambda name, n: n**-0.9)),
    ("generalization", "theorem_4", REFUTED, lambda: populations(lambda name, n: n**-0.2)),
    ("generalization", "better", CONFIRMED, lambda: better_by(0.1, 0.1)),
    ("generalization", "better", CORRECTED, lambda: better_by(0.1, -0.1)),
    ("generalization", "better", REFUTED, lambda: better_by(-0.1, -0.1)),
    # Lower at one size, and no different at the others.
    ("generalization", "better", UNDECIDED, lambda: better_by(0.1, 0.0)),
]


@pytest.mark.parametrize(("name", "judge", "verdict", "numbers"), CASES, ids=names(CASES))
def test_the_verdict_follows_from_the_numbers(
    name: str, judge: str, verdict: str, numbers: Callable[[], pd.DataFrame]
) -> None:
    """By hand; see the module."""
    check(name, judge, verdict, numbers)


def test_no_judge_is_left_out() -> None:
    """Those that judge theorems by their sides."""
    assert (
        untried(
            (
                "lipschitz",
                "complexity",
                "smoothing",
                "upper_bound",
                "protection",
                "expansion",
                "construction",
                "generalization",
            ),
            CASES,
        )
        == set()
    )
