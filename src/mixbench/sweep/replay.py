"""A run's own config.yaml as a command line, to train it again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from mixbench.config.cells import Composer
from mixbench.config.compose import conf_dir
from mixbench.config.identity import flat, run_dir
from mixbench.errors import ConfigError
from mixbench.schema.train import GROUPS
from mixbench.sweep.execute import Job


def job(directory: Path, compose: Composer) -> Job:
    """The run that lies in `directory`, from its config.yaml. Raises ConfigError where that gives another run."""
    try:
        saved = yaml.safe_load((directory / "config.yaml").read_bytes())
        choices = [f"{group}={_option(group, saved[group]['name'], compose)}" for group in GROUPS]
        values = _flat(saved) | {"output_dir": str(directory.parents[3]), "force": False}
    except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{directory / 'config.yaml'}: cannot be read: {error}") from None
    usual = flat(compose(choices))
    changes = [
        f"{key}={_text(value)}"
        for key, value in values.items()
        if key not in GROUPS and (key not in usual or usual[key] != value)
    ]
    config = compose([*choices, *changes])
    if run_dir(config).absolute() != directory.absolute():
        raise ConfigError(f"{directory}: its config.yaml is now that of another run, {run_dir(config)}.")
    return Job([*choices, *changes], config, f"{directory} (seed {config.seed})")


def _option(group: str, name: str, compose: Composer) -> str:
    """An option of the group that has this name: the first, as all of them differ in values only."""
    options = sorted(path.stem for path in (conf_dir() / group).glob("*.yaml"))
    for option in sorted(options, key=lambda option: option != name):
        if getattr(compose([f"{group}={option}"]), group).name == name:
            return option
    raise ConfigError(f"{group}.name={name}: no option of mixbench has this name.")


def _flat(saved: dict[str, Any]) -> dict[str, Any]:
    values = {key: value for key, value in saved.items() if key not in GROUPS}
    for group in GROUPS:
        values |= {f"{group}.{key}": value for key, value in saved[group].items() if key != "name"}
    return values


def _text(value: Any) -> str:
    """The value as Hydra reads it back."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, (list, tuple)):
        return f"[{','.join(_text(item) for item in value)}]"
    return "'" + value.replace("'", r"\'") + "'" if isinstance(value, str) else repr(value)
