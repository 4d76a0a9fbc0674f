"""The study of tables, on numbers that were made for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from mixbench.config.compose import compose
from mixbench.studies import tabular
from mixbench.studies.study import CONFIRMED, REFUTED, UNDECIDED
from mixbench.training.unrecorded import epochs

NAN = float("nan")


def numbers(best: int, sets: int = 15, seeds: int = 3) -> pd.DataFrame:
    """MixupE is a point better than both others on the first `best` sets, a point worse on the others."""
    rows = []
    for split in tabular.Parameters().splits:
        for i, name in enumerate(list(tabular.SETS)[:sets]):
            for seed in range(seeds):
                extra = 79 + 2 * (i < best) + 0.1 * seed
                for method, alpha, eta, test in (
                    ("ERM", NAN, NAN, 80),
                    ("Mixup", 0.1, NAN, 80),
                    ("Mixup", 0.2, NAN, 99),
                    ("MixupE", 0.1, 0.1, extra),
                    ("MixupE", 0.1, 1.0, 99),
                ):
                    val = 70 if test == 99 else 75 + seed
                    cell = {"seed": seed, "method": method, "alpha": alpha, "eta": eta}
                    rows.append({"part": f"{name} {split}", **cell, "val_acc": val, "test_acc": test})
    return pd.DataFrame(rows)


def test_the_test_rows_do_not_choose() -> None:
    """Higher test accuracy at a lower validation accuracy is not taken; of the chosen pair all seeds are."""
    found = tabular.chosen(numbers(3))
    assert set(found["error"][found["method"] != "MixupE"]) == {20}
    assert set(found["chosen"]) == {"", "alpha 0.1", "alpha 0.1, eta 0.1"}
    assert len(found) == 2 * 15 * 3 * 3


@pytest.mark.parametrize(
    ("best", "sets", "verdict"),
    [
        (9, 15, CONFIRMED),
        (8, 15, REFUTED),
        (9, 11, CONFIRMED),
        (5, 11, UNDECIDED),
        (4, 11, REFUTED),
        (0, 5, UNDECIDED),
    ],
)
def test_nine_of_fifteen(best: int, sets: int, verdict: str) -> None:
    """Sets that are missing count for neither side."""
    judgement = tabular.best_of(numbers(best, sets), tabular.Parameters())
    assert judgement.verdict == verdict
    assert f"60/20/20: the lowest mean error on {best} of {sets} sets" in judgement.ours
    assert ("Mnist_784 at 60/20/20" in judgement.remark) == (sets < 15)


def test_the_interval_is_that_of_a_paired_t_test() -> None:
    """Against scipy's t test of the differences: the interval's end at zero is p = 0.05."""
    generator = np.random.default_rng(0)
    index = pd.MultiIndex.from_product([["a"], range(5)], names=["table", "seed"])
    of = pd.DataFrame(generator.normal(size=(5, 2)), index, ["Mixup", "MixupE"])
    found = tabular.to_mixup(of, "MixupE").loc["a"]
    expected = stats.ttest_rel(of["MixupE"], of["Mixup"]).confidence_interval(0.95)
    assert (found["low"], found["high"]) == pytest.approx((expected.low, expected.high))


def test_a_part_has_the_numbers_of_the_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one ERM, one Mixup and one MixupE network: validation and test accuracy by the ordinary loop."""
    monkeypatch.setenv("MIXBENCH_DATA", str(tmp_path))
    parameters = tabular.Parameters(alphas=[0.5], etas=[0.1], seeds=2, epochs=3)
    found = tabular.compute(parameters, "Iris 80/10/10")
    mixup = ["augment=mixup", "augment.alpha=0.5"]
    extra = ["regularizer=mixupe", "regularizer.alpha=0.5", "regularizer.eta=0.1"]
    for method, changes in (("ERM", []), ("Mixup", mixup), ("MixupE", mixup + extra)):
        config = compose(
            [
                *("dataset=iris", "dataset.split=80/10/10", "model=mlp", "opt=adam", "schedule=constant"),
                *("batch_size=100", "drop_last=false", "epochs=3", "seed=1", *changes),
            ]
        )
        *_, (_, row) = epochs(config)
        (ours,) = found[(found["method"] == method) & (found["seed"] == 1)].to_dict("records")
        assert (ours["val_acc"], ours["test_acc"]) == pytest.approx((row["val_acc"], row["test_acc"]))


def test_the_parts_are_all_sets_in_both_splits() -> None:
    assert len(tabular.parts(tabular.Parameters())) == 30
    assert tabular.column("Mfeat-factors 80/10/10") == "Mfeat-factors"
