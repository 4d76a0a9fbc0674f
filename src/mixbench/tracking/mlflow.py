"""MLflow, in a local database unless the environment names a server."""

from __future__ import annotations

import logging
import math
import os
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # before the import: no network unless asked for

from filelock import FileLock
from mlflow import MlflowClient
from mlflow.entities import Metric, Param

from mixbench.record.read import Row

STATUS = {"finished": "FINISHED", "interrupted": "KILLED", "failed": "FAILED"}
TAG = "mixbench.key"


class MLflow:
    """One MLflow run, found again by its tag when the training is resumed."""

    def __init__(
        self, directory: Path, key: str, title: str, config: dict[str, Any], experiment: str
    ) -> None:
        for noisy in ("mlflow", "alembic"):
            logging.getLogger(noisy).setLevel(logging.WARNING)
        folder = Path(config["output_dir"]).expanduser().resolve()
        # Of several runs that start at once, one makes the tables.
        with FileLock(folder / "mlflow.lock", fallback_to_soft=False):
            self.client = MlflowClient(
                os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{folder}/mlflow.db"
            )
            found = self.client.get_experiment_by_name(experiment)
            number = found.experiment_id if found else self.client.create_experiment(experiment)
        runs = self.client.search_runs([number], f"tags.`{TAG}` = '{key}'", max_results=1)
        if runs:
            self.id = runs[0].info.run_id
            self.client.update_run(self.id, status="RUNNING")
        else:
            tags = {TAG: key, "mixbench.directory": str(directory.resolve())}
            self.id = self.client.create_run(number, run_name=title, tags=tags).info.run_id
            # Only once: MLflow refuses another value, and the device may change between two starts.
            self.client.log_batch(self.id, params=[Param(k, str(v)) for k, v in config.items()])
        self.last = max((m.step for m in self.client.get_metric_history(self.id, "test_acc")), default=0)

    def log(self, row: Row) -> None:
        """Send a row that MLflow has not yet; the epoch is its step."""
        if row["epoch"] > self.last:
            now = int(time.time() * 1000)
            numbers = {k: v for k, v in row.items() if k != "epoch" and math.isfinite(v)}
            self.client.log_batch(self.id, [Metric(k, v, now, row["epoch"]) for k, v in numbers.items()])

    def close(self, state: str) -> None:
        """End the MLflow run with its state."""
        self.client.set_terminated(self.id, STATUS[state])
