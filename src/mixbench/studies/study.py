"""What a study is, and how a claim is judged. Imports no torch."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mixbench.errors import ConfigError
from mixbench.schema.knob import nearest

if TYPE_CHECKING:
    import pandas as pd

    from mixbench.summarize.plots import Plot

CONFIRMED, REFUTED = "confirmed", "refuted"
CORRECTED, UNDECIDED = "holds with a correction", "undecided"
VERDICTS = (CONFIRMED, CORRECTED, REFUTED, UNDECIDED)


@dataclass(frozen=True)
class Judgement:
    """One of VERDICTS, our numbers with their spread in words, and what is to be said besides.

    `remark` holds the correction where there is one, and what it would take where nothing is decided.
    """

    verdict: str
    ours: str
    remark: str = ""


@dataclass(frozen=True)
class Cells:
    """How a study's numbers fill a published table.

    `values` gives a row for each cell and seed: `protocol`, `row`, `column`, `seed` (a whole number), a column for each
    metric by its name in the spec and, where something was chosen for that cell and seed, `chosen` in words. `column`
    is that of the table which a part of the study belongs to.
    """

    values: Callable[[pd.DataFrame, Any], pd.DataFrame]
    column: Callable[[str], str]


@dataclass(frozen=True)
class Study:
    """An experiment in parts, of which each can be computed alone, so that what was stopped goes on.

    `parameters` is a dataclass of knobs. `parts` names the parts that they ask for; `compute` gives the numbers of
    one, with the same columns for all; `draw` gives the plots of all numbers; `judges` the claims that the numbers
    decide, by name. `table` is there where a published table shows them. With `partial` they mean something before all
    parts are there: one whose data are not at hand does not keep the others from being computed, shown and judged.
    """

    about: str
    parameters: type
    parts: Callable[[Any], Sequence[str]]
    compute: Callable[[Any, str], pd.DataFrame]
    draw: Callable[[pd.DataFrame, Any], Sequence[Plot]]
    judges: Mapping[str, Callable[[pd.DataFrame, Any], Judgement]]
    table: Cells | None = None
    partial: bool = False


# The module of each study. It has a Study by the name STUDY, and imports what computes only to compute.
STUDIES = {
    "radius": "mixbench.studies.radius",
    "smoothing": "mixbench.studies.smoothing",
    "complexity": "mixbench.studies.complexity",
    "approximation": "mixbench.studies.approximation",
    "coefficients": "mixbench.studies.coefficients",
    "selection": "mixbench.studies.selection",
    "lipschitz": "mixbench.studies.lipschitz",
    "gap": "mixbench.studies.gap",
    "printed": "mixbench.studies.printed",
    "directions": "mixbench.studies.directions",
    "orders": "mixbench.studies.orders",
    "upper_bound": "mixbench.studies.upper_bound",
    "capacity": "mixbench.studies.capacity",
    "first_layer": "mixbench.studies.first_layer",
    "construction": "mixbench.studies.construction",
    "expansion": "mixbench.studies.expansion",
    "gradient_products": "mixbench.studies.gradient_products",
    "attacked": "mixbench.studies.attacked",
    "curves": "mixbench.studies.curves",
    "unbounded": "mixbench.studies.unbounded",
    "protection": "mixbench.studies.protection",
    "generalization": "mixbench.studies.generalization",
    "graphs": "mixbench.studies.graphs",
    "tabular": "mixbench.studies.tabular",
}


def study(name: str) -> Study:
    """The study called `name`. Raises ConfigError where there is none."""
    if name not in STUDIES:
        raise ConfigError(f"study: no '{name}'.{nearest(name, list(STUDIES))}\nKnown: {', '.join(STUDIES)}.")
    found: Study = importlib.import_module(STUDIES[name]).STUDY
    return found
