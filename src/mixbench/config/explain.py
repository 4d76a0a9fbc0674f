"""Hydra's exceptions, said again for a user: the key, what was given, what is allowed, the nearest match."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from mixbench.config.compose import compose_config
from mixbench.errors import ConfigError
from mixbench.schema.knob import allowed, nearest
from mixbench.schema.train import GROUPS


def composed(overrides: Sequence[str], config_dir: str | None = None, *, hydra: bool = False) -> DictConfig:
    """`compose_config`, with every mistake in the overrides raised as a ConfigError."""
    for override in overrides:
        if override.startswith("~"):
            raise ConfigError(
                f"{override}: nothing can be left out; choose another option or value, such as opt=sgd."
            )
        if override.startswith("+") and not override.lstrip("+").startswith("hydra"):
            raise ConfigError(f"{override}: nothing can be added; keys that exist are set without a +.")
        if "=" not in override:
            raise ConfigError(
                f"{override}: not an override; write key=value, such as epochs=5 or augment=gmix."
            )
    if config_dir and not Path(config_dir).is_dir():
        raise ConfigError(f"--config-dir {config_dir}: no such folder.")
    try:
        return compose_config(overrides, config_dir, hydra=hydra)
    except OverrideParseException as error:
        raise ConfigError(f"{error.override}: cannot be read as key=value: {_last(error)}") from None
    except MissingConfigException as error:
        raise ConfigError(_missing_option(error)) from None
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(_bad_override(overrides, config_dir, error)) from None
    except YAMLError as error:  # its text names the file and the line
        raise ConfigError(f"--config-dir {config_dir}: a file cannot be read as YAML: {error}") from None
    except ValueError as error:  # Hydra's words for a number where the name of an option belongs
        raise ConfigError(f"{_unnamed_option(overrides)}: {_last(error)}.") from None


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


def _bad_override(overrides: Sequence[str], config_dir: str | None, error: Exception) -> str:
    """Find the override that does not fit, by composing with the group choices alone and looking it up."""
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    choices = [o.input_line or "" for o in parsed if o.key_or_group in GROUPS and o.package is None]
    try:
        config = compose_config(choices, config_dir)
    except (HydraException, OmegaConfBaseException):  # the choices are what does not fit
        return _last(error)
    for override in parsed:
        key = override.key_or_group
        if key in GROUPS or key.startswith("hydra") or override.is_sweep_override():
            continue
        message = _unknown_key(config, key) or _wrong_type(config, key, override.value())
        if message:
            return f"{override.input_line}: {message}"
    return _last(error)


def _unknown_key(config: DictConfig, key: str) -> str:
    parent, _, leaf = key.rpartition(".")
    node = OmegaConf.select(config, parent) if parent else config
    if not OmegaConf.is_dict(node):
        known = [str(k) for k in config]
        return f"no such key: '{parent}' has no parts.{nearest(parent, known)}"
    if leaf in node:
        return ""
    known = sorted(str(k) for k in node if k != "name")
    where = f"{parent} ({node['name']})" if parent else "the run"
    return f"no such key.{nearest(leaf, known)}\nKeys of {where}: {', '.join(known)}."


def _wrong_type(config: DictConfig, key: str, value: Any) -> str:
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
    parts = [a for a in typing.get_args(hint) if a is not type(None)]
    if typing.get_origin(hint) is list:
        kind = f"a list, each element {KINDS.get(parts[0], 'of another type')},"
    else:
        kind = KINDS.get(parts[0] if parts else hint, "an option of its group")
        kind += " or null" if parts else ""
    return {f.name: f for f in dataclasses.fields(schema)}[leaf], kind
