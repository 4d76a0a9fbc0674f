"""`mixbench methods`: every option of every group with its source, and a short card for each."""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import inspect
import re
import textwrap
from collections import Counter
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from mixbench.config import conf_dir
from mixbench.data.specs import SPECS
from mixbench.errors import ConfigError
from mixbench.methods import METHODS, TWO_NAMES, Method
from mixbench.schema.knob import allowed, nearest
from mixbench.schema.train import GROUPS

WIDTH = 79


@dataclasses.dataclass(frozen=True)
class Option:
    """One option of a group, as its file under conf/ and its schema describe it; `knobs` maps names to values."""

    group: str
    name: str
    line: str
    source: str
    knobs: dict[str, Any]
    schema: type


def main(argv: list[str]) -> int:
    """The exit status of `mixbench methods ARGV`. Raises ConfigError for an unknown name."""
    parser = argparse.ArgumentParser(
        prog="mixbench methods",
        description="List every data set, model, method and schedule with its source; or show one of them.",
    )
    parser.add_argument("name", nargs="?", help="an option, such as gmix, or a paper's method, such as G-Mix")
    name = parser.parse_args(argv).name
    print("\n".join(listing() if name is None else card(name)))
    return 0


def options(group: str) -> list[Option]:
    """The options of a group: in the order of its schemas, and of the numbers in their names."""
    registry = importlib.import_module(f"mixbench.schema.{group}").OPTIONS
    files = {p: _schema_name(p) for p in (conf_dir() / group).glob("*.yaml")}
    order = list(registry)
    ranked = sorted(files, key=lambda p: (order.index(files[p]), _numbers_as_numbers(p.stem)))
    shared = Counter(files.values())
    return [_option(group, p, registry[files[p]], alone=shared[files[p]] == 1) for p in ranked]


def _schema_name(path: Path) -> str:
    """`gmix` for a file that starts with `defaults: [/schema/augment/gmix@_here_]`."""
    return OmegaConf.load(path).defaults[0].rpartition("/")[2].partition("@")[0]


def _numbers_as_numbers(text: str) -> list[tuple[int, str]]:
    return [(int(digits or -1), word) for digits, word in re.findall(r"(\d+)|(\D+)", text)]


def _option(group: str, path: Path, schema: type, alone: bool) -> Option:
    about, _, source = (inspect.getdoc(schema) or "").partition("Source:")
    line = about.partition("\n\n")[0].replace("\n", " ").strip()
    if not alone:  # the schema describes the whole family, the file's first comment this member
        line = path.read_text().partition("\n")[0].lstrip("# ")
    if group == "dataset":
        source = SPECS[path.stem].source
    fields = {f.name: f for f in dataclasses.fields(schema) if f.name != "name"}
    values: dict[str, Any] = dict(OmegaConf.to_container(OmegaConf.load(path)))  # type: ignore[arg-type]
    knobs = {k: values[k] for k in values if k in fields} | {
        k: None if f.default is dataclasses.MISSING else f.default for k, f in fields.items() if k not in values
    }
    return Option(group, path.stem, line, " ".join(source.split()), knobs, schema)
