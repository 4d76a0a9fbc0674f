"""Run directories as training leaves them, without training: for the tests of what reads them."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mixbench.config.identity import flat, method, run_id
from mixbench.papers.cells import Planned
from mixbench.record.claim import claimed
from mixbench.record.select import selections, with_gaps
from mixbench.record.write import OpenRecord
from mixbench.schema.model import label

ENVIRONMENT = {
    "mixbench": "0.1.0",
    "commit": "0123456789abcdef",
    "uncommitted": None,
    "packages": {"torch": "2.11"},
    "device": "cpu",
    "cpu": "Some CPU",
    "command": "mixbench train",
}


@contextlib.contextmanager
def opened(directory: Path) -> Iterator[OpenRecord]:
    """The record in `directory`, held by this process until the block ends."""
    with claimed(directory) as claim:
        yield OpenRecord(directory, directory.name, claim)


def rows_of(accuracies: Sequence[float], **columns: Sequence[float]) -> list[dict[str, Any]]:
    """Rows of epochs.csv with these test accuracies; other columns as given, else plain numbers."""
    rows = []
    for i, accuracy in enumerate(accuracies):
        row = {"epoch": i + 1, "lr": 0.1, "train_loss": 1 / (i + 1), "train_acc_weighted": 50.0}
        row |= {"train_acc_clean": 80.0, "train_acc_mixed": 60.0, "test_acc": accuracy, "test_top5": 99.0}
        row |= {"test_loss": 2 / (i + 1)} | {name: values[i] for name, values in columns.items()}
        rows.append({**with_gaps(row), "train_seconds": 5.0, "eval_seconds": 1.0})
    return rows


def leave(
    planned: Planned, accuracies: Sequence[float], state: str = "finished", **changes: Any
) -> list[dict[str, Any]]:
    """Leave the record of a run with these test accuracies; `changes` are columns (lists) or keys of the summary."""
    config = planned.config
    assert config is not None
    columns = {name: value for name, value in changes.items() if isinstance(value, list)}
    rows = rows_of(accuracies, **columns)
    summary = {
        "state": state,
        "id": run_id(config),
        "dataset": config.dataset.label(),
        "model": label(config.model),
        "method": method(config),
        "config": flat(config),
        "started": "2026-01-02T03:04:05+00:00",
        "starts": 1,
        "data_note": "",
    }
    if state == "finished":
        seconds = {
            f"{part}_seconds": math.fsum(r[f"{part}_seconds"] for r in rows) for part in ("train", "eval")
        }
        summary |= {"selections": selections(rows), "images_per_second": 900.0, **seconds}
    summary |= {name: value for name, value in changes.items() if name not in columns}
    with opened(planned.directory) as record:
        record.write_summary(summary)
        record.write_rows(rows)
    (planned.directory / "env.json").write_text(json.dumps(ENVIRONMENT))
    return rows
