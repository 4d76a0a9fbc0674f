"""`mixbench table KEY` for a table that a study's numbers fill: its parts are computed, not runs trained."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from mixbench.errors import ConfigError
from mixbench.papers.library import file_of, kind_of, names
from mixbench.schema.knob import nearest
from mixbench.studies.library import Spec, load
from mixbench.studies.store import computed, missing, place, stored

if TYPE_CHECKING:
    from mixbench.papers.table import Result

OF_RUNS = ("seeds", "budget", "epochs", "jobs", "launcher", "select")


def tables() -> list[str]:
    """The keys of all tables, in the papers' order: those of runs, and those that a study fills."""
    keys = names(("table", "study"))
    return [key for key in keys if kind_of(file_of(key)) == "table" or load(key).table is not None]


def planned(arguments: argparse.Namespace) -> Spec:
    """The study that the command line asks for. Raises ConfigError, also for options that only runs have."""
    spec = load(arguments.key, arguments.set)
    if spec.table is None:
        raise ConfigError(f"{spec.key}: is a figure; use mixbench figure {spec.key}.")
    for name in OF_RUNS:
        if getattr(arguments, name) is not None:
            raise ConfigError(
                f"--{name}: {spec.key} comes from a study, not from runs; --set NAME=VALUE changes one of its"
                f" parameters: {', '.join(vars(spec.parameters))}."
            )
    _known("--protocol", [arguments.protocol] if arguments.protocol else [], spec.table.protocols)
    _known("--rows", arguments.rows, spec.table.rows)
    _known("--cols", arguments.cols, spec.table.columns)
    return spec


def listed(spec: Spec, arguments: argparse.Namespace) -> str:
    """Every part with its state."""
    folder = _folder(arguments)
    waiting = [part for part in missing(folder, spec) if _asked(spec, arguments, part)]
    parts = [part for part in spec.study.parts(spec.parameters) if _asked(spec, arguments, part)]
    lines = [f"{spec.key}: {spec.title}"]
    lines += [f"{'missing' if part in waiting else 'computed':9} {part}" for part in parts]
    lines.append(
        f"{len(parts)} parts in {place(folder, spec)}: {len(parts) - len(waiting)} computed, {len(waiting)} missing"
    )
    return "\n".join(lines)


def filled(spec: Spec, arguments: argparse.Namespace) -> tuple[Result, int]:
    """The table, and the exit status: 1 where --run leaves a part missing. Raises OutputError, DataError."""
    import pandas as pd

    from mixbench.papers.table import of_numbers

    table, cells = spec.table, spec.study.table
    assert table is not None
    assert cells is not None
    folder, status = _folder(arguments), 0
    if arguments.run:
        computed(folder, spec, only=lambda part: _asked(spec, arguments, part))
        status = 1 if any(_asked(spec, arguments, part) for part in missing(folder, spec)) else 0
    numbers = stored(folder, spec)
    nothing = pd.DataFrame({"protocol": [], "row": [], "column": [], "seed": []})
    values = nothing if numbers is None else cells.values(numbers, spec.parameters)
    protocol = arguments.protocol or table.protocol
    return of_numbers(table, values, protocol, arguments.rows, arguments.cols, spec.changes), status


def _folder(arguments: argparse.Namespace) -> Path:
    return Path(arguments.output_dir or "outputs")


def _asked(spec: Spec, arguments: argparse.Namespace, part: str) -> bool:
    assert spec.study.table is not None
    return not arguments.cols or spec.study.table.column(part) in arguments.cols


def _known(option: str, given: Iterable[str], known: Iterable[str]) -> None:
    names = list(known)
    for name in given:
        if name not in names:
            raise ConfigError(
                f"{option} {name}: not in this table.{nearest(name, names)}\nKnown: {', '.join(names)}."
            )
