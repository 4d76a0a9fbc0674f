"""NAME=VALUE for a dataclass of knobs: the options of an evaluation, the parameters of a study. Imports no torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from mixbench.config.explain import wrong_type
from mixbench.errors import ConfigError
from mixbench.schema.knob import check, nearest


def assigned(schema: type, given: Mapping[str, Any], changes: Sequence[str] = (), at: str = "") -> Any:
    """An instance of `schema` with the values `given`, and then `changes` such as "steps=50"; the rest by default.

    A list has no element twice, as results are named by them. `at` stands before every message. Raises ConfigError for
    a name that is not known, and for a value that is not allowed.
    """
    node = OmegaConf.structured(schema)
    pairs = [
        *((name, value, f"{name}={value}") for name, value in given.items()),
        *(_parsed(c, at) for c in changes),
    ]
    for name, value, shown in pairs:
        known = [str(key) for key in node]
        if name not in known:
            hint = f"{nearest(name, known)} Allowed: {', '.join(known) or 'none'}."
            raise ConfigError(f"{at}{shown}: no such name.{hint}")
        if value is ...:
            raise ConfigError(f"{at}{shown}: write NAME=VALUE.")
        if OmegaConf.is_list(node[name]) and not isinstance(value, list):
            raise ConfigError(f"{at}{shown}: a list; write {name}=[{value}].")
        if message := wrong_type(node, name, value):
            raise ConfigError(f"{at}{shown}: {message}")
    try:
        found = OmegaConf.to_object(node)
    except OmegaConfBaseException as error:  # a reference to another value
        raise ConfigError(f"{at}{' '.join(changes)}: {str(error).splitlines()[0]}.") from None
    if problems := [f"{at}{problem}" for problem in [*check(found), *_lists(found)]]:
        raise ConfigError("\n".join(problems))
    return found


def _parsed(change: str, at: str) -> tuple[str, Any, str]:
    """Name, value (... where there is none) and text; the value as YAML reads it."""
    name, sign, text = change.partition("=")
    if not sign:
        return name, ..., change
    try:
        value = OmegaConf.to_container(OmegaConf.from_dotlist([f"value={text}"]))["value"]  # type: ignore[call-overload, index]
    except (YAMLError, ValueError):
        raise ConfigError(f"{at}{change}: '{text}' is no value: a bracket or quote is not closed.") from None
    return name, value, change


def _lists(found: Any) -> list[str]:
    """What is wrong with the lists, besides their elements."""
    problems = []
    for field in dataclasses.fields(found):
        value = getattr(found, field.name)
        if value == [] and not field.metadata["empty"]:
            problems.append(f"{field.name}=[]: must not be empty.")
        elif isinstance(value, list) and (twice := [entry for entry in value if value.count(entry) > 1]):
            shown = twice[0] if isinstance(twice[0], str) else f"{twice[0]:g}"
            problems.append(f"{field.name}: {shown} is there twice.")
    return problems
