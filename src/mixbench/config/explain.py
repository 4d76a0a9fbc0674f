"""Hydra's exceptions, said again for a user: the key, what was given, what is allowed, the nearest match."""

from __future__ import annotations

import dataclasses
import re
import typing
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from mixbench.config.options import options as options_of
from mixbench.errors import ConfigError
from mixbench.schema.knob import allowed, nearest
from mixbench.schema.train import GROUPS

Compose = Callable[[Sequence[str]], DictConfig]


def in_words(
    error: Exception, overrides: Sequence[str], config_dir: str | None, compose: Compose
) -> ConfigError:
    """What Hydra's exception about these overrides means. `compose` is what raised it, and is asked about parts."""
    if isinstance(error, MissingConfigException):
        return ConfigError(_missing_option(error))
    if isinstance(error, (HydraException, OmegaConfBaseException)):
        return ConfigError(_bad_override(overrides, error, compose))
    if isinstance(error, YAMLError):  # its text names the file and the line
        return ConfigError(f"--config-dir {config_dir}: a file cannot be read as YAML: {error}")
    # A builtin exception from inside of Hydra, such as its ValueError for a number where an option's name belongs.
    return ConfigError(f"{_culprit(overrides, compose)}: cannot be composed: {_reason(error)}.")


def _culprit(overrides: Sequence[str], compose: Compose) -> str:
    """The override behind which it no longer composes."""
    for number, override in enumerate(overrides, 1):
        try:
            compose(overrides[:number])
        except Exception:
            return override
    return " ".join(overrides)


# The launchers that come with an extra of ours, by their names in Hydra. (That of Ray is always there.)
EXTRAS = {"joblib": "joblib", "submitit_local": "submitit", "submitit_slurm": "submitit"}


def _reason(error: BaseException) -> str:
    """The first line of Hydra's text; with what it says below, where that line only says that there is something."""
    first, *rest = str(error).splitlines() or [type(error).__name__]
    if not first.endswith("raised while composing config:") or not rest:
        return first
    key = next((line.strip() for line in rest if "full_key: " in line), "")
    return f"{first.rpartition(': ')[0]}: {rest[0]}{f' ({key})' if key else ''}."


def _missing_option(error: MissingConfigException) -> str:
    group, _, option = (error.missing_cfg_file or "").rpartition("/")
    options = [o for o in error.options or [] if o != "base"]
    if group == "hydra/launcher" and option in EXTRAS:
        return f"{group}={option}: is not installed; pip install 'mixbench[{EXTRAS[option]}]'."
    if not group or not options:
        return _reason(error)
    hint = _with_knobs(option) if group == "model" else ""
    if group == "dataset" and Path(option).is_dir():
        hint = f" For the pictures in that folder write dataset=folder dataset.path={option}."
    own = " One of a plugin's needs --plugin." if group in GROUPS else ""
    return f"{group}={option}: no such option.{hint or nearest(option, options)}\nAllowed: {', '.join(options)}.{own}"


def _with_knobs(name: str) -> str:
    """How a network is asked for whose short name is `name`, such as wrn40_2; empty where no schema has such names."""
    for option in options_of("model"):
        short = re.escape(getattr(option.schema, "short", ""))
        found = re.fullmatch(re.sub(r"\\{0\\\.(\w+)(?::\w)?\\}", r"(?P<\1>\\d{1,4})", short), name)
        knobs = {key: int(value) for key, value in found.groupdict().items()} if found else {}
        if knobs and not any(getattr(option.schema(**knobs), "problems", tuple)()):
            return f" Write model={option.name} {' '.join(f'model.{k}={v}' for k, v in knobs.items())}."
    return ""


def _bad_override(overrides: Sequence[str], error: Exception, compose: Compose) -> str:
    """Find the override that does not fit, by composing with the group choices alone and looking it up."""
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    groups = (*GROUPS, "experiment")
    choices = [o.input_line or "" for o in parsed if o.key_or_group in groups and o.package is None]
    try:
        config = compose(choices)
    except (HydraException, OmegaConfBaseException):  # the choices are what does not fit
        return _reason(error)
    for override in parsed:
        key = override.key_or_group
        if key in groups or key.startswith("hydra") or override.is_sweep_override():
            continue
        message = unknown_key(config, key) or wrong_type(config, key, override.value())
        if message:
            return f"{override.input_line}: {message}"
    return _reason(error)


def unknown_key(config: DictConfig, key: str) -> str:
    """What is wrong with a key that `config` does not have; empty where it has it."""
    parent, _, leaf = key.rpartition(".")
    node = OmegaConf.select(config, parent) if parent else config
    if not OmegaConf.is_dict(node):
        known = [str(k) for k in config]
        return f"no such key: '{parent}' has no parts.{nearest(parent, known)}"
    known = [str(k) for k in node]  # `in` would leave out those without a value
    if leaf in known:
        return ""
    known = sorted(k for k in known if k != "name")
    where = (f"{parent} ({node['name']})" if "name" in node else parent) if parent else "the run"
    elsewhere = [f"{group}.{leaf}" for group in GROUPS if not parent and leaf in _keys(config.get(group))]
    hint = f" Did you mean {' or '.join(map(repr, elsewhere))}?" if elsewhere else nearest(leaf, known)
    return f"no such key.{hint}\nKeys of {where}: {', '.join(known)}."


def _keys(node: Any) -> list[str]:
    return [str(key) for key in node if key != "name"] if OmegaConf.is_dict(node) else []


def wrong_type(config: DictConfig, key: str, value: Any) -> str:
    """Set the key's value, or say what it must be; empty where it has been set."""
    try:
        OmegaConf.update(config, key, value)
    except OmegaConfBaseException:
        field, kind = _field(config, key)
        limits = allowed(field.metadata.get("limits", {})) if field else ""
        return f"must be {kind}{' ' + limits if limits else ''}."
    return ""


KINDS = {float: "a number", int: "a whole number", bool: "true or false", str: "a text"}


def _field(config: DictConfig, key: str) -> tuple[dataclasses.Field | None, str]:
    parent, _, leaf = key.rpartition(".")
    schema = OmegaConf.get_type(OmegaConf.select(config, parent) if parent else config)
    if not dataclasses.is_dataclass(schema):
        return None, "of another type"
    hint = typing.get_type_hints(schema)[leaf]
    field = {f.name: f for f in dataclasses.fields(schema)}[leaf]
    parts = [a for a in typing.get_args(hint) if a is not type(None)]
    if typing.get_origin(hint) is list:
        kind = f"a list, each element {KINDS.get(parts[0], 'of another type')},"
    else:
        kind = KINDS.get(parts[0] if parts else hint, "an option of its group")
        kind += " or null" if type(None) in typing.get_args(hint) else ""
        kind = " or ".join([*field.metadata["choices"], kind]) if str in parts[1:] else kind
    return field, kind
