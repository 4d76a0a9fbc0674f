"""A published table or figure as data: the runs it needs, what is read from them, and what the paper prints.

No text is evaluated. Imports no torch.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from mixbench.config.overrides import canonical
from mixbench.errors import ConfigError
from mixbench.papers.metric import Metric
from mixbench.schema.knob import nearest

MOST_SEEDS = 1000  # of each cell, all of which are composed and looked up before the first one is shown


@dataclass(frozen=True)
class Protocol:
    """A named variant: further overrides, for all cells (`base`), for single columns and for single rows."""

    about: str = ""
    base: tuple[str, ...] = ()
    columns: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    rows: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True)
class CellNote:
    """What is to be said beside one cell, such as the paper's own inconsistencies."""

    row: str
    column: str
    note: str


@dataclass(frozen=True)
class Cell:
    """One run of a table or figure. `x` is the value of a figure's swept knob, None where there is none."""

    row: str
    column: str
    seed: int
    overrides: tuple[str, ...]
    x: float | None = None


class Published(NamedTuple):
    """A number as the paper prints it, and its standard deviation where one is given."""

    value: float
    std: float | None = None


@dataclass(frozen=True)
class Sweep:
    """The horizontal axis of a figure that varies a knob."""

    knob: str
    values: tuple[float, ...]
    label: str = ""
    log: bool = False  # logarithmic axis
    flat: tuple[str, ...] = ()  # rows without the knob: one run for all x, a line across the panel


@dataclass(frozen=True, kw_only=True)
class Spec:
    """What tables and figures share. `base`, `rows` and `columns` hold Hydra overrides."""

    key: str  # such as li2023/table1, or the path of a user's file
    title: str
    source: str
    metrics: tuple[Metric, ...]
    rows: Mapping[str, tuple[str, ...]]  # the methods; in a figure its lines
    columns: Mapping[str, tuple[str, ...]]  # data set and model; in a figure its panels
    base: tuple[str, ...] = ()
    seeds: int = 3
    select: str = "best_test"  # the rule that picks the epoch: last, best_test or best_val
    protocols: Mapping[str, Protocol] = dataclasses.field(default_factory=lambda: {"paper": Protocol()})
    protocol: str = "paper"  # the default one
    printed: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # what the paper prints: see below
    cell_notes: tuple[CellNote, ...] = ()
    notes: tuple[str, ...] = ()  # what the paper leaves open, and what was chosen
    needs: str | None = None  # what the cells wait for; they are listed but cannot run

    def metric(self, name: str) -> Metric:
        """The metric called `name`; KeyError where there is none."""
        return {m.name: m for m in self.metrics}[name]

    def notes_on(self, row: str, column: str) -> list[str]:
        """The notes on one cell."""
        return [n.note for n in self.cell_notes if (n.row, n.column) == (row, column)]

    def cells(
        self, protocol: str | None = None, seeds: int | None = None, extra: Sequence[str] = ()
    ) -> Iterator[Cell]:
        """All runs, row by row, with seeds 0 to `seeds` - 1 innermost.

        Of several overrides of one key the last counts, in the order base, column, row, protocol, `extra`, swept
        knob, seed. Raises ConfigError for an unknown protocol.
        """
        name = protocol or self.protocol
        if name not in self.protocols:
            known = list(self.protocols)
            raise ConfigError(
                f"{self.key}: no protocol '{name}'.{nearest(name, known)}\nKnown: {', '.join(known)}."
            )
        variant = self.protocols[name]
        for row, column in itertools.product(self.rows, self.columns):
            shared = [*self.base, *self.columns[column], *self.rows[row]]
            shared += [*variant.base, *variant.columns.get(column, ()), *variant.rows.get(row, ()), *extra]
            for x, point in self._points(row):
                for seed in range(self.seeds if seeds is None else seeds):
                    yield Cell(row, column, seed, _last_of_each([*shared, *point, f"seed={seed}"]), x)

    def _points(self, row: str) -> list[tuple[float | None, list[str]]]:
        return [(None, [])]


@dataclass(frozen=True, kw_only=True)
class Table(Spec):
    """A table. `printed[block][row]` holds a Published or None for each column."""

    def published(self, row: str, column: str, metric: str) -> Published | None:
        """What the paper prints in a cell, or None.

        A ratio or difference to another row follows from the two printed numbers, as ours does from two of ours.
        """
        wanted = self.metric(metric)
        own = self._entry(row, column, wanted)
        if own is None or wanted.reference is None:
            return own
        other = self._entry(wanted.reference, column, wanted)
        return None if other is None else Published(wanted.against(own.value, other.value))

    def _entry(self, row: str, column: str, metric: Metric) -> Published | None:
        entries = self.printed.get(metric.block, {}).get(row)
        return entries[list(self.columns).index(column)] if entries else None


@dataclass(frozen=True, kw_only=True)
class Figure(Spec):
    """A figure: metrics against the epoch (x=None) or a swept knob. `printed[block][row][column]` holds points."""

    x: Sweep | None = None

    def published(self, row: str, column: str, metric: str) -> tuple[tuple[float, float], ...]:
        """The points (x, y) of a line that the paper gives as numbers."""
        return self.printed.get(self.metric(metric).block, {}).get(row, {}).get(column, ())

    def _points(self, row: str) -> list[tuple[float | None, list[str]]]:
        if self.x is None or row in self.x.flat:
            return super()._points(row)
        return [(x, [f"{self.x.knob}={x:g}"]) for x in self.x.values]


def _last_of_each(overrides: Sequence[str]) -> tuple[str, ...]:
    return tuple({o.partition("=")[0]: o for o in canonical(overrides)}.values())
