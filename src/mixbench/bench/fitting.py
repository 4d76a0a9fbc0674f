"""The cells of a table that fit into the time that is left, by the rates that a benchmark has measured."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from mixbench.bench.estimate import seconds_at
from mixbench.papers.cells import Planned
from mixbench.record.standing import epochs_left

PLAIN = "ERM"  # the method of `mixbench bench` that takes one pass
OTHER_NAMES = {"Vanilla": PLAIN}  # of a table's rows in `mixbench bench`
START = 15.0  # seconds until the first step: torch, the data, the graph


class Cell(NamedTuple):
    """A run of a table: its row, its seed, and the seconds that it has to train yet."""

    row: str
    seed: int
    seconds: float


def rates(path: Path) -> dict[str, float]:
    """Images per second by method, from the methods.csv that `mixbench bench` has written; empty without one."""
    if not path.exists():
        return {}
    with path.open(encoding="utf-8", newline="") as file:
        return {line["name"]: float(line["images_per_second"]) for line in csv.DictReader(file)}


def cells(runs: Sequence[Planned], rate: Mapping[str, float]) -> list[Cell]:
    """The unfinished runs, each with the time that it takes alone at the rates of `mixbench bench`; rows that have none
    are left out. (What finished runs took says nothing: they may have shared the device.)
    """
    waiting = []
    for run in runs:
        method = OTHER_NAMES.get(run.cell.row, run.cell.row)
        if run.config is None or run.saved is None or run.state == "finished" or method not in rate:
            continue
        left = epochs_left(run.saved, run.config.epochs)
        seconds = START + seconds_at(run.config, left, rate[method], rate[PLAIN])
        waiting.append(Cell(run.cell.row, run.cell.seed, seconds))
    return waiting


def fitting(waiting: Iterable[Cell], seconds: float) -> list[Cell]:
    """Of the first seed as many cells as fit into so many seconds, in what is left as many of the second, and so on;
    the shortest first.
    """
    chosen = []
    for cell in sorted(waiting, key=lambda cell: (cell.seed, cell.seconds)):
        if cell.seconds <= seconds:
            chosen.append(cell)
            seconds -= cell.seconds
    return chosen
