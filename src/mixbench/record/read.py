"""What the files of a run's directory say; `run.SavedRun` is what everything outside of this package reads with."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from mixbench.errors import DataError
from mixbench.record import checksum
from mixbench.record.claim import holder

Row = dict[str, Any]
Found = TypeVar("Found")

STATES = ("running", "finished", "interrupted", "failed")  # that a summary may tell


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

    Of one that is damaged, or no summary of a run, nothing is left but the state `unreadable`, and in `error` the file
    and what is wrong.
    """
    path = directory / "summary.json"
    try:
        summary = json.loads(path.read_bytes())
        expected, found = summary.pop("sha256", None), checksum.of_summary(summary)
        summary["files"] = dict(summary.get("files", {}))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, AttributeError, TypeError, RecursionError) as error:
        return {"state": "unreadable", "error": f"{path} cannot be read: {error}"}
    if expected not in (None, found):
        return {"state": "unreadable", "error": checksum.damage(path, expected, found)}
    if lacking := _lacking(summary):
        return {"state": "unreadable", "error": f"{path} is no summary of a run: it has no {lacking}"}
    if summary["state"] == "running" and holder(directory) is None:
        summary["state"] = "interrupted"
    return summary


def _lacking(summary: dict[str, Any]) -> str:
    """What every summary has, and this one has not; empty where it has all."""
    if summary.get("state") not in STATES:
        return f"state, one of {', '.join(STATES)}"
    if not isinstance(summary.get("config"), dict):
        return "config"
    chosen = summary.get("selections", {})
    if not isinstance(chosen, dict) or not all(isinstance(row, dict) for row in chosen.values()):
        return "selections of epochs"
    if summary["state"] == "finished" and not {"last", "best_test"} <= chosen.keys():
        return "selections last and best_test"
    return ""


def read_rows(directory: Path) -> list[Row]:
    """The rows of epochs.csv, numbers as numbers, an empty cell as NaN; empty where there is no such file.

    Raises DataError naming the file where it is no table of numbers, or another one than summary.json says.
    """
    path = directory / "epochs.csv"
    content, damage = _settled(directory, lambda summary: _checked_rows(path, summary))
    if damage:
        raise DataError(damage)
    try:
        lines = csv.DictReader(io.StringIO(content.decode()))
        rows = [{key: _number(value) for key, value in row.items()} for row in lines]
    except (ValueError, AttributeError, TypeError, csv.Error) as error:
        raise DataError(f"{path} is not a table of epochs: {error}") from None
    if rows and "epoch" not in rows[0]:
        raise DataError(f"{path} is not a table of epochs: it has no column epoch")
    return rows


def _checked_rows(path: Path, summary: dict[str, Any]) -> tuple[bytes, str]:
    """The content of epochs.csv, none where there is no such file, and what is wrong with it by the summary.

    Of a run that goes on, or was killed, the last line may be half written, and is left out.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return b"", ""
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error}") from None
    expected, found = summary["files"].get("epochs.csv"), hashlib.sha256(content).hexdigest()
    if expected is None:
        return content[: content.rfind(b"\n") + 1], ""
    return content, "" if expected == found else checksum.damage(path, expected, found)


def _settled(directory: Path, look: Callable[[dict[str, Any]], tuple[Found, Any]]) -> tuple[Found, Any]:
    """What `look` finds beside the summary: something, and what is wrong with it by the summary's checksums.

    A process that works on the run replaces files one after another, the summary before the rows when it begins and
    after them when it ends. So the summary is read first, and what seems wrong is believed if it still is the same.
    """
    while True:
        before = read_summary(directory) or {}
        found, wrong = look({"files": {}, **before})
        if not wrong or (read_summary(directory) or {}) == before:
            return found, wrong


def read_environment(directory: Path) -> dict[str, Any]:
    """env.json of a run; empty where it cannot be read."""
    try:
        content = json.loads((directory / "env.json").read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def damages(directory: Path) -> list[str]:
    """A line for each file of a run that is not what summary.json says it is, or summary.json itself."""
    return _settled(directory, lambda summary: (None, _damages(directory, summary)))[1]


def _damages(directory: Path, summary: dict[str, Any]) -> list[str]:
    if summary.get("state") == "unreadable":
        return [summary["error"]]
    found = {name: checksum.of_file(directory / name) for name in summary["files"]}
    return [
        checksum.damage(directory / name, expected, found[name])
        for name, expected in summary["files"].items()
        if found[name] != expected
    ]


def _number(text: str) -> float | int:
    if text == "":
        return math.nan
    return int(text) if text.lstrip("-").isdigit() else float(text)
