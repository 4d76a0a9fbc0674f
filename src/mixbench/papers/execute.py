"""Trains the runs of a table that are not finished, and measures what the table reads of the finished ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mixbench.analysis.evaluate import evaluations
from mixbench.errors import MixbenchError
from mixbench.papers.cells import Planned, overrides
from mixbench.papers.metric import Metric
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


def evaluate(
    planned: Sequence[Planned], metrics: Sequence[Metric]
) -> Iterator[tuple[Planned, MixbenchError | None]]:
    """Make the evaluations that the metrics read and finished runs lack: yields each such run, and what went wrong."""
    lacking = {run.directory: run for run in planned if run.lacks(metrics)}
    for directory, run in lacking.items():
        assert run.config is not None  # it is finished
        try:
            evaluations(directory, run.lacks(metrics), device=run.config.device, data_dir=run.config.data_dir)
        except MixbenchError as error:
            yield run, error
        else:
            yield run, None
