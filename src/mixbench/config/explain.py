"""Hydra's exceptions, said again for a user: the key, what was given, what is allowed, the nearest match."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable, Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

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
    # a ValueError: Hydra's words for a number where the name of an option belongs
    return ConfigError(f"{_unnamed_option(overrides)}: {_last(error)}.")


def _unnamed_option(overrides: Sequence[str]) -> str:
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    groups = [o for o in parsed if o.key_or_group in GROUPS or "/" in o.key_or_group]
    return next((str(o.input_line) for o in groups if not isinstance(o.value(), str)), " ".join(overrides))


# The launchers that come with an extra of ours, by their names in Hydra. (That of Ray is always there.)
EXTRAS = {"joblib": "joblib", "submitit_local": "submitit", "submitit_slurm": "submitit"}


def _last(error: BaseException) -> str:
    return str(error).splitlines()[0]


def _missing_option(error: MissingConfigException) -> str:
    group, _, option = (error.missing_cfg_file or "").rpartition("/")
    options = [o for o in error.options or [] if o != "base"]
    if group == "hydra/launcher" and option in EXTRAS:
        return f"{group}={option}: is not installed; pip install 'mixbench[{EXTRAS[option]}]'."
    if not group or not options:
        return _last(error)
    return f"{group}={option}: no such option.{nearest(option, options)}\nAllowed: {', '.join(options)}."


def _bad_override(overrides: Sequence[str], error: Exception, compose: Compose) -> str:
    """Find the override that does not fit, by composing with the group choices alone and looking it up."""
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    choices = [o.input_line or "" for o in parsed if o.key_or_group in GROUPS and o.package is None]
    try:
        config = compose(choices)
    except (HydraException, OmegaConfBaseException):  # the choices are what does not fit
        return _last(error)
    for override in parsed:
        key = override.key_or_group
        if key in GROUPS or key.startswith("hydra") or override.is_sweep_override():
            continue
        message = unknown_key(config, key) or wrong_type(config, key, override.value())
        if message:
            return f"{override.input_line}: {message}"
    return _last(error)


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
    return f"no such key.{nearest(leaf, known)}\nKeys of {where}: {', '.join(known)}."


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
