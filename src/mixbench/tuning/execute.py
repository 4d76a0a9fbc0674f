"""Trains the trials of a search, each in a process of its own, and stops those that are not worth more epochs.

A run's record is all that is known of it: rows are read from epochs.csv while its process writes them.
"""

from __future__ import annotations

import signal
import tempfile
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from mixbench.config.identity import run_dir
from mixbench.errors import ConfigError, MixbenchError
from mixbench.machine import command
from mixbench.record.claim import RunBusy
from mixbench.record.data import other_data
from mixbench.record.run import SavedRun
from mixbench.schema.train import Train
from mixbench.sweep.room import Room
from mixbench.sweep.together import Pool, Training, pool
from mixbench.tuning.search import Search
from mixbench.tuning.study import Study, Trial

BUSY_SECONDS = 5.0  # between looks at a run that another process works on


class Worker:
    """A trial under way: its run, and the process that trains it, if any."""

    def __init__(self, trial: Trial, config: Train, overrides: Sequence[str]) -> None:
        self.trial = trial
        self.directory, self.epochs = run_dir(config), config.epochs
        self._config, self._overrides = config, overrides
        self._training: Training | None = None
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  # the process's standard error, as long as we live
        self._pruned = False
        self._not_before = 0.0

    @property
    def alive(self) -> bool:
        """True while its process trains."""
        return self._training is not None and self._training.status is None

    def step(self, taken: Collection[Path], places: Pool) -> bool:
        """Do what there is to do; True when the trial needs no more. Runs in `taken` have a process already.

        Raises MixbenchError where the run cannot even begin, so that others would not either.
        """
        alive = self.alive  # asked before the rows are read: none is then missed
        if not self._pruned and self.trial.follow(self.directory, self.epochs):
            self._pruned = True
            self.trial.prune()
            if self._training is not None:
                self._training.stop(signal.SIGTERM)
        if alive:
            return False
        if self._pruned:
            return True
        run = SavedRun(self.directory)
        if run.state == "finished":
            if words := other_data(run, self._config):
                raise MixbenchError(f"trial {self.trial.number} cannot be trained: {words}")
            self.trial.finish()
            return True
        if self._training is not None and (status := self._training.status) is not None:
            return self._ended(status)
        if self.directory not in taken and time.monotonic() >= self._not_before:
            if error := self.trial.failed_before:
                self.trial.fail(error)
                return True
            self._errors.seek(0)
            self._errors.truncate()
            self._training = places.start(self._overrides, self._errors)
        return False

    def _ended(self, status: int) -> bool:
        """What it means that the process ended although the run is not finished."""
        run = SavedRun(self.directory)
        if run.state == "missing" or status == ConfigError.exit_status:
            self._errors.seek(0)
            message = self._errors.read().decode(errors="replace").removeprefix(command.saying("")).strip()
            raise MixbenchError(f"trial {self.trial.number} cannot be trained: {message}")
        if run.state == "failed":
            self.trial.fail(run.error)
            return True
        if status == RunBusy.exit_status:  # another process works on the run
            self._training, self._not_before = None, time.monotonic() + BUSY_SECONDS
            return False
        told = "its process was stopped: what it has saved is kept; the same command goes on from there."
        print(f"trial {self.trial.number}: {told}")
        return True


def execute(study: Study, limit: int, room: Room, ended: Callable[[int], None]) -> None:
    """Work on trials until the study has `limit`, as many at a time as there is `room` for.

    `ended(number)` is called for each that needs no more. Raises Interrupted as `pool` does; the trials under way are
    taken up next time.
    """
    workers: list[Worker] = []
    with pool(room.slots, room.environment) as places:
        while not places.stopped:
            while len(workers) < len(room.slots) and (trial := study.next(limit)) is not None:
                worker = _worker(study.search, trial)
                if worker is None:
                    ended(trial.number)
                else:
                    workers.append(worker)
            if not workers:
                break
            for worker in list(workers):
                # Two trials may have the same values, and then the same run.
                if worker.step({w.directory for w in workers if w.alive}, places):
                    workers.remove(worker)
                    ended(worker.trial.number)
            places.pause()


def _worker(search: Search, trial: Trial) -> Worker | None:
    """The trial's worker; None, and a failed trial, where its values do not go together."""
    try:
        config = search.run(trial.values)
    except ConfigError as error:
        trial.fail(str(error))
        return None
    extra = [f"--config-dir={search.config_dir}"] if search.config_dir else []
    return Worker(trial, config, [*search.overrides(trial.values), *extra])
