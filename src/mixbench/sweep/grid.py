"""The grid of a sweep: every run that it asks for, checked; how each stands, and how long the rest will take."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from hydra.types import RunMode

from mixbench.config.compose import Composer, hydra_node
from mixbench.config.overrides import expand, of_hydra
from mixbench.errors import ConfigError
from mixbench.files import expanded
from mixbench.inventory import looking_once
from mixbench.record.data import other_data
from mixbench.record.standing import Pace, duration, epochs_left, progress, standing
from mixbench.sweep.job import Job
from mixbench.training.run import processes_started

STATES = ("finished", "running", "partial", "failed", "missing", "unreadable", "other data")


def is_sweep(overrides: Sequence[str], config_dir: str | None, multirun: bool) -> bool:
    """Whether a sweep is asked for: by -m, or by hydra.mode=MULTIRUN on the command line.

    Raises ConfigError for a sweep in one of several processes that torchrun has started.
    """
    if any(map(of_hydra, overrides)):
        multirun = multirun or hydra_node(expand(overrides)[0], config_dir).mode == RunMode.MULTIRUN
    if multirun and processes_started() > 1:
        raise ConfigError("-m: a sweep under torchrun; start torchrun once for each of its runs instead.")
    return multirun


@looking_once()
def grid(overrides: Sequence[str], config_dir: str | None = None) -> list[Job]:
    """The runs of the product of all swept values. Raises ConfigError naming the first cell that is not allowed."""
    cells, compose, jobs = expand(overrides), Composer(config_dir), []
    common = set(cells[0]).intersection(*cells[1:]) if len(cells) > 1 else set()
    for cell in cells:
        own = [override for override in cell if not of_hydra(override)]
        try:
            config = compose(own)
        except ConfigError as error:
            raise ConfigError(f"in the sweep's cell {' '.join(own)}:\n{error}") from None
        jobs.append(Job(own, config, " ".join(o for o in own if o not in common)))
    return jobs


@looking_once()
def dry_run(jobs: Sequence[Job]) -> str:
    """Every run with its state, its id and what sets it apart, and the expected time where finished runs tell."""
    pace = Pace.below(expanded(jobs[0].config.output_dir))
    lines, counts, left = [], dict.fromkeys(STATES, 0), dict[Path, float]()
    for job in jobs:
        run, epochs = job.run, job.config.epochs
        state = "other data" if other_data(run, job.config) else standing(run)
        seconds = pace.seconds(job.config, epochs_left(run, epochs))
        if run.directory not in left:
            left[run.directory] = seconds
            counts[state] += 1
        time = "" if state == "finished" else "?" if math.isnan(seconds) else duration(seconds)
        lines.append(f"{state:10} {job.directory.name} {time:>8}  {job.label}{progress(run, epochs)}")
    states = ", ".join(f"{n} {state}" for state, n in counts.items() if n)
    known = [seconds for seconds in left.values() if not math.isnan(seconds)]
    time = duration(sum(known)) if known or not left else duration(math.nan)
    rest = (
        f"; no finished run tells the time of {len(left) - len(known)}" if 0 < len(known) < len(left) else ""
    )
    lines.append(f"{len(jobs)} runs, {len(left)} different: {states}; {time} left, one after another{rest}")
    return "\n".join(lines)


def outcome(jobs: Sequence[Job]) -> tuple[str, int]:
    """How many of the runs are finished, with a line for each that is not; and the exit status: 1 where any is not."""
    places = {job.directory: job for job in jobs}
    lines = []
    for place, job in places.items():
        run = job.run
        if words := other_data(run, job.config):
            lines.append(f"  other data: (seed {job.config.seed}) {words}")
        elif run.state != "finished":
            state = "not started" if run.state == "missing" else run.state
            lines.append(f"  {state}: {place} (seed {job.config.seed}) {run.error}".rstrip())
    head = f"sweep: {len(places) - len(lines)} of {len(places)} runs finished"
    return "\n".join([head, *lines]), 1 if lines else 0
