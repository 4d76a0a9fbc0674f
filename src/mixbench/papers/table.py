"""A table's content: ours beside the paper's for every cell, and what the differences amount to."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mixbench.papers.cells import STATES, Planned, on_final_weights
from mixbench.papers.metric import Metric
from mixbench.papers.spec import Published, Table
from mixbench.record.data import mixed
from mixbench.summarize.statistics import (
    Difference,
    Estimate,
    Ordering,
    estimate,
    ordering,
    paired_difference,
    tellable,
)

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Entry:
    """One cell and metric: our values by seed, the paper's number, and the rank of our mean in its column.

    `rank` is 1, 2 or 3 for the three best means, where the metric has a better direction and the seeds are enough to
    tell (statistics.FEWEST_PAIRS), else 0. Means that are printed alike share a rank, and the next one is skipped.
    `unevaluated` counts the finished runs that lack an evaluation which the metric reads.
    """

    values: dict[int, float]
    ours: Estimate
    paper: Published | None
    rank: int
    unevaluated: int = 0

    @property
    def difference(self) -> float:
        """Ours minus the paper's; NaN where either is missing."""
        return self.ours.mean - self.paper.value if self.paper is not None else math.nan


@dataclass(frozen=True)
class Comparison:
    """What one metric of one column says about the methods."""

    column: str
    metric: str
    order: Ordering | None  # None where the seeds are too few to tell
    separated: list[tuple[str, str, Difference]]  # better method, worse method, by how much
    undecided: int  # pairs whose interval includes zero
    too_few: int  # pairs with too few common seeds for an interval


@dataclass(frozen=True)
class Result:
    """A table, ready to be written in any format."""

    spec: Table
    protocol: str
    select: str  # empty for the numbers of a study, which says itself what it selects
    rows: list[str]
    columns: list[str]
    metrics: list[Metric]
    entries: dict[tuple[str, str, str], Entry]  # row, column, metric name
    states: dict[tuple[str, str], dict[str, int]]  # row, column -> how many runs are in which state
    comparisons: list[Comparison]
    changes: list[str]  # what differs from the spec in every cell, in words
    commits: list[str]
    devices: list[str]
    data_notes: list[str]
    on_final_weights: list[str]  # of evaluations: what they are, and what makes those that are missing
    # row, column -> what was chosen by a study for that cell, in words, and for how many of its seeds
    chosen: dict[tuple[str, str], dict[str, int]] = dataclasses.field(default_factory=dict)

    def marked(self, row: str, column: str) -> bool:
        """True where a cell is not what the spec asks for: other settings, or seeds missing."""
        return bool(self.changes) or self.states[row, column].get("finished", 0) < self.spec.seeds


def assemble(
    spec: Table, planned: Sequence[Planned], select: str | None = None, protocol: str | None = None
) -> Result:
    """The content of a table from its runs (`cells.plan`), with the spec's selection rule unless `select` is given."""
    rule = select or spec.select
    rows = list(dict.fromkeys(run.cell.row for run in planned))
    columns = list(dict.fromkeys(run.cell.column for run in planned))
    values = {
        (metric.name, row, column): _values(planned, metric, row, column, rule)
        for metric, row, column in itertools.product(spec.metrics, rows, columns)
    }
    unevaluated = Counter(
        (run.cell.row, run.cell.column, metric.name)
        for run, metric in itertools.product(planned, spec.metrics)
        if run.lacks([metric])
    )
    entries = _entries(spec, rows, columns, values, unevaluated)
    finished = [run.saved for run in planned if run.saved is not None and run.state == "finished"]
    return Result(
        spec=spec,
        protocol=protocol or spec.protocol,
        select=rule,
        rows=rows,
        columns=columns,
        metrics=list(spec.metrics),
        entries=entries,
        states={(r, c): _states(planned, r, c) for r, c in itertools.product(rows, columns)},
        comparisons=_comparisons(spec, rows, columns, entries),
        changes=list(dict.fromkeys(change for run in planned for change in run.changes)),
        commits=sorted({run.commit for run in finished}),
        devices=sorted({run.device for run in finished}),
        data_notes=[
            *sorted({note for run in finished if (note := run.summary.get("data_note"))}),
            *mixed(finished),
        ],
        on_final_weights=on_final_weights(spec.metrics, planned),
    )


def of_numbers(
    spec: Table,
    cells: pd.DataFrame,
    protocol: str,
    rows: Sequence[str] = (),
    columns: Sequence[str] = (),
    changes: Sequence[str] = (),
) -> Result:
    """The content of a table from the numbers of a study: `cells` as `studies.study.Cells.values` gives them.

    `rows` and `columns` keep only those named; `changes` say in words which parameters are not the spec's.
    """
    rows, columns = list(rows or spec.rows), list(columns or spec.columns)
    read: dict[tuple[str, str], dict[int, dict[str, Any]]] = {}
    for number in cells[cells["protocol"] == protocol].to_dict("records"):
        named = {str(name): value for name, value in number.items()}
        read.setdefault((named["row"], named["column"]), {})[int(named["seed"])] = named
    values: dict[tuple[str, str, str], dict[int, float]] = {}
    for metric, row, column in itertools.product(spec.metrics, rows, columns):
        own, reference = (
            {seed: metric.value(number) for seed, number in read.get((name, column), {}).items()}
            for name in (row, metric.reference or row)
        )
        values[metric.name, row, column] = _relative(metric, own, reference)
    entries = _entries(spec, rows, columns, values, {})
    counts = {key: len(read.get(key, {})) for key in itertools.product(rows, columns)}
    return Result(
        spec=spec,
        protocol=protocol,
        select="",
        rows=rows,
        columns=columns,
        metrics=list(spec.metrics),
        entries=entries,
        states={key: {"finished": n} if n else {"missing": spec.seeds} for key, n in counts.items()},
        comparisons=_comparisons(spec, rows, columns, entries),
        changes=list(changes),
        commits=[],
        devices=[],
        data_notes=[],
        on_final_weights=[],
        chosen={
            key: dict(Counter(number["chosen"] for number in seeds.values()))
            for key, seeds in read.items()
            if "chosen" in cells
        },
    )


def _entries(
    spec: Table,
    rows: Sequence[str],
    columns: Sequence[str],
    values: Mapping[tuple[str, str, str], dict[int, float]],
    unevaluated: Mapping[tuple[str, str, str], int],
) -> dict[tuple[str, str, str], Entry]:
    """All entries, from the values by metric, row and column."""
    entries: dict[tuple[str, str, str], Entry] = {}
    for metric, column in itertools.product(spec.metrics, columns):
        means = {row: estimate(list(values[metric.name, row, column].values())) for row in rows}
        of_column = {row: values[metric.name, row, column] for row in rows}
        ranks = (
            _ranks({row: e.mean for row, e in means.items()}, metric) if tellable(of_column.values()) else {}
        )
        for row in rows:
            entries[row, column, metric.name] = Entry(
                values[metric.name, row, column],
                means[row],
                spec.published(row, column, metric.name),
                ranks.get(row, 0),
                unevaluated.get((row, column, metric.name), 0),
            )
    return entries


def _comparisons(
    spec: Table,
    rows: Sequence[str],
    columns: Sequence[str],
    entries: Mapping[tuple[str, str, str], Entry],
) -> list[Comparison]:
    return [
        _compare(metric, column, rows, entries)
        for metric, column in itertools.product(spec.metrics, columns)
        if metric.better is not None
    ]


def _values(
    planned: Sequence[Planned], metric: Metric, row: str, column: str, select: str
) -> dict[int, float]:
    """Our values by seed, relative to the reference row's run of the same seed where the metric has one."""

    def plain(name: str) -> dict[int, float]:
        runs = [r for r in planned if (r.cell.row, r.cell.column) == (name, column) and r.state == "finished"]
        return {run.cell.seed: metric.value(run.record(select)) for run in runs}

    return _relative(metric, plain(row), plain(metric.reference) if metric.reference else {})


def _relative(metric: Metric, own: dict[int, float], reference: Mapping[int, float]) -> dict[int, float]:
    if metric.reference is None:
        return own
    return {seed: metric.against(value, reference.get(seed, math.nan)) for seed, value in own.items()}


def _ranks(means: dict[str, float], metric: Metric) -> dict[str, int]:
    if metric.better is None:
        return {}
    sign = -1 if metric.better == "higher" else 1
    shown = {row: round(sign * mean, metric.digits) for row, mean in means.items() if math.isfinite(mean)}
    places = {row: 1 + sum(other < own for other in shown.values()) for row, own in shown.items()}
    return {row: place for row, place in places.items() if place <= 3}


def _states(planned: Sequence[Planned], row: str, column: str) -> dict[str, int]:
    states = [run.state for run in planned if (run.cell.row, run.cell.column) == (row, column)]
    return {state: states.count(state) for state in STATES if state in states}


def _compare(
    metric: Metric, column: str, rows: Sequence[str], entries: Mapping[tuple[str, str, str], Entry]
) -> Comparison:
    of = {row: entries[row, column, metric.name] for row in rows}
    paper = {row: entry.paper.value for row, entry in of.items() if entry.paper is not None}
    enough = tellable(entry.values for entry in of.values())
    order = ordering({row: entry.ours.mean for row, entry in of.items()}, paper) if enough else None
    separated, undecided, too_few = [], 0, 0
    for a, b in itertools.combinations(rows, 2):
        difference = paired_difference(of[a].values, of[b].values)
        if math.isnan(difference.low):
            too_few += difference.n > 0
        elif not difference.separated:
            undecided += 1
        elif (difference.mean > 0) == (metric.better == "higher"):
            separated.append((a, b, difference))
        else:
            separated.append((b, a, paired_difference(of[b].values, of[a].values)))
    return Comparison(column, metric.name, order, separated, undecided, too_few)
