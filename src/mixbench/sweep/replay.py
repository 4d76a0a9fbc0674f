"""A run's own config.yaml as a job, to train it again."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from mixbench.config.identity import run_dir
from mixbench.config.saved import overrides, saved_config
from mixbench.errors import ConfigError
from mixbench.sweep.execute import Job


def job(directory: Path) -> Job:
    """The run that lies in `directory`, from its config.yaml. Raises ConfigError where that gives another run."""
    directory = directory.absolute()
    output_dir = Path(*directory.parts[:-4])  # without dataset/model/method/id
    config = dataclasses.replace(
        saved_config(directory / "config.yaml"), output_dir=str(output_dir), force=False
    )
    if run_dir(config) != directory:
        raise ConfigError(
            f"{directory}: its config.yaml is now that of another run, or the directory was copied or renamed: the run"
            f" would lie in {run_dir(config)}."
        )
    return Job(overrides(config), config, f"{directory} (seed {config.seed})")
