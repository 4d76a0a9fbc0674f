"""The runs of a table or figure that are not finished: listed, and trained; finished ones measured."""

from __future__ import annotations

import dataclasses
import shlex
import sys
from collections.abc import Sequence

from mixbench.analysis.evaluate import evaluations
from mixbench.config import plugins
from mixbench.errors import ConfigError, MixbenchError
from mixbench.machine.output import printable
from mixbench.papers.cells import STATES, Planned, overrides, seconds_left
from mixbench.papers.metric import Metric
from mixbench.papers.spec import Spec
from mixbench.record.run import SavedRun
from mixbench.record.standing import duration, progress
from mixbench.sweep import execute
from mixbench.sweep.job import Job


def unfinished(planned: Sequence[Planned]) -> list[Planned]:
    """The runs that there is something to do for, each once."""
    waiting = {run.directory: run for run in planned if run.state not in ("finished", "unavailable")}
    return list(waiting.values())


def counts(planned: Sequence[Planned]) -> str:
    """How many runs are in which state, such as "2 finished, 1 missing"."""
    return ", ".join(f"{n} {s}" for s in STATES if (n := sum(r.state == s for r in planned)))


def dry_run(spec: Spec, planned: Sequence[Planned]) -> str:
    """Every run with its state and command, and the time that is left where finished runs tell."""
    lines = [f"{spec.key}: {spec.title}"]
    command = shlex.join(["mixbench", "train", *plugins.arguments()])
    for run in planned:
        head = f"{run.state:11} {run.cell.row}, {run.cell.column}, seed {run.cell.seed}"
        if run.config is None or run.saved is None:
            lines.append(f"{head}: needs {spec.needs}")
            continue
        lacking = f" (not evaluated: {', '.join(names)})" if (names := run.lacks(spec.metrics)) else ""
        lines.append(f"{head}{progress(run.saved, run.config.epochs)}{lacking}: {run.directory}")
        lines.append(f"{'':11} {command} {' '.join(_quoted(o) for o in overrides(run))}")
    lines.append(
        f"{len(planned)} runs: {counts(planned)}; {duration(seconds_left(planned))} left, one after another"
    )
    return "\n".join(lines)


def _quoted(override: str) -> str:
    return f"'{override}'" if set(override) & set("[] ,{}") else override


def train(
    spec: Spec, planned: Sequence[Planned], at_once: int | None = None, hydra: Sequence[str] = ()
) -> bool:
    """Train what is unfinished as a sweep, then measure what the spec's metrics read of the final weights; True when
    nothing is left to do.

    `hydra` are overrides of Hydra's own config, such as the launcher. Raises ConfigError for a spec that cannot
    run yet.
    """
    if any(run.state == "unavailable" for run in planned):
        raise ConfigError(f"{spec.key}: cannot run yet; mixbench tables says what it needs.")
    jobs = [
        Job(overrides(run), run.config, f"{run.cell.row}, {run.cell.column}, seed {run.cell.seed}")
        for run in unfinished(planned)
        if run.config is not None
    ]
    print(f"{len(jobs)} of {len(planned)} runs to train", flush=True)
    execute.train(jobs, at_once=at_once, hydra=hydra)
    now = [dataclasses.replace(run, saved=SavedRun(run.directory)) for run in planned]
    evaluated = _evaluate(now, spec.metrics)
    return evaluated and all(run.state == "finished" for run in now)


def _evaluate(planned: Sequence[Planned], metrics: Sequence[Metric]) -> bool:
    """Make the evaluations that the metrics read and finished runs lack; False where one cannot be made."""
    well = True
    for directory, run in {run.directory: run for run in planned if run.lacks(metrics)}.items():
        assert run.config is not None  # it is finished
        try:
            evaluations(directory, run.lacks(metrics), device=run.config.device, data_dir=run.config.data_dir)
            print(printable(f"evaluated: {directory}"), flush=True)
        except MixbenchError as error:
            well = False
            print(printable(f"not evaluated: {error}"), file=sys.stderr)
    return well
