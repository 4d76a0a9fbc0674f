"""The published figures that are studies: conf/paper/PAPER/NAME.yaml with `kind: study`. Imports no torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from mixbench.config import yaml_files
from mixbench.errors import ConfigError
from mixbench.papers import library
from mixbench.papers.parse import study_table
from mixbench.papers.spec import Table
from mixbench.schema.knob import check, nearest
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


def names() -> list[str]:
    """The keys of the published studies, paper by paper, in the order of their numbers."""
    return library.names(("study",))


def load(key: str, changes: Sequence[str] = ()) -> Spec:
    """The spec called `key`, or the study of that name, with `changes` such as "networks=20" to its parameters.

    Raises ConfigError for one that is not known, or is malformed, and for a value that is not allowed.
    """
    if key in STUDIES:
        found = study(key)
        plain = _parameters(found, {}, (), key)
        parameters = _parameters(found, {}, changes, key)
        return Spec(key, found.about, "", found, parameters, changes=_changed(plain, parameters))
    path = library.file_of(key)
    if not path.is_file():
        known = [*names(), *STUDIES]
        raise ConfigError(f"{key}: no such study.{nearest(key, known)}\nKnown: {', '.join(known)}.")
    given = yaml_files.load(path)
    if not isinstance(given, dict) or given.get("kind") != "study":
        raise ConfigError(f"{path}: is no study; it needs kind: study.")
    try:
        return _spec(key, {str(name): value for name, value in given.items()}, changes)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def _spec(key: str, given: Mapping[str, Any], changes: Sequence[str]) -> Spec:
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
    plain = _parameters(found, given.get("parameters", {}), (), "parameters")
    parameters = _parameters(found, given.get("parameters", {}), changes, "--set")
    about = {"title": given["title"], "source": given["source"], "notes": tuple(notes)}
    if "table" in given and found.table is None:
        raise ConfigError(f"table: the study {given['study']} fills none.")
    table = study_table(key, given["table"], **about) if "table" in given else None
    changed = _changed(plain, parameters)
    return Spec(key=key, study=found, parameters=parameters, table=table, changes=changed, **about)


def _changed(plain: Any, parameters: Any) -> tuple[str, ...]:
    """Such as "epochs 1, not 25"."""
    names = [field.name for field in dataclasses.fields(plain)]
    pairs = [(name, getattr(parameters, name), getattr(plain, name)) for name in names]
    return tuple(f"{name} {ours}, not {theirs}" for name, ours, theirs in pairs if ours != theirs)


def _parameters(of: Study, given: Any, changes: Sequence[str], at: str) -> Any:
    """The study's parameters with those `given` and `changes`, checked."""
    known = [field.name for field in dataclasses.fields(of.parameters)]
    node = OmegaConf.structured(of.parameters)
    try:
        node = OmegaConf.merge(node, given, OmegaConf.from_dotlist(list(changes)))
        parameters = OmegaConf.to_object(node)
    except (OmegaConfBaseException, YAMLError, ValueError, TypeError) as error:
        key = getattr(error, "key", None)
        reason = f"{f'{key}: ' if key is not None else ''}{str(error).splitlines()[0].rstrip('.')}"
        hint = nearest(str(key), known) if key is not None and str(key) not in known else ""
        raise ConfigError(f"{at}: {reason}.{hint}\nKnown: {', '.join(known)}.") from None
    problems = list(check(parameters))
    if problems:
        raise ConfigError("\n".join(problems))
    if not of.parts(parameters):
        raise ConfigError(f"{at}: {' '.join(changes)}: leaves nothing to compute.")
    return parameters
