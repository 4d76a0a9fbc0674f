"""What the files of a run's directory say; `run.SavedRun` is what everything outside of this package reads with."""

from __future__ import annotations

import contextlib
import csv
import gc
import hashlib
import io
import math
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from mixbench.errors import DataError
from mixbench.files import read_bounded
from mixbench.record import checksum
from mixbench.record.claim import holder
from mixbench.record.schema import (
    MOST_JSON,
    MOST_ROWS,
    Misfit,
    check_environment,
    check_rows,
    check_summary,
    misfit,
    parsed,
    shown,
    whole_number,
)

Row = dict[str, Any]
Found = TypeVar("Found")


def directories(root: Path, skipped: list[str] | None = None) -> Iterator[Path]:
    """Every run directory below `root`, each once, in a stable order, but for those that were moved aside (*.old1).

    Links to folders are followed after all that is no link, so that a run is found where it lies, and no loop is walked
    twice. A line about each folder that cannot be read is added to `skipped`. Walks by os.scandir and stops at a run:
    10,000 runs take 0.2 s, rglob 3 s.
    """
    links, seen = [(root, os.path.realpath(root))], set[str]()
    while links:
        yield from _below(*links.pop(0), seen, links, [] if skipped is None else skipped)


@contextlib.contextmanager
def without_collections() -> Iterator[None]:
    """A block in which Python looks for no cycles: records have none, and looking takes a sixth of the reading time."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()


def _below(
    folder: Path, real: str, seen: set[str], links: list[tuple[Path, str]], skipped: list[str]
) -> Iterator[Path]:
    """The runs in a folder, without those behind links, which are added to `links`. `real`: its path without any."""
    if real in seen:
        return
    seen.add(real)
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        skipped.append(f"{folder}: {error.strerror}")
        return
    if any(entry.name == "summary.json" for entry in entries):
        if not re.search(r"\.old\d+$", folder.name):
            yield folder
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from _below(folder / entry.name, os.path.join(real, entry.name), seen, links, skipped)
        elif entry.is_symlink() and os.path.isdir(entry.path):  # false for a link in a loop
            links.append((folder / entry.name, os.path.realpath(entry.path)))


def read_summary(directory: Path) -> dict[str, Any] | None:
    """summary.json of a run, or None where there is none. One `running` that no process holds is `interrupted`.

    Its values are those of `schema.SUMMARY`. Of one that is damaged, or no summary of a run, nothing is left but the
    state `unreadable`, and in `error` the file and what is wrong.
    """
    path = directory / "summary.json"
    try:
        summary = parsed(read_bounded(path, MOST_JSON))
        if not isinstance(summary, dict):
            raise misfit(summary, "an object")
        expected, found = summary.pop("sha256", None), checksum.of_summary(summary)
        if expected not in (None, found):
            return {"state": "unreadable", "error": checksum.damage(path, shown(expected), found)}
        check_summary(summary)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except Misfit as error:
        return {"state": "unreadable", "error": f"{path} is no summary of a run: {error}"}
    except (OSError, ValueError, RecursionError) as error:
        return {"state": "unreadable", "error": f"{path} cannot be read: {_reason(error)}"}
    summary.setdefault("files", {})
    if summary["state"] == "running" and holder(directory) is None:
        summary["state"] = "interrupted"
    return summary


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def read_rows(directory: Path, summary: dict[str, Any] | None = None) -> list[Row]:
    """The rows of epochs.csv, numbers as numbers, an empty cell as NaN; empty where there is no such file.

    `summary` is what `read_summary` gave before, where it did. Raises DataError naming the file where it is no table of
    numbers, or another one than summary.json says.
    """
    path = directory / "epochs.csv"
    content, damage = _settled(directory, lambda found: _checked_rows(path, found), summary)
    if damage:
        raise DataError(damage)
    try:
        lines = csv.DictReader(io.StringIO(content.decode()))
        rows = [{key: _number(value) for key, value in row.items()} for row in lines]
        if rows and "epoch" not in rows[0]:
            raise ValueError("it has no column epoch")
        check_rows(rows)
    except (ValueError, AttributeError, TypeError, csv.Error) as error:
        raise DataError(f"{path} is not a table of epochs: {error}") from None
    return rows


def _checked_rows(path: Path, summary: dict[str, Any]) -> tuple[bytes, str]:
    """The content of epochs.csv, none where there is no such file, and what is wrong with it by the summary.

    Of a run that goes on, or was killed, the last line may be half written, and is left out.
    """
    try:
        content = read_bounded(path, MOST_ROWS)
    except FileNotFoundError:
        return b"", ""
    except OSError as error:
        raise DataError(f"{path} cannot be read: {_reason(error)}") from None
    expected, found = summary["files"].get("epochs.csv"), hashlib.sha256(content).hexdigest()
    if expected is None:
        return content[: content.rfind(b"\n") + 1], ""
    return content, "" if expected == found else checksum.damage(path, expected, found)


def _settled(
    directory: Path,
    look: Callable[[dict[str, Any]], tuple[Found, Any]],
    summary: dict[str, Any] | None = None,
) -> tuple[Found, Any]:
    """What `look` finds beside the summary: something, and what is wrong with it by the summary's checksums.

    A process that works on the run replaces files one after another, the summary before the rows when it begins and
    after them when it ends. So the summary is read first, and what seems wrong is believed if it still is the same.
    """
    before = read_summary(directory) or {} if summary is None else summary
    while True:
        found, wrong = look({"files": {}, **before})
        if not wrong or (now := read_summary(directory) or {}) == before:
            return found, wrong
        before = now


def read_environment(directory: Path) -> dict[str, Any]:
    """env.json of a run, with values as in `schema.ENVIRONMENT`; empty where it is not there or cannot be read."""
    with contextlib.suppress(DataError):
        return _environment(directory)
    return {}


def _environment(directory: Path) -> dict[str, Any]:
    """The same. Raises DataError naming the file where it cannot be read."""
    path = directory / "env.json"
    try:
        content = parsed(read_bounded(path, MOST_JSON))
        check_environment(content)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path} cannot be read: {_reason(error)}") from None
    return content


def damages(directory: Path) -> list[str]:
    """A line for each file of a run that cannot be read, or is not what summary.json says it is; that one included."""
    return _settled(directory, lambda summary: (None, _damages(directory, summary)))[1]


def _damages(directory: Path, summary: dict[str, Any]) -> list[str]:
    if summary.get("state") == "unreadable":
        return [summary["error"]]
    lines = list[str]()
    for name, expected in summary["files"].items():
        try:
            found = checksum.of_file(directory / name)
        except DataError as error:
            lines.append(str(error))
        else:
            lines += [checksum.damage(directory / name, expected, found)] if found != expected else []
    try:
        _environment(directory)
    except DataError as error:
        lines.append(str(error))
    return [*lines, *(_hindering(directory) if summary.get("state") in ("interrupted", "failed") else ())]


def _hindering(directory: Path) -> Iterator[str]:
    """What is wrong with the files that a run which has not ended would go on from."""
    try:
        read_rows(directory)
    except DataError as error:
        yield str(error)
    for name in checksum.CHECKPOINTS:
        try:
            sums = checksum.of_checkpoint(directory / name)
        except DataError as error:
            yield str(error)
        else:
            if sums and sums[0] != sums[1]:
                yield checksum.damage(directory / name, *sums)


def _number(text: str) -> float | int:
    if "." in text:
        return float(text)
    if text == "":
        return math.nan
    return whole_number(text) if text.lstrip("-").isdigit() else float(text)
