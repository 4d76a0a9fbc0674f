"""The run directory: the only door between training and everything that reads results.

    config.yaml    the composed config            env.json      commit, versions, device, command line
    epochs.csv     one row per epoch              last.pt       what an exact resume needs
    summary.json   state, selections, times       model.safetensors   final weights
    train.log      what was printed               claim         the process that works here, while it does

Nothing here imports torch; tables can be made where torch is not installed.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mixbench.claim import CLAIM, claimed, holder
from mixbench.files import write_atomic, write_json

Row = dict[str, Any]


# ---------------------------------------------------------------- reading


def load_summary(directory: Path) -> dict[str, Any]:
    """summary.json of a run; a `running` one that no process holds any more is `interrupted`.

    Raises OSError and ValueError for a summary that is not there or cannot be read.
    """
    summary = json.loads((directory / "summary.json").read_bytes())
    if not isinstance(summary, dict):
        raise ValueError("summary.json holds no object")
    if summary.get("state") == "running" and holder(directory) is None:
        summary["state"] = "interrupted"
    return summary


def read_summary(directory: Path) -> dict[str, Any] | None:
    """The same, or None where there is none (or none that can be read)."""
    try:
        return load_summary(directory)
    except (OSError, ValueError):
        return None


def read_rows(directory: Path) -> list[Row]:
    """The rows of epochs.csv, numbers as numbers, an empty cell as NaN; empty where there is no such file."""
    try:
        text = (directory / "epochs.csv").read_text()
    except FileNotFoundError:
        return []
    return [{key: _number(value) for key, value in row.items()} for row in csv.DictReader(io.StringIO(text))]


def _number(text: str) -> float | int:
    if text == "":
        return math.nan
    return int(text) if text.lstrip("-").isdigit() else float(text)


# ---------------------------------------------------------------- selections


def with_gaps(row: Row) -> Row:
    """The row with a gap, test accuracy minus train accuracy in points, for each train accuracy it has."""
    gaps = {
        f"gap_{key.removeprefix('train_acc_')}": row["test_acc"] - value
        for key, value in row.items()
        if key.startswith("train_acc_")
    }
    return {**row, **gaps}


def selections(rows: Sequence[Row]) -> dict[str, Row]:
    """The rows that tables are made from, by the name of the rule.

    `last`: the last epoch. `best_test`: the first epoch with the highest test accuracy. `best_val`: the same on
    the held-out validation set, where there is one. `max`: the highest value of every metric on its own, which
    belongs to no single epoch.
    """
    if not rows:
        return {}
    chosen = {"last": rows[-1], "best_test": _highest(rows, "test_acc")}
    if not math.isnan(rows[-1].get("val_acc", math.nan)):
        chosen["best_val"] = _highest(rows, "val_acc")
    chosen["max"] = {
        key: max((r[key] for r in rows if not math.isnan(r[key])), default=math.nan) for key in rows[-1]
    }
    return chosen


def _highest(rows: Sequence[Row], key: str) -> Row:
    return max(rows, key=lambda row: -math.inf if math.isnan(row[key]) else row[key])


# ---------------------------------------------------------------- writing


def write_rows(directory: Path, rows: Sequence[Row]) -> None:
    """Replace epochs.csv. Floats are written so that reading them back gives the same bits."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow(
            {k: "" if isinstance(v, float) and math.isnan(v) else repr(v) for k, v in row.items()}
        )
    write_atomic(directory / "epochs.csv", text.getvalue().encode())


def write_config(directory: Path, config: Any) -> None:
    """The composed config as YAML, from its dataclass."""
    from omegaconf import OmegaConf

    text = OmegaConf.to_yaml(OmegaConf.create(dataclasses.asdict(config)))
    write_atomic(directory / "config.yaml", text.encode())


def write_summary(directory: Path, summary: dict[str, Any]) -> None:
    """Replace summary.json."""
    write_json(directory / "summary.json", summary)


def move_aside(directory: Path) -> Path | None:
    """Rename a run's directory so that it can start over; nothing is deleted. Returns the new place, if any."""
    if not directory.exists():
        return None
    with claimed(directory):
        number = 1
        while (aside := directory.with_name(f"{directory.name}.old{number}")).exists():
            number += 1
        directory.rename(aside)
        (aside / CLAIM).unlink(missing_ok=True)
    return aside
