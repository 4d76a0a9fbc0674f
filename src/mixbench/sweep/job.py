"""One run of a sweep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from mixbench.config.identity import run_dir
from mixbench.record.data import other_data
from mixbench.record.run import SavedRun
from mixbench.schema.train import Train


@dataclass(frozen=True)
class Job:
    """One run of a sweep: the overrides that ask for it, the config that they compose to, and its name for people."""

    overrides: Sequence[str]
    config: Train
    label: str

    @cached_property
    def directory(self) -> Path:
        """Where the run lies."""
        return run_dir(self.config)

    @property
    def run(self) -> SavedRun:
        """What there is of the run now."""
        return SavedRun(self.directory)

    @property
    def waiting(self) -> bool:
        """Whether there is something left to do. One that was trained on other data says so itself when it starts."""
        run = self.run
        return self.config.force or run.state != "finished" or bool(other_data(run, self.config))
