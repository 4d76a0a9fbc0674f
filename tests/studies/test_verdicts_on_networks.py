"""Verdicts on trained networks, samplers and printed tables: numbers made by hand that lead to each verdict of a judge.

The oracle is the rule in the judge's docstring: what lies on one side of a bound for all seeds, on the other, or on
both.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import pytest
from verdicts import NOISE, Case, check, names, untried

from mixbench.studies import (
    approximation,
    attacked,
    coefficients,
    curves,
    directions,
    first_layer,
    printed,
    radius,
    selection,
    unbounded,
)
from mixbench.studies.study import CONFIRMED, CORRECTED, REFUTED, UNDECIDED

MIXED = np.where(np.arange(8) % 2, 1.0, -1.0)  # as many above 0 as below


def batches(better: float, difference: Any, correlation: Any = 0.5, intruding: Any = 0.1) -> pd.DataFrame:
    """Of eight networks, two rho and a hundred batches: the share of batches in which B- has the smaller loss, the mean
    difference, the rank correlation, and by how much more of B- than of B+ intrudes, network by network.
    """
    rows = []
    for rho, network in product((0.05, 0.5), range(8)):
        for batch in range(100):
            lower = batch < 100 * better
            # Of which the mean over batches is `difference`.
            mean = np.broadcast_to(difference, 8)[network]
            rest = (mean + 0.1 * better) / (1 - better) if better < 1 else 0.0
            row = {"rho": rho, "epoch": 1, "part": f"seed{network}"}
            row |= {f"loss_minus_less_plus_{gamma}": -0.1 if lower else rest for gamma in selection.GAMMAS}
            row["rank_correlation"] = np.broadcast_to(correlation, 8)[network]
            for space in selection.SPACES:
                row[f"intruding_minus_{space}"] = 0.5 + np.broadcast_to(intruding, 8)[network]
                row[f"intruding_plus_{space}"] = 0.5
            rows.append(row)
    return pd.DataFrame(rows)


def looks(before: np.ndarray, after: np.ndarray, above: Any = 5) -> pd.DataFrame:
    """R of networks of each kind before and after training, and how many R_i are above 0.8."""
    ends = {0: before, radius.Parameters().epochs: after}
    rows = {"largest": 0.9, "above_0.8": np.broadcast_to(above, len(before)), "accuracy": 1.0}
    return pd.concat(
        pd.DataFrame({"part": part, "epoch": epoch, "network": range(len(before)), "R": r, **rows})
        for part in radius.MODELS
        for epoch, r in ends.items()
    )


SMALL, LARGE = np.geomspace(1e-5, 1e-3, 8), np.geomspace(0.02, 1, 8)


def by_heart(clean: float, mixed: float) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"part": f"cifar10 seed{seed}", "test_acc": test, "train_acc_clean": clean}
            | {"train_acc_mixed": mixed + test / 100}
            for seed in range(3)
            for test in (20.0, 30.0, 40.0)
        ]
    )


def least_alphas(*least: float, q: Any = -1.0) -> pd.DataFrame:
    """The least alpha of each of the two kinds of network with Mixup, and the mean first-order term by network."""
    rows = []
    for part in directions.parts(directions.Parameters()):
        model, method = part.split(", ")
        value = dict(zip(directions.MODELS, least, strict=True))[model] if method == "mixup" else -1.0
        for seed, iteration in product(range(8), (0, 30)):
            row = {"part": part, "seed": seed, "iteration": iteration, "least": value, "negative": 0.5}
            rows.append(row | {"q": np.broadcast_to(q, 8)[seed], "q_negative": 0.5})
    return pd.DataFrame(rows)


def gradients(near: Any, far: float = 1.0, logits: float = 1.0) -> pd.DataFrame:
    """Products under CutMix at near and far offsets, seed by seed, and its logits' scale; others' are 1."""
    rows = []
    for seed, method, down in product(range(8), ("Vanilla", "Mixup", "CutMix"), (0, 1, 6)):
        own = method == "CutMix"
        value = (np.broadcast_to(near, 8)[seed] if down < 6 else far) if own else 1.0
        row = {"part": str(seed), "method": method, "down": down, "right": 0, "product": value + NOISE[seed]}
        rows.append(row | {"logits": logits if own else 1.0, "accuracy": 0.5})
    return pd.DataFrame(rows)


def apart(far: float, parts: tuple[str, ...], spread: float = 0.0) -> pd.DataFrame:
    """Pairs of curves that are this far apart, in parts of the loss; by pair, half more and half less by the spread."""
    return pd.DataFrame(
        [
            {"part": part, "seed": seed, "train": 1.0, "test": 1.0, "at_same": 1.0}
            | {f"approximate_{name}": 1 + far + spread * MIXED[seed] for name in ("train", "test")}
            for part in parts
            for seed in range(8)
        ]
    )


MIXING = tuple(f"{loss}, {model}" for loss in ("mixup", "mask") for model in approximation.MODELS)
ATTACK = tuple(f"attack, {model}" for model in approximation.MODELS)


def masks(text: float, corrected: float, mean: float = 0.5) -> pd.DataFrame:
    """Coefficients of every sampler, 0.5 by the masks with an error of 0.001, against both forms."""
    rows = []
    for name, lam in product(coefficients.SAMPLERS, (0.25, coefficients.SHOWN)):
        row = {"method": name, "lam": lam, "down": 0, "right": 0, "sampled": 0.5, "error": 0.001}
        rows.append(row | {"text": text, "corrected": corrected, "corner": lam * mean / 0.5, "centre": lam})
    return pd.DataFrame(rows)


def between(hybrid: float, hybrid_by_text: float) -> pd.DataFrame:
    """Mixup's coefficient is 0.2 and CutMix's 0.4; the hybrids' as drawn, and by the text."""
    rows = []
    for name, lam in product(coefficients.SAMPLERS, (0.25, coefficients.SHOWN)):
        ends = {"Mixup": (0.2, 0.2), "CutMix": (0.4, 0.4)}
        corrected, text = ends.get(name, (hybrid, hybrid_by_text))
        rows.append({"method": name, "lam": lam, "down": 0, "right": 0, "corrected": corrected, "text": text})
    return pd.DataFrame(rows)


def layers(term: Any, whole: float = 0.9, off: float = 0.0) -> pd.DataFrame:
    """What is left of the squared norm when the term or all of G is minimised: of `term`, one for all masks, or one for
    each of the eight networks.
    """
    rows = []
    for name, network in product(first_layer.METHODS, range(8)):
        row = {
            "method": name,
            "apart": off,
            "second": off,
            "other_reading": 0.5,
            "share": 0.1,
            "term_left": 0.0,
        }
        left = term.get(name, 0.9) if isinstance(term, dict) else np.broadcast_to(term, 8)[network]
        rows.append(row | {"norm_left_term": left, "G_left": 0.0, "norm_left_G": whole})
    return pd.DataFrame(rows)


def cells(changed: dict[tuple[str, str], float], only: str = "") -> pd.DataFrame:
    """Two columns of a table in which every method is better than the one before it, but for these cells, of both or of
    one `only`.
    """
    rows = []
    for metric, (rank, method), column in product(
        printed.METRICS, enumerate(printed.ORDER), ("CIFAR-100, a", "SVHN, b")
    ):
        value = (changed if only in column else {}).get((metric, method), 10.0 + rank)
        rows.append(
            {"part": "li2023/table1", "column": column, "method": method, "metric": metric, "value": value}
        )
    return pd.DataFrame(rows)


# DG-Mix 3.9 % above Mixup in accuracy, and 54.4 % in Gap.
AS_TOLD = {
    ("Test_Acc", "Mixup"): 100.0, ("Test_Acc", "DG-Mix"): 103.9, ("Gap", "Mixup"): 100.0, ("Gap", "DG-Mix"): 154.4,
}  # fmt: skip


def accuracies(wide: dict[str, Any]) -> pd.DataFrame:
    """Test accuracies with lambdas below zero, by kind and seed; no mixing has 0.4, ordinary Mixup 0.5."""
    rows = []
    for kind, seed in product(unbounded.KINDS, range(8)):
        value = np.broadcast_to(wide.get(kind, 0.4 if kind == "no mixing" else 0.5), 8)[seed]
        rows.append(
            {"part": str(seed), "kind": kind, "test": value + NOISE[seed] / 10, "negative_loss": -1.0}
        )
    return pd.DataFrame(rows)


AS_IS, CLIPPED, _ = unbounded.WIDE


def under_attack(gains: dict[float, Any]) -> pd.DataFrame:
    """How much more accurate Mixup is at each size of the attack, by seed; 0 where it is not said."""
    rows = []
    for method, size, seed in product(attacked.METHODS, attacked.Parameters().sizes, range(8)):
        gain = np.broadcast_to(gains.get(size, 1.0), 8)[seed] if method != "ERM" else 0.0
        rows.append({"part": str(seed), "method": method, "size": size, "accuracy": 50 + gain, "loss": 1.0})
    return pd.DataFrame(rows)


def trained(
    methods: dict[str, tuple[Any, Any]], places: tuple[str, ...] = tuple(curves.PLACES), turned: str = ""
) -> pd.DataFrame:
    """Train and test losses by method, which are the errors too, and by seed; at `turned` the other way round."""
    rows = []
    for place, (method, losses), seed in product(places, methods.items(), range(8)):
        train, test = (np.broadcast_to(of, 8)[seed] * (-1 if place == turned else 1) for of in losses)
        row = {"part": f"{place} seed {seed}", "method": method, "train_loss": train, "train_error": train}
        row["trained_loss"] = train
        early = dict.fromkeys(("train_loss", "train_error", "test_loss", "test_error"), 9.0)
        rows += [row | early | {"epoch": 1}, row | {"epoch": 2, "test_loss": test, "test_error": test}]
    return pd.DataFrame(rows)


def mixupe(low: tuple[Any, Any], high: tuple[Any, Any]) -> pd.DataFrame:
    """The two MixupE beside an ERM of train loss 1 and test loss 3, and a Mixup of 2 and 2.5."""
    kinds = dict(
        zip([name for name in curves.METHODS if name.startswith("MixupE")], (low, high), strict=True)
    )
    return trained({"ERM": (1.0, 3.0), "Mixup": (2.0, 2.5), **kinds})


CASES: list[Case] = [
    ("selection", "equation_14", CONFIRMED, lambda: batches(1.0, -0.1)),
    ("selection", "equation_14", CORRECTED, lambda: batches(0.9, -0.05)),
    ("selection", "equation_14", REFUTED, lambda: batches(0.5, 0.05)),
    ("selection", "equation_14", UNDECIDED, lambda: batches(0.5, MIXED / 20)),
    ("selection", "correlation", CONFIRMED, lambda: batches(1.0, -0.1, correlation=0.5)),
    ("selection", "correlation", REFUTED, lambda: batches(1.0, -0.1, correlation=-0.5)),
    ("selection", "correlation", UNDECIDED, lambda: batches(1.0, -0.1, correlation=MIXED)),
    *[
        ("selection", f"intrusion_{space}", verdict, lambda by=by: batches(1.0, -0.1, intruding=by))
        for space in selection.SPACES
        for verdict, by in ((CONFIRMED, 0.1), (REFUTED, -0.1), (UNDECIDED, MIXED / 10))
    ],
    ("radius", "grows", CONFIRMED, lambda: looks(SMALL, LARGE)),
    ("radius", "grows", REFUTED, lambda: looks(LARGE, SMALL)),
    ("radius", "grows", UNDECIDED, lambda: looks(SMALL, SMALL * 2**MIXED)),
    ("radius", "printed_pair", CONFIRMED, lambda: looks(SMALL, LARGE)),
    ("radius", "printed_pair", REFUTED, lambda: looks(SMALL * 100, LARGE)),
    (
        "radius",
        "printed_pair",
        UNDECIDED,
        lambda: looks(np.array([1e-5, *[0.01] * 59]), np.geomspace(0.02, 1, 60)),
    ),
    ("radius", "many_above", CONFIRMED, lambda: looks(SMALL, LARGE)),
    ("radius", "many_above", REFUTED, lambda: looks(SMALL, LARGE, above=0)),
    ("radius", "many_above", UNDECIDED, lambda: looks(SMALL, LARGE, above=3 + 3 * MIXED)),
    ("gap", "straight", REFUTED, lambda: by_heart(100, 73)),
    ("gap", "straight", UNDECIDED, lambda: by_heart(100, 50)),
    ("gap", "straight", UNDECIDED, lambda: by_heart(80, 73)),
    ("directions", "negative", CONFIRMED, lambda: least_alphas(-1.0, -1.0)),
    ("directions", "negative", REFUTED, lambda: least_alphas(1.0, 1.0)),
    ("directions", "negative", UNDECIDED, lambda: least_alphas(-1.0, 1.0)),
    ("directions", "unintended", CONFIRMED, lambda: least_alphas(-1.0, -1.0, q=-1.0)),
    ("directions", "unintended", REFUTED, lambda: least_alphas(-1.0, -1.0, q=1.0)),
    ("directions", "unintended", UNDECIDED, lambda: least_alphas(-1.0, -1.0, q=MIXED)),
    ("gradient_products", "near", CONFIRMED, lambda: gradients(0.5)),
    ("gradient_products", "near", REFUTED, lambda: gradients(2.0)),
    ("gradient_products", "near", UNDECIDED, lambda: gradients(2.0**MIXED)),
    # Smaller as they are, larger for logits of deviation 1.
    ("gradient_products", "near", UNDECIDED, lambda: gradients(0.5, logits=0.5)),
    ("gradient_products", "shape", CONFIRMED, lambda: gradients(0.5)),
    ("gradient_products", "shape", REFUTED, lambda: gradients(0.5, far=0.1)),
    ("gradient_products", "shape", UNDECIDED, lambda: gradients(2.0**MIXED)),
    *[
        ("approximation", judge, verdict, lambda of=of, parts=parts: apart(*of[:1], parts, *of[1:]))
        for judge, parts in (("mixing", MIXING), ("attack", ATTACK))
        for verdict, of in (
            (CONFIRMED, (0.05,)),
            (CORRECTED, (0.2,)),
            (REFUTED, (0.4,)),
            (UNDECIDED, (0.25, 0.1)),
        )
    ],
    *[
        ("coefficients", judge, verdict, lambda of=of: masks(*of))
        for judge in ("mixup", "cutmix", "gmix")
        for verdict, of in ((CONFIRMED, (0.5, 0.5)), (CORRECTED, (0.6, 0.5)), (REFUTED, (0.6, 0.6)))
        if (judge, verdict) != ("mixup", CORRECTED)  # its two forms are the same
    ],
    ("coefficients", "stochastic", CONFIRMED, lambda: masks(0.5, 0.5)),
    ("coefficients", "stochastic", CORRECTED, lambda: masks(0.6, 0.5)),
    ("coefficients", "stochastic", REFUTED, lambda: masks(0.6, 0.6)),
    ("coefficients", "intermediate", CONFIRMED, lambda: between(0.3, 0.3)),
    ("coefficients", "intermediate", CORRECTED, lambda: between(0.5, 0.3)),
    ("coefficients", "intermediate", REFUTED, lambda: between(0.5, 0.5)),
    ("coefficients", "mean_is_lambda", CONFIRMED, lambda: masks(0.5, 0.5)),
    ("coefficients", "mean_is_lambda", REFUTED, lambda: masks(0.5, 0.5, mean=0.4)),
    ("first_layer", "identity", CONFIRMED, lambda: layers(0.1)),
    ("first_layer", "identity", REFUTED, lambda: layers(0.1, off=0.1)),
    ("first_layer", "flatness", CONFIRMED, lambda: layers(0.1)),
    ("first_layer", "flatness", CORRECTED, lambda: layers({"Mixup": 0.1})),
    ("first_layer", "flatness", CORRECTED, lambda: layers(0.9, whole=0.1)),
    ("first_layer", "flatness", REFUTED, lambda: layers(0.9)),
    # As many networks on one side of a half as on the other.
    ("first_layer", "flatness", UNDECIDED, lambda: layers(0.5 + MIXED / 10)),
    ("printed", "order", CONFIRMED, lambda: cells({})),
    ("printed", "order", REFUTED, lambda: cells({("Gap", "SAM"): 99.0})),
    ("printed", "best", CONFIRMED, lambda: cells({("Gap", "SAM"): 9.0})),
    ("printed", "best", REFUTED, lambda: cells({("Gap", "SAM"): 99.0})),
    (
        *("printed", "percent", CONFIRMED),
        lambda: cells(AS_TOLD),
    ),
    ("printed", "percent", CORRECTED, lambda: cells(AS_TOLD, only="SVHN")),
    ("printed", "percent", REFUTED, lambda: cells({})),
    ("unbounded", "beneficial", CONFIRMED, lambda: accuracies({CLIPPED: 0.6, AS_IS: 0.1})),
    ("unbounded", "beneficial", UNDECIDED, lambda: accuracies(dict.fromkeys(unbounded.WIDE, 0.3))),
    # Better than no mixing, and not than ordinary lambdas; better, but not beyond the spread of seeds.
    ("unbounded", "beneficial", UNDECIDED, lambda: accuracies(dict.fromkeys(unbounded.WIDE, 0.45))),
    ("unbounded", "beneficial", UNDECIDED, lambda: accuracies({CLIPPED: 0.55 + MIXED / 5})),
    ("attacked", "attacked", CONFIRMED, lambda: under_attack({0.0: -9.0})),
    ("attacked", "attacked", CORRECTED, lambda: under_attack({8.0: -1.0})),
    ("attacked", "attacked", REFUTED, lambda: under_attack({1.0: -1.0, 2.0: -1.0, 4.0: -1.0, 8.0: -1.0})),
    ("attacked", "attacked", UNDECIDED, lambda: under_attack({8.0: MIXED})),
    ("curves", "gaps", CONFIRMED, lambda: trained({"ERM": (1.0, 3.0), "Mixup": (2.0, 2.5)})),
    (
        *("curves", "gaps", CORRECTED),
        lambda: trained({"ERM": (1.0, 3.0), "Mixup": (2.0, 2.5)}, turned="CIFAR-100"),
    ),
    ("curves", "gaps", REFUTED, lambda: trained({"ERM": (1.0, 2.0), "Mixup": (2.0, 4.0)})),
    ("curves", "gaps", UNDECIDED, lambda: trained({"ERM": (1.0, 3.0), "Mixup": (1.0, 3.0 + MIXED)})),
    ("curves", "mixupe", CONFIRMED, lambda: mixupe((2.0, 2.5), (2.2, 2.4))),
    ("curves", "mixupe", REFUTED, lambda: mixupe((2.2, 2.6), (1.9, 2.4))),
    ("curves", "mixupe", UNDECIDED, lambda: mixupe((2.0, 2.5), (1.9, 2.4))),
    ("curves", "mixupe", UNDECIDED, lambda: mixupe((2.0 + MIXED / 10, 2.4), (2.0, 2.5))),
]


# Parameters of a study, where they are not its defaults.
GIVEN: dict[tuple[str, str], dict[str, Any]] = {
    ("curves", "mixupe"): {"methods": list(curves.METHODS)},
    **{
        ("gradient_products", judge): {"methods": ["Vanilla", "Mixup", "CutMix"]}
        for judge in ("near", "shape")
    },
}


@pytest.mark.parametrize(("name", "judge", "verdict", "numbers"), CASES, ids=names(CASES))
def test_the_verdict_follows_from_the_numbers(
    name: str, judge: str, verdict: str, numbers: Callable[[], pd.DataFrame]
) -> None:
    """By hand; see the module."""
    check(name, judge, verdict, numbers, **GIVEN.get((name, judge), {}))


def test_no_judge_is_left_out() -> None:
    """Those that judge what was trained or drawn, and what is printed."""
    assert untried(
        (
            "selection", "radius", "gap", "directions", "gradient_products", "approximation", "coefficients",
            "first_layer", "printed", "unbounded", "attacked", "curves",
        ),
        CASES,
    ) == set()  # fmt: skip
