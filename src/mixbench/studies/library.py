"""The published figures that are studies: conf/paper/PAPER/NAME.yaml with `kind: study`. Imports no torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mixbench.config import yaml_files
from mixbench.config.assign import assigned
from mixbench.errors import ConfigError
from mixbench.papers import library
from mixbench.papers.parse import study_table
from mixbench.papers.spec import Table
from mixbench.schema.knob import nearest
from mixbench.studies.study import STUDIES, Study, study

FIELDS = ("kind", "title", "source", "study", "parameters", "notes", "table")


@dataclass(frozen=True)
class Spec:
    """A study with the parameters that a figure is made with.

    `key` is such as zhang2021/fig3, or the name of a study with its own defaults. `notes` say what the paper leaves
    open, and what was chosen. `table` is the published table that the numbers fill, where they do.
    """

    key: str
    title: str
    source: str
    study: Study
    parameters: Any
    notes: tuple[str, ...] = ()
    table: Table | None = None
    changes: tuple[str, ...] = ()  # parameters that are not the spec's own, in words
    left_out: tuple[str, ...] = ()  # what the spec's own lists have and these have not, in words


def names() -> list[str]:
    """The keys of the published studies, paper by paper, in the order of their numbers."""
    return library.names(("study",))


def load(key: str, changes: Sequence[str] = ()) -> Spec:
    """The spec called `key`, or the study of that name, with `changes` such as "networks=20" to its parameters.

    Raises ConfigError for one that is not known, or is malformed, and for a value that is not allowed.
    """
    if key in STUDIES:
        found = study(key)
        return _changed(Spec(key, found.about, "", found, _parameters(found, {})), {}, changes)
    path = library.file_of(key)
    if not path.is_file():
        known = [*names(), *STUDIES]
        raise ConfigError(f"{key}: no such study.{nearest(key, known)}\nKnown: {', '.join(known)}.")
    given = yaml_files.load(path)
    if not isinstance(given, dict) or given.get("kind") != "study":
        raise ConfigError(f"{path}: is no study; it needs kind: study.")
    try:
        spec = _spec(key, {str(name): value for name, value in given.items()})
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    return _changed(spec, given.get("parameters", {}), changes)


def _spec(key: str, given: Mapping[str, Any]) -> Spec:
    for name in given:
        if name not in FIELDS:
            raise ConfigError(f"no '{name}'.{nearest(name, FIELDS)}\nKnown: {', '.join(FIELDS)}.")
    for name in ("title", "source", "study"):
        if not isinstance(given.get(name), str):
            raise ConfigError(f"{name}: must be a text, not {given.get(name)!r}.")
    notes = given.get("notes", [])
    if not isinstance(notes, list) or not all(isinstance(note, str) for note in notes):
        raise ConfigError(f"notes: must be a list of texts, not {notes!r}.")
    found = study(given["study"])
    parameters = _parameters(found, given.get("parameters", {}))
    about = {"title": given["title"], "source": given["source"], "notes": tuple(notes)}
    if "table" in given and found.table is None:
        raise ConfigError(f"table: the study {given['study']} fills none.")
    table = study_table(key, given["table"], **about) if "table" in given else None
    return Spec(key=key, study=found, parameters=parameters, table=table, **about)


def _changed(spec: Spec, given: Mapping[str, Any], changes: Sequence[str]) -> Spec:
    """The spec, of the parameters `given`, with `changes` to them."""
    if not changes:
        return spec
    parameters = _parameters(spec.study, given, changes, "--set ")
    names = [field.name for field in dataclasses.fields(parameters)]
    pairs = [(name, getattr(parameters, name), getattr(spec.parameters, name)) for name in names]
    words = tuple(f"{name} {ours}, not {theirs}" for name, ours, theirs in pairs if ours != theirs)
    lists = [(name, ours, theirs) for name, ours, theirs in pairs if isinstance(theirs, list)]
    without = ((name, [entry for entry in theirs if entry not in ours]) for name, ours, theirs in lists)
    left = tuple(f"{name} without {', '.join(map(str, entries))}" for name, entries in without if entries)
    return dataclasses.replace(spec, parameters=parameters, changes=words, left_out=left)


def _parameters(of: Study, given: Any, changes: Sequence[str] = (), at: str = "") -> Any:
    """The study's parameters with those `given` and `changes`, checked."""
    if not isinstance(given, dict):
        raise ConfigError(f"parameters: must be names with values, not {given!r}.")
    parameters = assigned(of.parameters, given, changes, at)
    parts = of.parts(parameters)
    if not parts:
        raise ConfigError(f"{at}{' '.join(changes)}: leaves nothing to compute.")
    if twice := [part for part in parts if parts.count(part) > 1]:
        raise ConfigError(f"{at}{' '.join(changes)}: asks twice for {twice[0]}: one set is in two lists.")
    return parameters
