"""Every option of every group as people read of it: one line, its source, its knobs. Imports nothing heavy."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections import Counter
from typing import Any

from mixbench.config import options as config
from mixbench.schema.published import PUBLISHED


@dataclasses.dataclass(frozen=True)
class Option:
    """One option of a group: what its schema says, and the knobs' values in its file."""

    group: str
    name: str
    line: str
    source: str
    schema: type
    knobs: dict[str, Any]


def options(group: str) -> list[Option]:
    """The options of a group, in the order of its schemas and of the numbers in their names."""
    found = config.options(group)
    order = list(config.schemas(group).values())
    members = Counter(option.schema for option in found)
    return [
        _described(option, members[option.schema] > 1)
        for option in sorted(found, key=lambda o: (order.index(o.schema), _natural(o.name)))
    ]


def _described(option: config.Option, of_many: bool) -> Option:
    """The option with its texts; `of_many`: others share its schema, which then speaks of the family."""
    line, source = _documentation(option.schema)
    if of_many:
        line = option.text.partition("\n")[0].lstrip("# ")
    if option.values["name"] in PUBLISHED:
        source = PUBLISHED[option.name].source
    knobs = {key: value for key, value in option.values.items() if key != "name"}
    return Option(option.group, option.name, line, source, option.schema, knobs)


def _documentation(schema: type) -> tuple[str, str]:
    """The first sentence and the source in a schema's docstring."""
    about, _, source = (inspect.getdoc(schema) or "").partition("Source:")
    return " ".join(about.partition("\n\n")[0].split()).rstrip("."), " ".join(source.split()).rstrip(".")


def _natural(text: str) -> list[tuple[int, str]]:
    """A sorting key under which resnet18 comes before resnet101."""
    return [(int(number or 0), word) for number, word in re.findall(r"(\d+)|(\D+)", text)]
