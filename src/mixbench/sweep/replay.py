"""A saved run's own config as a job, to train it again."""

from __future__ import annotations

import dataclasses
import os
import shlex
from pathlib import Path

from mixbench.config.identity import run_dir, run_id
from mixbench.config.saved import overrides
from mixbench.errors import ConfigError
from mixbench.record.run import SavedRun
from mixbench.sweep.job import Job


def job(run: SavedRun) -> Job:
    """The run, to be trained where it lies, by its config.yaml.

    Raises ConfigError where that gives another run, or none, and where the run lies at no run's place: training, which
    goes by the config, would not find it there. Raises DataError where its own data are damaged.
    """
    config = dataclasses.replace(run.config, force=False)
    if run_id(config) != run.id:
        raise ConfigError(f"{run.directory}: its config.yaml is now that of another run, {run_dir(config)}.")
    place, own = Path(os.path.abspath(run.directory)), run_dir(dataclasses.replace(config, output_dir=""))
    if place.parts[-len(own.parts) :] != own.parts:
        command = shlex.join(["mixbench", "train", *overrides(config)])
        raise ConfigError(
            f"{run.directory}: no place to train this run at, which lies at OUTPUT_DIR/{own}. Put it there, below any"
            f" folder, and name that; or train it by its config:\n  {command}"
        )
    root = place.parents[len(own.parts) - 1]
    output_dir = str(root if run.directory.is_absolute() else os.path.relpath(root))
    config = dataclasses.replace(config, output_dir=output_dir)
    return Job(overrides(config), config, f"{run.directory} (seed {config.seed})")
