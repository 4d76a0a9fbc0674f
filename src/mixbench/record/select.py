"""The rows that tables are made from: gaps, and the epochs that rules select."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from mixbench.record.read import Row


class Highest:
    """The highest value of a column so far, and the first epoch that has it; NaN counts for nothing."""

    def __init__(self, key: str, rows: Iterable[Row] = ()) -> None:
        self.key, self.value, self.epoch = key, -math.inf, 0
        for row in rows:
            self.note(row)

    def note(self, row: Row) -> None:
        """Take the next epoch's row into account."""
        if self.beaten_by(row):
            self.value, self.epoch = row[self.key], row["epoch"]

    def beaten_by(self, row: Row) -> bool:
        """Whether the row has a higher value than all before."""
        return row.get(self.key, math.nan) > self.value


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
        key: max((r[key] for r in rows if not math.isnan(r.get(key, math.nan))), default=math.nan)
        for key in rows[-1]
    }
    return chosen


def _highest(rows: Sequence[Row], key: str) -> Row:
    return max(rows, key=lambda row: -math.inf if math.isnan(row[key]) else row[key])
