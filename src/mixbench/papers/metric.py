"""What a table or figure reads from a run: a column of its record, or one of a few transformations of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mixbench.analysis import evaluators

TRAIN_ACCURACIES = ("weighted", "first", "clean", "mixed")
EPOCH_COLUMNS = (
    *(f"{split}_{metric}" for split in ("test", "val") for metric in ("acc", "top5", "loss")),
    *(f"{kind}_{accuracy}" for kind in ("train_acc", "gap") for accuracy in TRAIN_ACCURACIES),
    "train_loss",
    "train_loss_clean",
)

# Of the final weights, whatever epoch is selected: NAME/NUMBER of an evaluation, such as deformations/rotation_20.
EVALUATION_COLUMNS = evaluators.COLUMNS

# How many columns each takes, and what it makes of them.
TRANSFORMS: dict[str, tuple[int, Callable[..., float]]] = {
    "none": (1, lambda a: a),
    "error": (1, lambda accuracy: 100 - accuracy),
    "log": (1, lambda a: math.log(a) if a > 0 else math.nan),
    "sum": (2, lambda a, b: a + b),
    "abs_difference": (2, lambda a, b: abs(a - b)),
}


@dataclass(frozen=True)
class Metric:
    """One number of a cell: columns of the run record, transformed, perhaps relative to another row's number."""

    name: str
    column: tuple[str, ...]
    transform: str = "none"
    ratio_to: str | None = None  # a row: the number is divided by that row's
    difference_to: str | None = None  # a row: that row's number is subtracted
    unit: str = ""
    better: str | None = None  # higher or lower; None where neither is better
    digits: int = 2  # decimals that are shown
    printed: str = ""  # block of the spec's `printed` to compare with; empty: the one of its own name, if any

    @property
    def block(self) -> str:
        """Name of its block of published numbers."""
        return self.printed or self.name

    @property
    def evaluated_columns(self) -> list[str]:
        """Those of its columns that are evaluations of the final weights."""
        return [column for column in self.column if column in EVALUATION_COLUMNS]

    @property
    def reference(self) -> str | None:
        """The row that the number is relative to, if any."""
        return self.ratio_to or self.difference_to

    def value(self, record: Mapping[str, Any]) -> float:
        """The number, before `against`, from the selected epoch's columns and the run's; NaN where one is missing."""
        parts = [math.nan if record.get(c) is None else float(record[c]) for c in self.column]
        return TRANSFORMS[self.transform][1](*parts)

    def against(self, value: float, reference: float) -> float:
        """`value` relative to the number of the reference row; as it is where the metric has none."""
        if self.ratio_to:
            return value / reference if reference else math.nan
        return value - reference if self.difference_to else value
