"""One evaluation of several runs: a table over seeds, differences of the same seeds, and every number as CSV."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from mixbench.analysis.stored import Evaluation
from mixbench.record.run import is_number
from mixbench.summarize.settings import Run, Setting, settings
from mixbench.summarize.sheet import Sheet
from mixbench.summarize.statistics import FEWEST_PAIRS, Estimate, estimate, paired_difference

PLAIN = "erm"  # the method that the others are compared with, where it is among them


@dataclass(frozen=True)
class Group:
    """A setting, and by seed (and fold) the result of the evaluation for each of its runs."""

    setting: Setting
    results: dict[Any, dict[str, Any]]

    @property
    def label(self) -> str:
        """What tells the setting from the others of its place, with the method as people say it."""
        return self.setting.said()

    def values(self, key: str) -> dict[Any, float]:
        """A number of the result, by seed."""
        return {seed: float(r[key]) for seed, r in self.results.items() if is_number(r.get(key))}


def grouped(found: Sequence[tuple[Run, Evaluation]]) -> dict[str, list[Group]]:
    """The evaluations by the title of their place and by setting; the plain method first, if it is there."""
    result = {run.directory: evaluation["result"] for run, evaluation in found}
    places = {}
    for title, each in settings(run for run, _ in found).items():
        groups = [Group(s, {run.repetition: result[run.directory] for run in s.runs}) for s in each]
        places[title] = sorted(groups, key=lambda group: group.setting.method != PLAIN)
    return places


def numbers(places: dict[str, list[Group]]) -> pd.DataFrame:
    """Every number of every run: place, setting, seed (seed/fold of a fold), number, value."""
    return pd.DataFrame(
        [
            (title, group.setting.label, seed, key, float(value))
            for title, groups in places.items()
            for group in groups
            for seed, result in group.results.items()
            for key, value in result.items()
            if is_number(value)
        ],
        columns=["place", "setting", "seed", "number", "value"],
    )


def keys(groups: Sequence[Group]) -> list[str]:
    """The numbers that the results have, in their order, but for that of the examples."""
    found = dict[str, None]()
    for group in groups:
        for result in group.results.values():
            found |= dict.fromkeys(key for key, value in result.items() if is_number(value) and key != "n")
    return list(found)


def sheets(title: str, groups: Sequence[Group], command: str) -> list[Sheet]:
    """Means and deviations of one place, and where there are several settings their differences from the first one."""
    head = ["", *(group.label for group in groups)]
    rows = [[key, *(_text(estimate([*g.values(key).values()])) for g in groups)] for key in keys(groups)]
    counts = ", ".join(f"{group.label} {len(group.results)}" for group in groups)
    whole = Sheet(title, f"mean and standard deviation over seeds; runs: {counts}", command, head, rows)
    if len(groups) < 2:
        return [whole]
    first, *others = groups
    differences = [
        [key, *(_difference(group.values(key), first.values(key)) for group in others)]
        for key in keys(groups)
    ]
    words = (
        f"the same numbers less those of {first.label}, of the same seeds: mean and standard deviation of the"
        f" differences; * where the 95 % interval of the mean leaves out 0, which takes {FEWEST_PAIRS} seeds"
    )
    head = ["", *(group.label for group in others)]
    return [whole, Sheet(f"{title}: differences", words, command, head, differences)]


def _difference(mine: dict[Any, float], other: dict[Any, float]) -> str:
    each = estimate([mine[seed] - other[seed] for seed in mine.keys() & other.keys()])
    return _text(each, sign="+") + ("*" if paired_difference(mine, other).separated else "")


def _text(found: Estimate, sign: str = "") -> str:
    if not found.n:
        return "-"
    # Two significant digits of the deviation, at most those that the mean has.
    scale = found.std if found.std > 1e-9 * abs(found.mean) else abs(found.mean) / 100
    digits = max(0, min(6, 1 - math.floor(math.log10(scale)))) if scale > 0 and math.isfinite(scale) else 2
    spread = "" if math.isnan(found.std) else f" ± {found.std:.{digits}f}"
    return f"{found.mean:{sign}.{digits}f}{spread}"
