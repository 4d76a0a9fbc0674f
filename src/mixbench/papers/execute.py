"""Trains the runs of a table that are not finished."""

from __future__ import annotations

from collections.abc import Sequence

from mixbench.papers.cells import Planned, overrides
from mixbench.sweep import execute


def unfinished(planned: Sequence[Planned]) -> list[Planned]:
    """The runs that there is something to do for, each once."""
    waiting = {run.directory: run for run in planned if run.state not in ("finished", "unavailable")}
    return list(waiting.values())


def train(planned: Sequence[Planned], at_once: int | None = None, hydra: Sequence[str] = ()) -> None:
    """Train what is unfinished as a sweep; `hydra` are overrides of Hydra's own config, such as the launcher."""
    jobs = [
        execute.Job(overrides(run), run.config, f"{run.cell.row}, {run.cell.column}, seed {run.cell.seed}")
        for run in unfinished(planned)
        if run.config is not None
    ]
    execute.train(jobs, at_once=at_once, hydra=hydra)
