"""How time and memory grow with the number of runs, of an epoch's row with the rows before it, and of cells to list."""

from __future__ import annotations

import multiprocessing
import resource
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mixbench.config.compose import Composer
from mixbench.config.identity import flat, method, run_dir, run_id
from mixbench.record.claim import claimed
from mixbench.record.select import selections, with_gaps
from mixbench.record.write import OpenRecord
from mixbench.schema.model import label

EPOCHS, REPEATS = 20, 100
HEAD = ["what", "items", "ms for one", "MB", "items", "ms for one", "MB", "ratio of ms"]


def grown(scratch: Path) -> list[list[str]]:
    """A row of texts, as HEAD says, for each thing that may grow: at two sizes, each in a process of its own.

    MB is what the process needs at most beyond what it had before. The ratio is 1 where the time is linear in the
    items, or, for a row, the same however many there are. `scratch` is an empty folder for runs.
    """
    found = []
    for what, (measure, small, large) in MEASURES.items():
        one, two = (_alone(measure, scratch / f"{measure.__name__}{n}", n) for n in (small, large))
        sizes = [[f"{n:,}", f"{ms:.3g}", f"{mb:.0f}"] for n, (ms, mb) in ((small, one), (large, two))]
        found.append([what, *sizes[0], *sizes[1], f"{two[0] / one[0]:.2f}"])
    return found


def _alone(measure: Callable[[Path, int], float], place: Path, n: int) -> tuple[float, float]:
    """Milliseconds for one item of n, and MB."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_measured, (measure, place, n))


def _measured(measure: Callable[[Path, int], float], place: Path, n: int) -> tuple[float, float]:
    # Imports and the like are no part of it.
    for folder, count in (
        (place / "first", 10),
        (place / "then", n),
    ):
        folder.mkdir(parents=True)
        before = _peak()
        seconds = measure(folder, count)
    return 1000 * seconds, _peak() - before


def _peak() -> float:
    """The most memory that this process has had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


def _listing(place: Path, n: int) -> float:
    """`mixbench runs` of n runs: seconds for one."""
    from mixbench.summarize.frame import frame

    _leave(place, n)
    return _seconds(lambda: frame(place)) / n


def _report(place: Path, n: int) -> float:
    """`mixbench report` of n runs: seconds for one."""
    from mixbench.report.page import page
    from mixbench.summarize.settings import collect

    _leave(place, n)
    return _seconds(lambda: page(collect([place]))) / n


def _row(place: Path, n: int) -> float:
    """An epoch's row where there are n rows: its seconds."""
    rows = _rows(n)
    with claimed(place) as claim:
        record = OpenRecord(place, "growth", claim)
        record.write_rows(rows)

        def add() -> None:
            for epoch in range(n + 1, n + 1 + REPEATS):
                rows.append({**rows[-1], "epoch": epoch})
                record.add_row(rows)

        return _seconds(add) / REPEATS


def _cells(place: Path, n: int) -> float:
    """`mixbench train --dry-run` of n seeds: seconds for one."""
    from mixbench.sweep.grid import dry_run, grid

    return _seconds(lambda: dry_run(grid([f"seed=range({n})", f"output_dir={place}"]))) / n


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _rows(n: int) -> list[dict[str, Any]]:
    numbers = {"train_acc_weighted": 50.1, "train_acc_clean": 80.1, "test_acc": 70.1, "test_loss": 1.1}
    return [
        {**with_gaps({"epoch": epoch, "lr": 0.1, **numbers}), "train_seconds": 5.0}
        for epoch in range(1, n + 1)
    ]


def _leave(place: Path, n: int) -> None:
    """n directories of one finished run."""
    config = Composer()([f"epochs={EPOCHS}", f"output_dir={place}"])
    first, rows = run_dir(config), _rows(EPOCHS)
    with claimed(first) as claim:
        record = OpenRecord(first, run_id(config), claim)
        about = {"id": run_id(config), "dataset": config.dataset.name, "model": label(config.model)}
        about |= {"method": method(config), "config": flat(config), "starts": 1}
        record.write_summary(
            {**about, "state": "finished", "selections": selections(rows), "train_seconds": 5.0}
        )
        record.write_rows(rows)
    for i in range(1, n):
        shutil.copytree(first, first.with_name(f"{i:012x}"))


MEASURES: dict[str, tuple[Callable[[Path, int], float], int, int]] = {
    "run directories, runs": (_listing, 1000, 4000),
    "run directories, report": (_report, 1000, 4000),
    "rows, one more": (_row, 1000, 100_000),
    "cells, dry run": (_cells, 1000, 10_000),
}
