"""Trains the runs of a sweep: in this process, side by side, or through a Hydra launcher; each once, whoever helps."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path

from mixbench.config.identity import run_dir
from mixbench.errors import ConfigError, MixbenchError
from mixbench.files import expanded, writable
from mixbench.machine.launch import one_launch
from mixbench.machine.output import printable
from mixbench.machine.signals import LAUNCHER
from mixbench.record.claim import POLL, RunBusy, claimed
from mixbench.schema.train import Train
from mixbench.sweep.job import Job
from mixbench.sweep.launch import Launcher
from mixbench.sweep.room import Room, check_jobs, room
from mixbench.sweep.tally import Tally
from mixbench.sweep.together import train_together
from mixbench.training.frozen import frozen
from mixbench.training.run import export


def train(
    jobs: Sequence[Job],
    *,
    at_once: int | None = None,
    hydra: Sequence[str] = (),
    config_dir: str | None = None,
) -> None:
    """Train the runs that are not finished, each once. A failure is in the run's record, and the others go on.

    `hydra` are overrides of Hydra's own config, such as the launcher. Hydra's default trains one after another in
    this process; where sweep.room finds room for several, or `at_once` says so, they run side by side instead.
    Raises ConfigError for a launcher that there is not, or that has a say about `at_once` itself, and Interrupted
    when a signal ends it.
    """
    different = {job.directory: job for job in jobs}.values()
    waiting = []
    for job in different:
        if job.waiting:
            waiting.append(job)
        else:
            _exported(job.config)
    if not waiting:
        return
    launcher = Launcher(hydra, config_dir, waiting[0].config.output_dir)
    if at_once is not None and not launcher.basic:
        raise ConfigError("--jobs: the launcher decides that; it is for sweeps without hydra/launcher=...")
    check_jobs(at_once)
    first = waiting[0].config
    writable(expanded(first.output_dir))
    if launcher.basic and first.device not in ("auto", "cpu"):
        from mixbench.machine.devices import resolve_device

        resolve_device(first.device)  # once, before any run

    os.environ[LAUNCHER] = str(os.getpid())
    found = room(at_once, first.device, len(waiting), first.runs_per_device)
    with frozen(config_dir), one_launch(), found if launcher.basic else nullcontext() as places:
        if places is not None and places.sentence:
            print(places.sentence, flush=True)

        def start(some: Sequence[Job]) -> list[int]:
            if places is not None and len(places.slots) > 1:
                return _side_by_side(some, places, config_dir)
            tally = Tally(some, 1, bar=False) if launcher.basic else None
            ended = (lambda i, status: tally.run_ended(some[i], status)) if tally else None
            return launcher([job.directory for job in some], [job.overrides for job in some], ended)

        _each_once(waiting, start)


def _exported(config: Train) -> None:
    """Send the rows of a finished run to the tracker of the sweep, if it has one; a failure stops nothing."""
    try:
        export(config)
    except MixbenchError as error:
        words = f"tracker {config.tracker.name} has not got {run_dir(config)}: {error}"
        print(printable(words), file=sys.stderr)


def _each_once(jobs: Sequence[Job], start: Callable[[Sequence[Job]], list[int]]) -> None:
    """Start the runs; those that other processes work on again, once one of them has let go of its run."""
    while jobs:
        statuses = start(jobs)
        busy = [job for job, status in zip(jobs, statuses, strict=True) if status == RunBusy.exit_status]
        jobs = [job for job in busy if job.waiting]
        if jobs:
            print(f"waiting for {len(jobs)} runs that other processes work on", flush=True)
            _await_one([job.directory for job in jobs])
            jobs = [job for job in busy if job.waiting]


def _await_one(directories: Sequence[Path]) -> None:
    """Return when one of the runs is free: its owner has ended, or was found dead."""
    while True:
        for directory in directories:
            try:
                with claimed(directory):
                    return
            except RunBusy:
                pass
        time.sleep(POLL)


def _side_by_side(jobs: Sequence[Job], places: Room, config_dir: str | None) -> list[int]:
    extra = [f"--config-dir={config_dir}"] if config_dir else []
    tally = Tally(jobs, len(places.slots), bar=True)
    try:
        return train_together(
            [[*job.overrides, *extra] for job in jobs],
            places.slots,
            places.environment,
            lambda i, status: tally.run_ended(jobs[i], status),
        )
    finally:
        tally.close()
