"""Trains the trials of a search, each in a process of its own, and stops those that are not worth more epochs.

A run's record is all that is known of it: rows are read from epochs.csv while its process writes them.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from subprocess import DEVNULL, Popen

from mixbench.config.identity import run_dir
from mixbench.errors import ConfigError, MixbenchError
from mixbench.machine.signals import Interrupted, stop_on_signals
from mixbench.record.run import SavedRun
from mixbench.schema.train import Train
from mixbench.tuning.search import Search
from mixbench.tuning.study import Study, Trial

POLL_SECONDS = 0.1
BUSY_SECONDS = 5.0  # between looks at a run that another process works on
TRAIN: Sequence[str] = (sys.executable, "-m", "mixbench", "train")


class Worker:
    """A trial under way: its run, and the process that trains it, if any."""

    def __init__(self, trial: Trial, config: Train, overrides: Sequence[str], slot: Sequence[str]) -> None:
        self.trial, self.slot = trial, slot
        self.directory, self.epochs = run_dir(config), config.epochs
        self._overrides = overrides
        self._process: Popen | None = None
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  # the process's standard error, as long as we live
        self._pruned = self._asked = False
        self._not_before = 0.0

    @property
    def alive(self) -> bool:
        """True while its process trains."""
        return self._process is not None and self._process.poll() is None

    def step(self, taken: Collection[Path], environment: dict[str, str]) -> bool:
        """Do what there is to do; True when the trial needs no more. Runs in `taken` have a process already.

        Raises MixbenchError where the run cannot even begin, so that others would not either.
        """
        alive = self.alive  # asked before the rows are read: none is then missed
        if not self._pruned and self.trial.follow(self.directory, self.epochs):
            self._pruned = True
            self.trial.prune()
            self.stop(signal.SIGTERM)
        if alive:
            return False
        if self._pruned:
            return True
        if SavedRun(self.directory).state == "finished":
            self.trial.finish()
            return True
        if self._process is not None:
            return self._ended(self._process.returncode)
        if self.directory not in taken and time.monotonic() >= self._not_before:
            self._start(environment)
        return False

    def stop(self, number: int) -> None:
        """Ask the process to save a checkpoint and end."""
        if self._process is not None and self.alive and not self._asked:
            self._process.send_signal(number)
            self._asked = True  # a second signal would not let it save

    def wait(self) -> None:
        """Return when the process has ended."""
        if self._process is not None:
            self._process.wait()

    def _start(self, environment: dict[str, str]) -> None:
        self._errors.truncate(0)
        command = [*TRAIN, *self._overrides, *self.slot, "progress=false"]
        # In a session of its own: Ctrl-C at the terminal reaches it once, through us.
        self._process = Popen(
            command,
            env=environment,
            stdout=DEVNULL,
            stderr=self._errors,
            start_new_session=True,
        )

    def _ended(self, status: int) -> bool:
        """What it means that the process ended although the run is not finished."""
        run = SavedRun(self.directory)
        if run.state == "missing" or status == ConfigError.exit_status:
            self._errors.seek(0)
            message = self._errors.read().decode(errors="replace").removeprefix("mixbench train: ").strip()
            raise MixbenchError(f"trial {self.trial.number} cannot be trained: {message}")
        if run.state == "failed":
            self.trial.fail(run.error)
            return True
        if run.state == "running" and status > 0:  # it found that another process works on the run
            self._process, self._not_before = None, time.monotonic() + BUSY_SECONDS
            return False
        print(f"trial {self.trial.number}: its process was stopped; the same command goes on with it")
        return True


def execute(study: Study, limit: int, places: Sequence[Sequence[str]], ended: Callable[[int], None]) -> None:
    """Work on trials until the study has `limit`, as many at a time as there are `places`, lists of overrides.

    `ended(number)` is called for each that needs no more. SIGTERM, SIGUSR1 and Ctrl-C are passed on, so that every run
    saves a checkpoint; then Interrupted is raised, and the trials under way are taken up next time.
    """
    search, free, workers = study.search, list(places), list[Worker]()
    environment = dict(os.environ)
    # As in mixbench.sweep.together: threads of several processes on one core wait for each other.
    environment.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // len(places))))
    with stop_on_signals() as stop:
        try:
            while stop.number is None:
                while free and (trial := study.next(limit)) is not None:
                    worker = _worker(search, trial, free[0])
                    if worker is None:
                        ended(trial.number)
                    else:
                        workers.append(worker)
                        del free[0]
                if not workers:
                    break
                for worker in list(workers):
                    # Two trials may have the same values, and then the same run.
                    if worker.step({w.directory for w in workers if w.alive}, environment):
                        workers.remove(worker)
                        free.append(worker.slot)
                        ended(worker.trial.number)
                time.sleep(POLL_SECONDS)
        finally:
            for worker in workers:
                worker.stop(stop.number or signal.SIGTERM)
            for worker in workers:
                worker.wait()
    if stop.number is not None:
        raise Interrupted(
            f"stopped by signal {stop.number}; the runs have saved their state, and the same command goes on.",
            stop.number,
        )


def _worker(search: Search, trial: Trial, slot: Sequence[str]) -> Worker | None:
    """The trial's worker; None, and a failed trial, where its values do not go together."""
    try:
        config = search.run(trial.values)
    except ConfigError as error:
        trial.fail(str(error))
        return None
    extra = [f"--config-dir={search.config_dir}"] if search.config_dir else []
    return Worker(trial, config, [*search.overrides(trial.values), *extra], slot)
