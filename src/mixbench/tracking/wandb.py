"""Weights & Biases, offline unless the environment says otherwise."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

# Before the import: it looks for the network even offline.
os.environ.setdefault("WANDB_ERROR_REPORTING", "false")

import wandb

from mixbench.record.read import Row


class WandB:
    """One wandb run under the key of ours, below the run's directory.

    With WANDB_MODE=online a resumed run goes on in the same wandb run. Offline, which is the default, every start
    writes all rows so far to a folder of its own, under the same id: `wandb sync` the last one.
    """

    def __init__(self, directory: Path, key: str, title: str, config: dict[str, Any], project: str) -> None:
        mode: Any = os.environ.get("WANDB_MODE") or "offline"
        self.run = wandb.init(
            project=project,
            id=key,
            name=title,
            dir=str(directory),
            config=config,
            mode=mode,
            resume="allow" if mode == "online" else None,
            # The log is kept by the run itself; half a minute is enough to find that there is no network.
            settings=wandb.Settings(console="off", silent=True, init_timeout=30),
        )
        self.next = self.run.step  # of an earlier start that wandb knows of

    def log(self, row: Row) -> None:
        """Send a row that wandb has not yet; the epoch is its step."""
        if row["epoch"] >= self.next:
            self.run.log({k: v for k, v in row.items() if math.isfinite(v)}, step=row["epoch"])

    def close(self, state: str) -> None:
        """Finish the wandb run, as failed unless the training is finished."""
        self.run.finish(exit_code=0 if state == "finished" else 1)
