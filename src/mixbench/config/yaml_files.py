"""YAML files that somebody else may have written: not read before it is known how much they amount to.

A few lines of references to references (*a) can stand for more values than any memory holds.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from omegaconf._utils import get_yaml_loader

from mixbench.errors import ConfigError

MOST_BYTES = 4 * 2**20  # the largest of ours has 20 kB
MOST_VALUES = 200_000
DEEPEST = 30
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # 10 times faster, where PyYAML was built with it
_PLAIN = ("null", "bool", "int", "float", "str", "seq", "map")  # kinds of values that a config may have


def _plain() -> type[Any]:
    """What reads texts by OmegaConf's rules (1e-3 is a number, a date is a text, no key comes twice) and _LOADER's
    parser, of plain values alone.
    """
    rules = get_yaml_loader()
    known = {f"tag:yaml.org,2002:{kind}" for kind in _PLAIN}
    makers = {tag: make for tag, make in rules.yaml_constructors.items() if tag is None or tag in known}
    bases = (rules,) if issubclass(rules, _LOADER) else (_LOADER, rules)
    return type("PlainLoader", bases, {"yaml_constructors": makers})


_PLAIN_LOADER = _plain()


def text_of(path: Path) -> str:
    """The text of a YAML file that is safe to load.

    Raises ConfigError that names the file for one that cannot be read, is no UTF-8 or no YAML, has more than
    MOST_BYTES, is nested deeper than DEEPEST, or stands for more than MOST_VALUES values.
    """
    try:
        if not path.is_file():
            raise ValueError("there is no such file.")
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise ValueError(f"it has more than {MOST_BYTES:,} bytes.")
        text = content.decode("utf-8-sig")
        if problem := _excess(text):
            raise ValueError(problem)
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: cannot be read: {_words(error)}") from None
    return text


def load(path: Path) -> Any:
    """What a YAML file says, as dicts, lists and plain values. Raises ConfigError that names the file."""
    text = text_of(path)
    try:
        found = values(text)
    except (ValueError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: cannot be read: {_words(error)}") from None
    if not isinstance(found, (dict, list, type(None))):
        raise ConfigError(f"{path}: cannot be read: it is no mapping of keys to values.")
    return {} if found is None else found


def values(text: str) -> Any:
    """What a YAML text that is safe to load says. Raises ValueError or YAMLError."""
    loader = _PLAIN_LOADER(text)
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()


def _words(error: Exception) -> str:
    """The reason on one line, without an excerpt of the file."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        return f"line {error.problem_mark.line + 1}: {error.problem}."
    return str(error).splitlines()[0]


def _excess(text: str) -> str:
    """What is too much in the YAML, counted without building it; empty where it is none. Raises YAMLError."""
    amounts = dict[str, int]()  # of values, by the anchor (&a) that names them
    parts: list[tuple[str | None, int]] = [(None, 0)]  # open at this place: anchor, and values so far
    for event in yaml.parse(text, Loader=_LOADER):
        if isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
            parts.append((event.anchor, 1))
            if len(parts) > DEEPEST:
                return f"it is nested deeper than {DEEPEST} levels, line {event.start_mark.line + 1}."
            continue
        anchor, amount = None, 0
        if isinstance(event, yaml.ScalarEvent):
            anchor, amount = event.anchor, 1
        elif isinstance(event, yaml.AliasEvent):
            if any(name == event.anchor for name, _ in parts):
                return f"*{event.anchor} stands inside of what it names, line {event.start_mark.line + 1}."
            amount = amounts.get(event.anchor, 0)
        elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            anchor, amount = parts.pop()
        if anchor is not None:
            amounts[anchor] = amount
        outer, before = parts[-1]
        parts[-1] = outer, before + amount
        if before + amount > MOST_VALUES:
            return f"it stands for more than {MOST_VALUES:,} values, line {event.start_mark.line + 1}."
    return ""
