"""All options that there are, ours and those of plugins, and how Hydra gets to know them."""

from __future__ import annotations

import dataclasses
import functools
import re
from dataclasses import dataclass
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.object_type import ObjectType
from omegaconf import OmegaConf

from mixbench.config import library, plugins, yaml_files
from mixbench.schema.train import GROUPS

# How an option file says which schema it fills.
SCHEMA = re.compile(r"^defaults: \[/schema/\w+/(\w+)@_here_\]", re.MULTILINE)


@dataclass(frozen=True)
class Option:
    """One option of a group: its file, its schema, and the values of all fields, those that the file sets first.

    `node` is the schema with these values, as Hydra composes it.
    """

    group: str
    name: str
    text: str
    schema: type
    values: dict[str, Any]
    node: Any


def schemas(group: str) -> dict[str, type]:
    """The dataclasses of a group by name, those of plugins behind ours."""
    registered = plugins.options(group).values()
    return library.schemas(group) | {option.name: option.schema for option in registered}


def names(group: str) -> list[str]:
    """The options of a group: ours in alphabetical order, then those of plugins."""
    return [*library.files(group), *plugins.options(group)]


def options(group: str) -> list[Option]:
    """The options of a group with all there is to know of them, in the order of `names`."""
    files = {name: path.read_text(encoding="utf-8") for name, path in library.files(group).items()}
    files |= {name: option.text for name, option in plugins.options(group).items()}
    return [_option(group, name, text) for name, text in files.items()]


def option(group: str, name: str) -> Option | None:
    """The option of a group that has this name; None where there is none."""
    theirs, ours = plugins.options(group), library.files(group)
    if name in ours:
        return _option(group, name, ours[name].read_text(encoding="utf-8"))
    return _option(group, name, theirs[name].text) if name in theirs else None


@functools.cache
def _option(group: str, name: str, text: str) -> Option:
    line = SCHEMA.search(text)
    assert line, f"{group}={name} must say: defaults: [/schema/{group}/<name>@_here_]"
    schema = schemas(group)[line[1]]
    file = yaml_files.values(text)
    del file["defaults"]
    node = OmegaConf.merge(OmegaConf.structured(schema), file)
    found: Any = OmegaConf.to_container(node)
    ordered = {key: found[key] for key in dict.fromkeys([*file, *found])}
    return Option(group, name, text, schema, ordered, node)


def given(group: str, option: Any) -> str:
    """The choice that gives this option, "wrn16_4" for a `wrn` of that depth and width; without one, its own name."""
    alike = [found for found in options(group) if found.schema is type(option)]
    values = dataclasses.asdict(option)
    named = [found.name for found in alike if len(alike) == 1 or found.values == values]
    return named[0] if named else str(option.name)


def register() -> None:
    """Make the schemas known to Hydra as `schema/<group>/<name>`, and plugins' options as `<group>/<name>`.

    Harmless when called again. Raises ConfigError for a plugin that does not load.
    """
    store = ConfigStore.instance()
    for name, schema in library.schemas("train").items():
        _store(store, "schema", name, schema)
    for group in GROUPS:
        for name, schema in schemas(group).items():
            _store(store, f"schema/{group}", name, schema)
        for name, option in plugins.options(group).items():
            _store(store, group, name, OmegaConf.create(option.text))


def _store(store: ConfigStore, group: str, name: str, node: Any) -> None:
    if store.get_type(f"{group}/{name}.yaml") == ObjectType.NOT_FOUND:
        store.store(group=group, name=name, node=node, provider="mixbench")
