"""The run directory: the only door between training and everything that reads results.

    config.yaml    the composed config            env.json      commit, versions, device, command line
    epochs.csv     one row per epoch              last.pt       what an exact resume needs
    summary.json   state, selections, times       model.safetensors   final weights
    train.log      what was printed               claim         the process that works here, while it does

summary.json ends with a checksum of itself and, while nobody works on the run, holds those of config.yaml, epochs.csv
and the weights: a number that has changed on the disk is found, and never gets into a table. Records of versions that
wrote no checksums are read as they are.

Nothing here imports torch; tables can be made where torch is not installed.
"""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import io
import json
import math
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mixbench.claim import CLAIM, claimed, holder
from mixbench.errors import DataError
from mixbench.files import plain, write_atomic, write_json

Row = dict[str, Any]

CHECKED = ("config.yaml", "epochs.csv", "model.safetensors")


# ---------------------------------------------------------------- reading


def directories(root: Path) -> Iterator[Path]:
    """Every run directory below `root`, in a stable order; those that were moved aside (*.old1) are left out.

    Walks by os.scandir and stops at a run: 10,000 runs take 0.2 s, rglob 3 s.
    """
    try:
        entries = sorted(os.scandir(root), key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return
    if any(entry.name == "summary.json" for entry in entries):
        if not re.search(r"\.old\d+$", root.name):
            yield root
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=True):
            yield from directories(Path(entry.path))


def read_summary(directory: Path) -> dict[str, Any] | None:
    """summary.json of a run, or None where there is none. One `running` that no process holds is `interrupted`.

    Of one that is damaged nothing is left but the state `unreadable`, and in `error` the file and what is wrong.
    """
    path = directory / "summary.json"
    try:
        summary = json.loads(path.read_bytes())
        expected, found = summary.pop("sha256", None), _digest(summary)
        summary["files"] = dict(summary.get("files", {}))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, AttributeError, TypeError, RecursionError) as error:
        return {"state": "unreadable", "error": f"{path} cannot be read: {error}"}
    if expected not in (None, found):
        return {"state": "unreadable", "error": _damage(path, expected, found)}
    if summary.get("state") == "running" and holder(directory) is None:
        summary["state"] = "interrupted"
    return summary


def read_rows(directory: Path) -> list[Row]:
    """The rows of epochs.csv, numbers as numbers, an empty cell as NaN; empty where there is no such file.

    Raises DataError naming the file where it is no table of numbers, or another one than summary.json says.
    """
    path = directory / "epochs.csv"
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    expected = (read_summary(directory) or {}).get("files", {}).get("epochs.csv")
    found = hashlib.sha256(content).hexdigest()
    if expected not in (None, found):
        raise DataError(_damage(path, expected, found))
    try:
        rows = csv.DictReader(io.StringIO(content.decode()))
        return [{key: _number(value) for key, value in row.items()} for row in rows]
    except (ValueError, AttributeError, TypeError) as error:
        raise DataError(f"{path} is not a table of epochs: {error}") from None


def damages(directory: Path) -> list[str]:
    """A line for each file of a run that is not what summary.json says it is, or summary.json itself."""
    summary = read_summary(directory) or {}
    if summary.get("state") == "unreadable":
        return [summary["error"]]
    lines = []
    for name, expected in summary.get("files", {}).items():
        found = _checksum(directory / name)
        if found != expected:
            lines.append(_damage(directory / name, expected, found))
    return lines


def _checksum(path: Path) -> str | None:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else None


def _digest(summary: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(summary, sort_keys=True).encode()).hexdigest()


def _damage(path: Path, expected: object, found: str | None) -> str:
    if found is None:
        return f"{path} is missing"
    return f"{path} is damaged (checksum expected {str(expected)[:12]}..., found {found[:12]}...)"


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
    """Replace summary.json, with its checksum and, unless the run goes on, those of the other files."""
    content = plain(summary)
    if summary["state"] != "running":
        content["files"] = {name: found for name in CHECKED if (found := _checksum(directory / name))}
    write_json(directory / "summary.json", {**content, "sha256": _digest(content)})


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
