"""A saved run's own config as a command line, to train it again."""

from __future__ import annotations

import dataclasses
import os
import shlex
from pathlib import Path
from typing import Any

from mixbench.config.cells import Composer
from mixbench.config.compose import conf_dir
from mixbench.config.identity import flat, run_dir, run_id
from mixbench.errors import ConfigError
from mixbench.record.run import SavedRun
from mixbench.schema.train import GROUPS
from mixbench.sweep.execute import Job


def job(run: SavedRun, compose: Composer) -> Job:
    """The run, to be trained where it lies, by its config.yaml.

    Raises ConfigError where that gives another run, or none, and where the run lies at no run's place: training, which
    goes by the config, would not find it there.
    """
    values = flat(run.config) | {"force": False}
    choices = [f"{group}={_option(group, values[group], compose)}" for group in GROUPS]
    usual = flat(compose(choices))
    changes = [
        f"{key}={_text(value)}"
        for key, value in values.items()
        if key not in (*GROUPS, "output_dir") and (key not in usual or usual[key] != value)
    ]
    overrides = [*choices, *changes, f"output_dir={_text(values['output_dir'])}"]
    config = compose(overrides)
    if run_id(config) != run.id:
        raise ConfigError(f"{run.directory}: its config.yaml is now that of another run, {run_dir(config)}.")
    place, own = Path(os.path.abspath(run.directory)), run_dir(dataclasses.replace(config, output_dir=""))
    if place.parts[-len(own.parts) :] != own.parts:
        raise ConfigError(
            f"{run.directory}: no place to train this run at, which lies at OUTPUT_DIR/{own}. Put it there, below any"
            f" folder, and name that; or train it by its config:\n  {shlex.join(['mixbench', 'train', *overrides])}"
        )
    root = place.parents[len(own.parts) - 1]
    output_dir = str(root if run.directory.is_absolute() else os.path.relpath(root))
    overrides[-1] = f"output_dir={_text(output_dir)}"
    return Job(overrides, compose(overrides), f"{run.directory} (seed {config.seed})")


def _option(group: str, name: str, compose: Composer) -> str:
    """An option of the group that has this name: the first, as all of them differ in values only."""
    options = sorted(path.stem for path in (conf_dir() / group).glob("*.yaml"))
    for option in sorted(options, key=lambda option: option != name):
        if getattr(compose([f"{group}={option}"]), group).name == name:
            return option
    raise ConfigError(f"{group}.name={name}: no option of mixbench has this name.")


def _text(value: Any) -> str:
    """The value as Hydra reads it back."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, (list, tuple)):
        return f"[{','.join(_text(item) for item in value)}]"
    return "'" + value.replace("'", r"\'") + "'" if isinstance(value, str) else repr(value)
