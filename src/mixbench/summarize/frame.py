"""All runs below a folder as one pandas frame, one row per run: what tables, figures and people start from."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from mixbench.errors import ConfigError
from mixbench.record.read import directories, without_collections
from mixbench.record.run import COST, SavedRun
from mixbench.schema.knob import nearest
from mixbench.schema.train import GROUPS, own_knobs
from mixbench.summarize.settings import CHECKSUM_SHOWN, is_checksum

OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "!=": operator.ne,
    ">=": operator.ge,
    "<=": operator.le,
    "=": operator.eq,
    ">": operator.gt,
    "<": operator.lt,
}
NAMES = ("id", "dataset", "model", "method")  # of a run; then come the keys that tell these runs apart
OPTIONS = ("dataset", "model")  # whose name in a run's folder is not that of the option
CHECKSUMS = ("dataset.content", "init_content")  # keys that say little to a reader
MOST_VARYING = 6  # of those keys that are shown unasked
OWN = tuple(key for key, field in own_knobs() if field.metadata["scientific"])
RUN = ("id", "state", "dataset", "model", "method", "started", "ended", "starts", "error")


def frame(root: Path, select: str = "last", skipped: list[str] | None = None) -> pd.DataFrame:
    """The runs below `root`, as by `frame_of`; a line about each folder that cannot be read is added to `skipped`."""
    with without_collections():
        return frame_of((SavedRun(directory) for directory in directories(root, skipped)), select)


def frame_of(runs: Iterable[SavedRun], select: str = "last") -> pd.DataFrame:
    """State, config values by their keys, times, and the metrics of the selected epoch of each run.

    `select` is one of record.selections' rules; a run without it (no validation set, or no epoch yet) has no metrics.
    Of a run that is not finished, metrics and times are those of the epochs that it has. A summary that cannot be read
    gives a row with state `unreadable`, never an exception.
    """
    return pd.DataFrame([_row(run, select) for run in runs])


def _row(run: SavedRun, select: str) -> dict[str, Any]:
    # The folder's names for data set and model come last: `model` is wrn16_4 there, wrn in the config.
    # Its times are the whole run's, while those among the metrics are one epoch's.
    named = {"id": run.id} | {key: run.summary[key] for key in (*RUN, *COST) if key in run.summary}
    named["state"] = run.standing
    chosen = run.reached
    if chosen and not run.selections:
        named |= {key: sum(row[key] for row in run.rows) for key in COST if key in run.rows[0]}
    options = {f"{key}.name": run.values[key] for key in OPTIONS if key in run.values}
    return {**run.values, **options, **chosen.get(select, {}), **named, "dir": str(run.directory)}


def varying(runs: pd.DataFrame) -> list[str]:
    """The keys of the config, besides those of the names, that differ among runs which have a name in common; a
    checksum only where the others, such as the path of the data, do not tell the same runs apart.
    """
    if not {*NAMES[1:]} <= {*runs.columns}:
        return []
    options = [
        key for key in map(str, runs.columns) if key.partition(".")[0] in GROUPS and not key.endswith(".name")
    ]
    keys = [key for key in (*options, *OWN) if key in runs and key not in (*GROUPS, "seed")]
    texts, names = runs[keys].astype(str), [runs[name] for name in NAMES[1:]]
    groups = texts.groupby(names, dropna=False)
    varied = [key for key in keys if (groups[key].nunique() > 1).any()]
    for key in CHECKSUMS:
        if key in varied:
            others = [texts[other] for other in varied if other != key]
            # One that is not there, as no data were found, is not another one.
            if (runs.groupby([*names, *others], dropna=False)[key].nunique() <= 1).all():
                varied.remove(key)
    return varied[:MOST_VARYING]


def query(runs: pd.DataFrame, conditions: Sequence[str]) -> pd.DataFrame:
    """The runs for which every condition holds, such as `state=failed`, `opt.rho>=0.1` or `test_acc<50`.

    A value is compared as a number where both sides are numbers, else as text; that of `dataset` or `model` may be the
    name in the run's folder or the option's; of a checksum its first digits, as they are shown, are enough. A run that
    lacks the key, or has nothing there, fails every condition but `!=`. Raises ConfigError for a condition that is
    none, or a key that no run has.
    """
    for condition in conditions:
        match = re.fullmatch(r"([\w.]+)(!=|>=|<=|=|>|<)(.*)", condition)
        if match is None:
            raise ConfigError(
                f"{condition}: not a condition; write KEY=VALUE, or with one of {' '.join(OPERATORS)}."
            )
        key, sign, value = match.groups()
        columns = [column(runs, key)]
        if key in OPTIONS and f"{key}.name" in runs:
            columns.append(runs[f"{key}.name"])
        pick = all if sign == "!=" else any
        found = zip(*columns, strict=True)
        runs = runs[[pick(_compare(each, sign, value) for each in values) for values in found]]
    return runs


def column(runs: pd.DataFrame, key: str) -> pd.Series:
    """The column `key`. Raises ConfigError with the nearest key when no run has it."""
    if key not in runs:
        raise ConfigError(f"{key}: no run has this key.{nearest(key, [str(c) for c in runs.columns])}")
    return runs[key]


def _compare(found: Any, sign: str, value: str) -> bool:
    if found is None or (isinstance(found, float) and math.isnan(found)):
        return (sign == "=" and value == "null") or (sign == "!=" and value != "null")
    if isinstance(found, bool):
        found = str(found).lower()
    if is_checksum(found) and len(value) >= CHECKSUM_SHOWN:
        return bool(OPERATORS[sign](found[: len(value)], value))
    try:
        return bool(OPERATORS[sign](float(found), float(value)))
    except (TypeError, ValueError):
        return bool(OPERATORS[sign](str(found), value))
