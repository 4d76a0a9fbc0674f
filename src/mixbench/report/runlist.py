"""The list of runs: one line each with the knobs that tell them apart, and what it can be narrowed to."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mixbench.record.run import number
from mixbench.summarize.settings import Run, short, told


def listing(runs: Sequence[Run], anchors: Mapping[Path, str], knobs: Sequence[str]) -> dict[str, Any]:
    """What runs.html.j2 shows: `head`, `rows`, and `filters`, the values of what a reader chooses from; `knobs` are
    those that tell the runs apart.
    """
    rows = [_row(run, knobs, anchors[run.directory]) for run in runs]
    filters = {
        name: list(dict.fromkeys(row["is"][name] for row in rows)) for name in ("place", "method", "state")
    }
    return {
        "head": [*knobs, "seed", "state", "epochs done", "Test_Acc, best (%)", "Test_Acc, last (%)"],
        "rows": rows,
        "filters": {name: values for name, values in filters.items() if len(values) > 1},
    }


def _row(run: Run, knobs: Sequence[str], anchor: str) -> dict[str, Any]:
    dataset, model, _, seed = map(short, run.name)
    accuracies = [number(run.reached.get(select, {}), "test_acc") for select in ("best_test", "last")]
    cells = [told(run.values[key]) if key in run.values else "-" for key in knobs]
    cells += [seed, run.standing, str(run.epochs_done)]
    return {
        "anchor": anchor,
        "directory": run.directory,
        "is": {"place": f"{dataset} {model}", "method": run.method, "state": run.standing},
        "cells": cells + ["-" if math.isnan(a) else f"{a:.2f}" for a in accuracies],
    }
