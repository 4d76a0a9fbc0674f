"""The rows of epochs.csv as text, and what is known of those that have been written: how many, and a checksum."""

from __future__ import annotations

import csv
import hashlib
import io
import math
from collections.abc import Iterable, Sequence
from typing import Any

from mixbench.record.read import Row


def columns_of(rows: Iterable[Row]) -> list[str]:
    """The columns of all rows, in the order in which they appear."""
    return list(dict.fromkeys(key for row in rows for key in row))


def lines(rows: Iterable[Row], columns: Sequence[str], *, head: bool = False) -> bytes:
    """The rows as lines of a CSV file, behind a line with the columns if `head`; a cell that a row lacks is empty.

    Floats are written so that reading them back gives the same bits, NaN as an empty cell.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if head:
        writer.writerow(columns)
    for row in rows:
        writer.writerow([_cell(row.get(column, math.nan)) for column in columns])
    return text.getvalue().encode()


def _cell(value: Any) -> str:
    return "" if isinstance(value, float) and math.isnan(value) else repr(value)


class Written:
    """What a process has written of epochs.csv, so that it can go on without reading the file again."""

    def __init__(self, columns: list[str], count: int, text: bytes) -> None:
        self.columns, self.count = columns, count
        self.size, self._sum = len(text), hashlib.sha256(text)

    def add(self, line: bytes) -> None:
        """Count one more row."""
        self.count, self.size = self.count + 1, self.size + len(line)
        self._sum.update(line)

    def mark(self) -> dict[str, Any]:
        """What a checkpoint holds in place of the rows: their number, their columns and the SHA-256 of their text."""
        return {"count": self.count, "columns": self.columns, "sha256": self._sum.hexdigest()}


def marked(rows: Sequence[Row], mark: dict[str, Any]) -> list[Row] | None:
    """The rows that a checkpoint was saved with, of those that are in the file now; None where it has others.

    The file may have got more rows since, and more columns, which are empty in the rows before them.
    """
    columns = mark["columns"]
    before = [{column: row.get(column, math.nan) for column in columns} for row in rows[: mark["count"]]]
    text = lines(before, columns, head=True) if before else b""
    return before if Written(columns, len(before), text).mark() == mark else None
