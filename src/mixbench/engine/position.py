"""How far a run is, between its steps: what a checkpoint holds besides weights and optimizer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from mixbench.record.read import Row
from mixbench.record.select import Highest


@dataclass
class Position:
    """How far a run is: everything that changes during training besides weights and optimizer."""

    epoch: int = 0  # whole epochs done
    step: int = 0  # steps done of the next one
    rows: list[Row] = field(default_factory=list)
    train_seconds: float = 0.0  # of the epoch under way

    def __post_init__(self) -> None:
        self.best = {key: Highest(key, self.rows) for key in ("test_acc", "val_acc")}

    def add(self, row: Row) -> None:
        """Take the row of the epoch that is done, and go to the start of the next one."""
        self.rows.append(row)
        for best in self.best.values():
            best.note(row)
        self.epoch, self.step, self.train_seconds = self.epoch + 1, 0, 0.0

    def state_dict(self) -> dict[str, Any]:
        """Plain containers, for a checkpoint. The rows are not in it: they are on the disk already, in epochs.csv."""
        return {"epoch": self.epoch, "step": self.step, "train_seconds": self.train_seconds}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a saved position and the rows so far."""
        vars(self).update(state)
        self.__post_init__()
