"""The runs behind a table or figure: which configs they are, where they lie, how far they have come."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mixbench.analysis.stored import numbers
from mixbench.config.compose import compose
from mixbench.config.identity import flat, run_dir, run_id
from mixbench.errors import ConfigError
from mixbench.inventory import looking_once
from mixbench.papers.metric import Metric
from mixbench.papers.spec import MOST_SEEDS, Cell, Spec
from mixbench.record.read import Row
from mixbench.record.run import COST, SavedRun, is_number
from mixbench.record.standing import Pace, epochs_left, standing
from mixbench.schema.model import label
from mixbench.schema.train import Train

STATES = ("finished", "running", "partial", "failed", "missing", "unreadable", "unavailable")


@dataclass(frozen=True)
class Planned:
    """One run of a table: its cell, its config, and what there is of it.

    `config` is None where the spec needs what mixbench does not have yet, `saved` there and where there is no run.
    `changes` says what was asked for differently from the spec, such as "epochs 4, not 200".
    """

    cell: Cell
    config: Train | None
    saved: SavedRun | None
    changes: tuple[str, ...] = ()

    @property
    def state(self) -> str:
        """One of STATES: how the run stands, or unavailable where it has no config."""
        if self.config is None:
            return "unavailable"
        return "missing" if self.saved is None else standing(self.saved)

    @property
    def directory(self) -> Path:
        """Where the run lies, or would."""
        if self.saved is not None:
            return self.saved.directory
        if self.config is None:
            raise ValueError("an unavailable cell has no run")
        return run_dir(self.config)

    @property
    def rows(self) -> list[Row]:
        """One row for each epoch that is done. Raises DataError for an epochs.csv that cannot be trusted."""
        return [] if self.saved is None else self.saved.rows

    def record(self, select: str) -> dict[str, Any]:
        """The columns that metrics read: the selected epoch's, the whole run's times, what was measured on its final
        weights; none of an unfinished run.
        """
        if self.saved is None or self.saved.state != "finished":
            return {}
        chosen = self.saved.selections.get(select)
        if chosen is None:
            raise ConfigError(
                f"--select {select}: run {self.directory} has no such epoch;"
                " best_val needs a validation set: --set dataset.val_size=N."
            )
        epoch = {key: value for key, value in chosen.items() if is_number(value)}
        return epoch | {key: self.saved.metric(key) for key in COST} | self._evaluated

    @functools.cached_property
    def _evaluated(self) -> dict[str, float]:
        return {} if self.saved is None else numbers(self.saved)

    def lacks(self, metrics: Iterable[Metric]) -> list[str]:
        """The evaluations that these metrics read, and a finished run does not have."""
        if self.state != "finished":
            return []
        columns = (column for metric in metrics for column in metric.evaluated_columns)
        return _evaluations(column for column in columns if column not in self._evaluated)


def plan(
    spec: Spec,
    *,
    protocol: str | None = None,
    seeds: int | None = None,
    budget: float | None = None,
    epochs: int | None = None,
    extra: Sequence[str] = (),
    rows: Sequence[str] = (),
    columns: Sequence[str] = (),
) -> list[Planned]:
    """All runs of a table or figure, in its order; `rows` and `columns` keep only those named.

    `budget` multiplies the number of epochs (at least one is left), `epochs` replaces it, `extra` are further Hydra
    overrides of every cell. Raises ConfigError for what does not compose.
    """
    for given, known, option in ((rows, spec.rows, "--rows"), (columns, spec.columns, "--cols")):
        for name in given:
            if name not in known:
                raise ConfigError(f"{option} {name}: not in {spec.key}. Allowed: {', '.join(known)}.")
    if seeds is not None and not 1 <= seeds <= MOST_SEEDS:
        raise ConfigError(f"--seeds {seeds}: must be >= 1 and <= {MOST_SEEDS}.")
    if budget is not None and not 0 < budget <= 1:
        raise ConfigError(f"--budget {budget:g}: must be > 0 and <= 1.")
    if epochs is not None and epochs < 1:
        raise ConfigError(f"--epochs {epochs}: must be >= 1.")
    asked = list(spec.cells(protocol, seeds, extra))
    as_specified = spec.cells(protocol, seeds)
    planned = []
    changes: dict[tuple[str, str, float | None], tuple[str, ...]] = {}  # the same for all seeds
    with looking_once():
        for cell, plain in zip(asked, as_specified, strict=True):
            if (rows and cell.row not in rows) or (columns and cell.column not in columns):
                continue
            if spec.needs:
                planned.append(Planned(cell, None, None))
                continue
            config = compose(cell.overrides)
            config.epochs = epochs or max(1, round(config.epochs * (budget or 1)))
            place = cell.row, cell.column, cell.x
            if place not in changes:
                changes[place] = _changes(config, compose(plain.overrides))
            planned.append(Planned(cell, config, SavedRun(run_dir(config)), changes[place]))
    return planned


def on_final_weights(metrics: Sequence[Metric], planned: Sequence[Planned]) -> list[str]:
    """What to say under a table or figure of its evaluations, and of the runs that lack them; mostly nothing."""
    names = _evaluations(column for metric in metrics for column in metric.evaluated_columns)
    lines = [f"Measured on the final weights, whatever the epoch: {', '.join(names)}."] if names else []
    lacking = {run.directory: names for run in planned if (names := run.lacks(metrics))}
    if lacking:
        only = ",".join(dict.fromkeys(name for names in lacking.values() for name in names))
        command = f"mixbench eval {os.path.commonpath(lacking)} --only {only}"
        lines.append(f"Not evaluated: {len(lacking)} run{'s' * (len(lacking) > 1)}; {command} does it.")
    return lines


def _evaluations(columns: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(column.partition("/")[0] for column in columns))


def _changes(config: Train, reference: Train) -> tuple[str, ...]:
    """What decides the result and is not as in the spec, in words."""
    if run_id(config) == run_id(reference):
        return ()
    ours, theirs = flat(config, all_keys=False), flat(reference, all_keys=False)
    keys = [key for key in ours if key in theirs and ours[key] != theirs[key]]
    return tuple(f"{key} {_word(ours[key])}, not {_word(theirs[key])}" for key in keys)


def trained_as(column: str, planned: Sequence[Planned]) -> str:
    """The name of a column; where other data or another model were asked for, what was trained in its place."""
    changed = {change.split()[0] for run in planned for change in run.changes}
    config = next((run.config for run in planned if run.config is not None), None)
    if config is None:
        return column
    size = config.dataset.train_size if "dataset.train_size" in changed else None
    # The other sizes say what is measured, not what is trained.
    others = [k for k in changed if re.match(r"model|dataset(?!\.(train|test|val)_size)", k)]
    name = f"{config.dataset.label()}, {label(config.model)}" if others else column
    if size is not None:
        name += f", {size:,} training images"
    return name + (f"\n(in place of {column})" if others else "")


def _word(value: Any) -> str:
    return "all" if value is None else str(value)


def overrides(planned: Planned) -> list[str]:
    """The command line of a run: its cell's overrides and the number of epochs that was asked for."""
    if planned.config is None:
        raise ValueError("an unavailable cell has no command line")
    others = [o for o in planned.cell.overrides if not o.startswith("epochs=")]
    return [*others, f"epochs={planned.config.epochs}"]


def seconds_left(runs: Iterable[Planned]) -> float:
    """Estimate of the time that unfinished runs take one after another, in seconds; NaN where nothing says."""
    pace = Pace()
    known = [(run.saved, run.config) for run in runs if run.saved is not None and run.config is not None]
    for run, config in known:
        if run.state == "finished":
            pace.learn(flat(config), run.summary)
    return sum(pace.seconds(config, epochs_left(run, config.epochs)) for run, config in known)
