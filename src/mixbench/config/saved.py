"""A run's config.yaml, also one that an earlier version wrote: as the config that it was, and as a command line."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf

from mixbench.config import yaml_files
from mixbench.config.check import checked
from mixbench.config.compose import compose
from mixbench.config.explain import unknown_key, wrong_type
from mixbench.config.identity import flat
from mixbench.config.options import Option, options, schemas
from mixbench.config.yaml_files import MOST_BYTES
from mixbench.errors import ConfigError
from mixbench.files import read_bounded
from mixbench.schema.knob import nearest
from mixbench.schema.train import GROUPS, Train

# Keys that runs once had, and the value at which they did what runs without them do.
REMOVED = {"deformed_test": False}


def saved_config(path: Path) -> Train:
    """The config in a run's config.yaml, typed and checked. A key that is newer than the file has its default.

    Raises ConfigError that names the file, and the key where it is one that does not fit.
    """
    saved = yaml_files.load(path)
    if not saved or not isinstance(saved, dict):
        raise ConfigError(f"{path}: cannot be read: is no mapping of keys to values.")
    try:
        return checked(cast(Train, OmegaConf.to_object(_filled(saved, path.parent))))
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def overrides(config: Train) -> list[str]:
    """The command line that composes to `config`. Raises ConfigError where no option has the schema of one in it."""
    usual = flat(compose([]))
    choices = []
    for group in GROUPS:
        option = _nearest(group, getattr(config, group))
        choices.append(f"{group}={option.name}")
        usual |= {f"{group}.{key}": value for key, value in option.values.items()}
    changed = {k: v for k, v in flat(config).items() if k not in GROUPS and usual.get(k, ...) != v}
    return [*choices, *(f"{key}={_text(value)}" for key, value in changed.items())]


def from_saved(path: Path, changes: Sequence[str]) -> list[str]:
    """The command line of the config in the file, with `changes` to it; a run's own `force` is not repeated.

    An option that is chosen anew has its own values, not those of the file. Raises ConfigError as `saved_config` does.
    """
    config = dataclasses.replace(saved_config(path), force=False)
    chosen = {change.partition("=")[0] for change in changes} & set(GROUPS)
    return [o for o in overrides(config) if re.split(r"[.=]", o, maxsplit=1)[0] not in chosen] + list(changes)


def _filled(saved: dict[str, Any], directory: Path) -> DictConfig:
    """The values in the schemas that the names in `saved` call for."""
    config = OmegaConf.structured(compose([]))
    for group in GROUPS:
        if group in saved:
            config[group] = OmegaConf.structured(_named(group, saved[group], directory))
    for key, value in _leaves(saved, config):
        missing = unknown_key(config, key)
        if missing and REMOVED.get(key, ...) == value:
            continue
        if isinstance(value, str) and "${" in value:
            raise ConfigError(f"{key}={value}: is no value.")
        problem = missing or wrong_type(config, key, value)
        if problem:
            raise ConfigError(f"{key}={value}: {problem}")
    for key in sorted(OmegaConf.missing_keys(config)):
        raise ConfigError(f"{key}: is missing.")
    return config


def _named(group: str, saved: Any, directory: Path) -> Any:
    """An instance of the schema that has the saved option's name, or allows it."""
    name = saved.get("name") if isinstance(saved, dict) else None
    names = dict[str, Any]()
    for schema in schemas(group).values():
        (field,) = (field for field in dataclasses.fields(schema) if field.name == "name")
        names |= dict.fromkeys(field.metadata.get("choices") or [field.default], schema)
    if not isinstance(name, str) or name not in names:
        raise ConfigError(
            f"{group}.name={name}: no such option.{nearest(str(name), list(names))}{_made_with(directory)}"
        )
    return names[name](name=name)


def _leaves(saved: dict[str, Any], config: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Keys as on a command line, with their values; parts of the config are entered, values that are dicts are not."""
    for name, value in saved.items():
        part = config.get(name) if isinstance(name, str) and name in config else None
        if isinstance(value, dict) and OmegaConf.is_dict(part):
            yield from _leaves(value, part, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _made_with(directory: Path) -> str:
    """Which plugins the run in a directory was made with; empty for none."""
    try:
        made = json.loads(read_bounded(directory / "env.json", MOST_BYTES))["plugins"]
        plugins = ", ".join(f"{name} ({version})" for name, version in made.items())
    except (OSError, ValueError, KeyError, AttributeError, TypeError, RecursionError):
        return ""
    return (
        f" The run was made with the plugins {plugins}; load them with --plugin, or import them."
        if plugins
        else ""
    )


def _nearest(group: str, wanted: Any) -> Option:
    """Of the options with this schema the one whose values differ least."""
    schema, name = type(wanted), wanted.name
    same = [o for o in options(group) if o.schema is schema and o.values["name"] == name]
    if not same:
        raise ConfigError(f"{group}.name={name}: no option of mixbench has this name.")
    return min(same, key=lambda o: sum(o.values[key] != value for key, value in vars(wanted).items()))


def _text(value: Any) -> str:
    """The value as Hydra reads it back."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, (list, tuple)):
        return f"[{','.join(_text(item) for item in value)}]"
    return "'" + value.replace("'", r"\'") + "'" if isinstance(value, str) else repr(value)
