"""TensorBoard: event files in the run's directory."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter

from mixbench.record.read import Row


class TensorBoard:
    """Writes every number of a row as a scalar with the epoch as its step, and the config as a text.

    A resumed run writes all its rows again and tells TensorBoard to forget the earlier ones (`purge_step`), so
    nothing is missing or double, wherever it was killed.
    """

    def __init__(self, directory: Path, key: str, title: str, config: dict[str, Any]) -> None:
        self.writer = SummaryWriter(str(directory / "tensorboard"), purge_step=0)
        text = json.dumps(config, indent=1)
        self.writer.add_text("config", f"{title}\n\n```\n{text}\n```", global_step=0)

    def log(self, row: Row) -> None:
        """Write a row to the disk."""
        for column, value in row.items():
            if column != "epoch" and math.isfinite(value):
                self.writer.add_scalar(column, value, row["epoch"])
        self.writer.flush()

    def close(self, state: str) -> None:
        """End the event file; TensorBoard knows no states."""
        self.writer.close()
