"""Numbers of studies by hand, and what is asked of a judge that is given them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from mixbench.studies.study import CONFIRMED, CORRECTED, REFUTED, study

# A study, one of its judges, the verdict, and the numbers that lead to it.
Case = tuple[str, str, str, Callable[[], pd.DataFrame]]
FORMS = (
    (1, 1, CONFIRMED),
    (0, 1, CORRECTED),
    (0, 0, REFUTED),
)  # right as printed, corrected, and what follows
NOISE = np.linspace(-0.01, 0.01, 8)  # over networks or samples


def by_case(values: Mapping[tuple[str, str], Any]) -> pd.DataFrame:
    """Rows of part, case, quantity and value; a single number stands for eight cases."""
    return pd.DataFrame(
        [
            {"part": part, "case": case, "quantity": quantity, "value": value}
            for (part, quantity), given in values.items()
            for case, value in enumerate(np.broadcast_to(given, 8))
        ]
    )


def by_setting(values: Mapping[tuple[str, str, str], Any]) -> pd.DataFrame:
    """Rows of part, setting, sample, quantity and value, for eight samples."""
    return pd.DataFrame(
        [
            {"part": part, "setting": setting, "sample": sample, "quantity": quantity, "value": value}
            for (part, setting, quantity), given in values.items()
            for sample, value in enumerate(np.broadcast_to(given, 8))
        ]
    )


def names(cases: list[Case]) -> list[str]:
    """What a case is called in pytest's output."""
    return [f"{name} {judge} {verdict}" for name, judge, verdict, _ in cases]


def check(
    name: str, judge: str, verdict: str, numbers: Callable[[], pd.DataFrame], **parameters: Any
) -> None:
    """The verdict is this one; a correction is said, and of what is undecided what it would take. `parameters` of the
    study are those that are not its defaults.
    """
    of = study(name)
    found = of.judges[judge](numbers(), of.parameters(**parameters))
    assert found.verdict == verdict
    assert found.remark or verdict in (CONFIRMED, REFUTED)


def untried(studies: tuple[str, ...], *tried: list[Case]) -> set[tuple[str, str]]:
    """The judges of these studies that no case is of."""
    return {(name, judge) for name in studies for judge in study(name).judges} - {
        (name, judge) for cases in tried for name, judge, _, _ in cases
    }
