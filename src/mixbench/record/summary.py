"""What a run amounts to: the content of summary.json, and the table printed at a run's end."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mixbench.record.read import Row
from mixbench.record.select import selections

GAPS = {
    "gap_weighted": "Gap, weighted",
    "gap_first": "Gap, first label",
    "gap_clean": "Gap, clean",
    "gap_mixed": "Gap, mixed",
}


def totals(rows: Sequence[Row], per_epoch: int, unit: str = "images") -> dict[str, Any]:
    """Selections and times of a run, training and evaluation apart, in seconds; throughput in examples/s.

    `unit` is what the `per_epoch` examples of an epoch are called, in the plural.
    """
    train_seconds = sum(row["train_seconds"] for row in rows)
    return {
        "selections": selections(rows),
        "unit": unit,
        "train_seconds": train_seconds,
        "eval_seconds": sum(row["eval_seconds"] for row in rows),
        "images_per_second": per_epoch * len(rows) / train_seconds if train_seconds else math.nan,
    }


def differences(history: Sequence[Mapping[str, Any]]) -> list[str]:
    """What was not alike in all starts of a run, such as "threads 2, then 1"; `history` as in summary.json."""
    found = []
    for key in dict.fromkeys(key for start in history for key in start if key != "at"):
        values = [str(start.get(key)) for start in history]
        changes = [value for before, value in zip([None, *values], values, strict=False) if value != before]
        if len(changes) > 1:
            found.append(f"{key} {', then '.join(value or 'none' for value in changes)}")
    return found


def table(summary: dict[str, Any], directory: Path) -> str:
    """The table at a run's end: Test_Acc and every Gap for each selection rule, cost, and where the run lies.

    What a summary from elsewhere does not tell is a dash.
    """
    chosen = {name: row for name, row in summary["selections"].items() if name != "max"}
    head = f"{'selection':10} {'epoch':>5} {'Test_Acc':>9} {'Top-5':>7} {'Test loss':>9}"
    gaps = [key for key in GAPS if key in summary["selections"]["last"]]
    lines = [head + "".join(f"  {GAPS[key]:>16}" for key in gaps)]
    for name, row in chosen.items():
        cells = [f"{name:10} {_known(row.get('epoch'), 'd'):>5}"]
        for key, width, form in (("test_acc", 9, ".2f"), ("test_top5", 7, ".2f"), ("test_loss", 9, ".4f")):
            cells.append(f"{_known(row.get(key), form):>{width}}")
        lines.append(" ".join(cells) + "".join(f"  {_number(row.get(key)):>16}" for key in gaps))
    train, evaluation = (_known(summary.get(f"{part}_seconds"), ".1f") for part in ("train", "eval"))
    memory = summary.get("peak_memory_bytes")
    peak = f"{memory / 2**30:.2f} GiB peak ({summary.get('peak_memory_of')})" if memory is not None else "-"
    lines += [
        "Test_Acc in %; Gap = Test_Acc - train accuracy, in points; best_test is chosen on the test set.",
        f"time    train {train} s, evaluation {evaluation} s;"
        f" {_known(summary.get('images_per_second'), '.0f')} training"
        f" {summary.get('unit', 'examples')}/s",
        f"memory  {peak}",
        f"run     {directory}",
    ]
    if kept := summary.get("kept"):
        epochs = " and ".join(f"epoch {epoch} ({rule})" for rule, epoch in kept.items())
        lines.insert(-1, f"weights of {epochs}")
    if changed := differences(summary.get("history", [])):
        lines.insert(-1, f"starts  not alike: {'; '.join(changed)}")
    return "\n".join(lines)


def _known(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _number(value: float | None) -> str:
    return "-" if value is None or math.isnan(value) else f"{round(value, 2) + 0.0:+.2f}"  # no "-0.00"


def epoch_line(row: Row, epochs: int) -> str:
    """One line of the log for an epoch."""
    clean = row.get("train_acc_clean", math.nan)
    parts = [
        f"epoch {row['epoch']:{len(str(epochs))}d}/{epochs}",
        f"lr {row['lr']:.4g}",
        f"train loss {row['train_loss']:.4f}",
        f"train acc {row['train_acc_weighted']:.2f} weighted"
        + ("" if math.isnan(clean) else f" {clean:.2f} clean"),
        f"test acc {row['test_acc']:.2f}",
    ]
    if "val_acc" in row:
        parts.append(f"val acc {row['val_acc']:.2f}")
    return "  ".join([*parts, f"{row['train_seconds']:.1f} + {row['eval_seconds']:.1f} s"])
