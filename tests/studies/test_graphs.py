"""The study of graphs: which of its numbers are shown, and what they decide."""

from __future__ import annotations

import numpy as np
import pandas as pd

from mixbench.studies.graphs import METHODS, STUDY, Parameters, by_fold, parts, tries, values
from mixbench.studies.study import REFUTED, UNDECIDED

FOLDS = np.arange(10)
P = Parameters(few=[])


def numbers(best: dict[str, list[float]], last: float = 30.0, name: str = "mutag") -> pd.DataFrame:
    """Numbers of each method whose settings have these means, with the same spread over folds."""
    rows = []
    for method, means in best.items():
        for setting, mean in enumerate(means):
            errors = mean + FOLDS % 2
            rows.append(
                pd.DataFrame(
                    {
                        "set": name,
                        "epoch": "pass",
                        "method": method,
                        "setting": setting,
                        "seed": setting,
                        "alpha": np.nan if method == "ERM" else 0.5 * (1 + setting),
                        "eta": 0.1,
                        "fold": FOLDS,
                        "best": errors,
                        "gin": errors + 5,
                        "last": last + setting + FOLDS % 3,
                    }
                )
            )
    return pd.concat(rows, ignore_index=True)


def test_the_setting_is_that_of_the_rule() -> None:
    """By hand: the best mean over folds, the first one where nothing may be chosen, nothing where there is none."""
    given = numbers({"ERM": [12, 10], "Mixup": [11, 13]})
    errors, words = by_fold(given, "mutag", "pass", "ERM", "best")
    assert (errors.mean(), words) == (10.5, "seed 1")
    assert by_fold(given, "mutag", "pass", "ERM", "best", first=True)[0].mean() == 12.5
    assert by_fold(given, "mutag", "pass", "ERM", "last")[0].mean() == 30.9
    assert by_fold(given, "mutag", "pass", "Mixup", "gin")[1] == "alpha 0.5"
    assert not len(by_fold(given, "ptc", "pass", "Mixup", "best")[0])
    cells = values(given, P).set_index(["row", "column"])["best"]
    assert cells.groupby(level=0).mean().to_dict() == {
        "ERM": 12.5,
        "ERM, best of 2 seeds": 10.5,
        "Mixup": 11.5,
    }


def test_verdicts() -> None:
    """By hand: MixupE clearly above Mixup, on a set that the claim does not except and on PTC; within the spread; and
    an epoch chosen by the test folds that is worth more, or less, than the printed 0.09 points."""
    above = {"ERM": [12.0], "Mixup": [10.0], "MixupE": [11.0]}
    lowest, selection = STUDY.judges["lowest"], STUDY.judges["selection"]
    assert lowest(numbers(above), P).verdict == REFUTED
    assert lowest(numbers(above, name="ptc"), P).verdict == UNDECIDED
    assert lowest(numbers({"ERM": [12], "Mixup": [11], "MixupE": [10]}), P).verdict == UNDECIDED
    assert "no numbers yet" in lowest(numbers(above), P).ours
    only = Parameters(sets=["mutag"], few=[])
    assert selection(numbers(above, last=30), only).verdict == REFUTED
    assert selection(numbers(above, last=30), P).verdict == UNDECIDED  # nothing of PTC yet
    assert selection(numbers(above, last=12), only).verdict == UNDECIDED


def test_all_methods_have_the_same_tries() -> None:
    """By definition: a part has ten folds of every method; a set at full length has all settings, the others one."""
    p = Parameters()
    of = {part: tries(p, part) for part in parts(p)}
    assert len(of) == len(p.sets) * (len(p.alphas) + 1) + len(p.few)
    for candidates in of.values():
        assert {method: len(c) for method, c in candidates.items()} == dict.fromkeys(METHODS, 10)
    found = of["mutag, pass, setting 1"]
    assert {(c.seed, c.alpha, c.eta) for c in found["ERM"]} == {(1, None, 0.0)}
    assert {(c.seed, c.alpha, c.eta) for c in found["MixupE"]} == {(0, p.alphas[1], p.eta)}
