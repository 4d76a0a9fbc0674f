"""What a run is: the part of its config that decides the result, its id, its directory."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import importlib
import json
from pathlib import Path
from typing import Any

from mixbench.files import expanded
from mixbench.inventory import remembered_of
from mixbench.schema.train import GROUPS, Train


def method(run: Train) -> str:
    """The run's method as a folder name: the seams that are not plain, e.g. `gmix-sam`, or `erm`."""
    augment, regularizer, opt = run.augment.name, run.regularizer.name, run.opt.name
    parts = [p for p in (augment, regularizer) if p != "none"]
    parts += [opt] if opt != "sgd" else []
    base = getattr(run.opt, "base", "sgd")  # of SAM and its kin
    parts += [base] if base != "sgd" else []
    return "-".join(parts) or "erm"


def scientific(node: Any) -> dict[str, Any]:
    """The part of a config that decides what is measured, as plain containers.

    A knob at its schema default is left out, so a knob that is added later with a default (and does then what
    was done before) leaves the identity of earlier runs as it was. Names are always kept.
    """
    kept: dict[str, Any] = {}
    for field in dataclasses.fields(node):
        value = getattr(node, field.name)
        if not field.metadata.get("scientific", True):
            continue
        if dataclasses.is_dataclass(value):
            part = remembered_of(value, "scientific", functools.partial(scientific, value))
            kept |= {field.name: part} if part else {}
        elif field.name == "name" or value != field.default:
            kept[field.name] = _unsigned(value)
    return kept


def _unsigned(value: Any) -> Any:
    """The value with 0.0 for -0.0, which is the same number."""
    if isinstance(value, list):
        return [_unsigned(item) for item in value]
    return 0.0 if isinstance(value, float) and value == 0 else value


def flat(run: Train, *, all_keys: bool = True) -> dict[str, Any]:
    """Values by the key that sets them on the command line: {"augment": "gmix", "augment.alpha": 0.5, ...}.

    `all_keys=False` leaves out those that do not decide the result, such as the device.
    """
    values: dict[str, Any] = {}
    for group in dataclasses.fields(run):
        option = getattr(run, group.name)
        nested = dataclasses.is_dataclass(option)
        for field, owner in [(f, option) for f in dataclasses.fields(option)] if nested else [(group, run)]:
            key = f"{group.name}.{field.name}".removesuffix(".name") if nested else field.name
            if all_keys or all(f.metadata.get("scientific", True) for f in (group, field)):
                values[key] = getattr(owner, field.name)
    return values


@functools.cache
def shipped_knobs() -> dict[str, list[dataclasses.Field]]:
    """The fields of all shipped options, by the key that sets them; first those of the run itself."""
    fields = {field.name: [field] for field in dataclasses.fields(Train)}
    for group in GROUPS:
        for schema in importlib.import_module(f"mixbench.schema.{group}").OPTIONS.values():
            for field in dataclasses.fields(schema):
                fields.setdefault(f"{group}.{field.name}", []).append(field)
    return fields


@functools.cache
def repetitions() -> tuple[str, ...]:
    """The keys that only repeat a run, the seed first: runs that differ in nothing else are of one setting."""
    knobs = shipped_knobs().items()
    return tuple(key for key, fields in knobs if any(field.metadata.get("repeats") for field in fields))


def run_id(run: Train) -> str:
    """Twelve hexadecimal digits that name the scientific part of the config."""
    return id_of(scientific(run))


def id_of(values: dict[str, Any]) -> str:
    """The id of the run whose scientific part is `values`."""
    text = json.dumps(values, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def run_dir(run: Train) -> Path:
    """`<output_dir>/<dataset>/<model>/<method>/<id>`: the same science is the same directory."""
    from mixbench.schema.model import label

    return expanded(run.output_dir) / run.dataset.label() / label(run.model) / method(run) / run_id(run)
