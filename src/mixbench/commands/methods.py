"""`mixbench methods`: every option of every group with its source, and a short card for each."""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import inspect
import re
import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from mixbench.catalogue.methods import METHODS, TWO_NAMES, Method
from mixbench.config.compose import conf_dir
from mixbench.errors import ConfigError
from mixbench.schema.knob import allowed, nearest
from mixbench.schema.specs import SPECS
from mixbench.schema.train import GROUPS


@dataclasses.dataclass(frozen=True)
class Option:
    """One option of a group: what its schema says, and the knobs' values in its file under conf/."""

    group: str
    name: str
    line: str
    source: str
    schema: type
    knobs: dict[str, Any]


def main(argv: list[str]) -> int:
    """The exit status of `mixbench methods ARGV`. Raises ConfigError for an unknown name."""
    parser = argparse.ArgumentParser(
        prog="mixbench methods",
        description="List every data set, model, method and schedule with its source, or show the card of one.",
    )
    parser.add_argument("name", nargs="?", help="an option, such as gmix, or a paper's method, such as G-Mix")
    picture = parser.add_argument_group("a figure of what the mixing methods do to two images")
    picture.add_argument(
        "--gallery", type=Path, metavar="FILE", help="draw it into FILE (.png, .pdf or .svg)"
    )
    picture.add_argument(
        "--images",
        metavar="NAME",
        help="take the first two test images of different class in this data set (default: cifar10 if it is"
        " prepared, else digits)",
    )
    picture.add_argument("--seed", type=int, default=0, help="of what is drawn at random (default: 0)")
    arguments = parser.parse_args(argv)
    if arguments.gallery:
        if arguments.name:
            parser.error(f"--gallery shows all methods at once: leave out {arguments.name}")
        from mixbench.catalogue.gallery import write_gallery

        print(write_gallery(arguments.gallery, arguments.images, arguments.seed))
        return 0
    if arguments.images or arguments.seed:
        parser.error("--images and --seed go with --gallery FILE")
    name = arguments.name
    print("\n".join(listing() if name is None else cards(name)))
    return 0


# --- reading the options ------------------------------------------------------------------------


def options(group: str) -> list[Option]:
    """The options of a group, in the order of its schemas and of the numbers in their names."""
    registry = importlib.import_module(f"mixbench.schema.{group}").OPTIONS
    files: dict[Path, Any] = {p: OmegaConf.load(p) for p in (conf_dir() / group).glob("*.yaml")}
    # `gmix` where the file starts with `defaults: [/schema/augment/gmix@_here_]`
    schemas = {p: f.pop("defaults")[0].rpartition("/")[2].partition("@")[0] for p, f in files.items()}
    members = Counter(schemas.values())
    found = []
    for path in sorted(files, key=lambda p: (list(registry).index(schemas[p]), _natural(p.stem))):
        line, source = _documentation(registry[schemas[path]])
        if (
            members[schemas[path]] > 1
        ):  # the schema speaks of the family, the file's first comment of this one
            line = path.read_text(encoding="utf-8").partition("\n")[0].lstrip("# ")
        if group == "dataset" and path.stem in SPECS:
            source = SPECS[path.stem].source
        knobs = _knobs(registry[schemas[path]], files[path])
        found.append(Option(group, path.stem, line, source, registry[schemas[path]], knobs))
    return found


def _documentation(schema: type) -> tuple[str, str]:
    """The first sentence and the source in a schema's docstring."""
    about, _, source = (inspect.getdoc(schema) or "").partition("Source:")
    return " ".join(about.partition("\n\n")[0].split()).rstrip("."), " ".join(source.split()).rstrip(".")


def _knobs(schema: type, file: Any) -> dict[str, Any]:
    """All knobs with their values, those of the file first."""
    values = OmegaConf.to_container(OmegaConf.merge(OmegaConf.structured(schema), file))
    assert isinstance(values, dict)
    return {str(k): values[k] for k in dict.fromkeys([*file, *values]) if k != "name"}


def _natural(text: str) -> list[tuple[int, str]]:
    """A sorting key under which resnet18 comes before resnet101."""
    return [(int(number or 0), word) for number, word in re.findall(r"(\d+)|(\D+)", text)]


# --- the list -----------------------------------------------------------------------------------


def listing() -> Iterator[str]:
    """All methods as choices in three groups, and all options of all groups."""
    yield "A method is a choice in three groups:"
    yield ""
    yield _row("method", "augment", "regularizer", "opt", "paper")
    for m in METHODS:
        yield _row(m.title, m.augment, m.regularizer, m.opt, m.paper)
    yield ""
    yield from _wrap(TWO_NAMES)
    yield ""
    yield "mixbench methods NAME shows knobs, formula and source of one: gmix, G-Mix, ..."
    for group in GROUPS:
        module = importlib.import_module(f"mixbench.schema.{group}")
        yield ""
        yield f"{group}: {(module.__doc__ or '').partition(': ')[2].partition('.')[0]}"
        for source, members in groupby(options(group), lambda o: o.source):
            for option in members:
                yield from _entry("  " + option.name, option.line, 19)
            yield from _wrap(f"Source: {source}", " " * 21)


def _row(*cells: str) -> str:
    return "  {:23}{:16}{:13}{:8}{}".format(*cells)


# --- the cards ----------------------------------------------------------------------------------


def cards(name: str) -> Iterator[str]:
    """The short cards of all that has this name: an option of a group, or a method under a paper's name."""
    every = [o for group in GROUPS for o in options(group)]
    by_title = {m.title.lower(): m.name for m in METHODS}
    wanted = name if any(o.name == name for o in every) else by_title.get(name.lower(), name)
    found = [o for o in every if o.name == wanted]
    method = next((m for m in METHODS if m.name == wanted), None)
    if not found and not method:
        known = [*(o.name for o in every), *(m.title for m in METHODS)]
        raise ConfigError(
            f"{name}: no such option or method.{nearest(name, known)} `mixbench methods` lists all."
        )
    for option in found:
        yield from _option_card(option, method)
    if method and not found:
        yield from _method_card(method, [o for o in every if o.name == getattr(method, o.group, "")])


def _option_card(option: Option, method: Method | None) -> Iterator[str]:
    yield f"{option.group}={option.name}"
    yield from _wrap(option.line, "  ")
    if method:
        yield from _formula(method)
    if option.knobs:
        yield from _section("Knobs with their defaults", _knob_lines(option))
    yield from _section("Source", _wrap(option.source, "  "))
    if method:
        yield from _use(method)
    yield ""


def _method_card(method: Method, chosen: list[Option]) -> Iterator[str]:
    """The card of a method without an option of its own; `chosen` are the options that make it up."""
    yield f"{method.title} ({method.paper})"
    yield from _wrap(method.about, "  ")
    yield from _formula(method)
    yield from _section("Knobs with their defaults", [line for o in chosen for line in _knob_lines(o)])
    yield from _use(method)
    yield ""


def _formula(method: Method) -> Iterator[str]:
    return _section("Formula", [f"  {line}" for line in method.formula])


def _use(method: Method) -> Iterator[str]:
    yield from _section("Train", [f"  {method.command}"])
    if method.note:
        yield from _section("Note", _wrap(method.note, "  "))
    yield from _section("Full card", [f"  docs/methods/{method.name}.md"])


def _knob_lines(option: Option) -> Iterator[str]:
    """Each knob with its value, meaning and range, as `group.knob=value   meaning [range]`."""
    metadata = {f.name: f.metadata for f in dataclasses.fields(option.schema)}
    for name, value in option.knobs.items():
        limits = allowed(metadata[name]["limits"]) or " | ".join(metadata[name]["choices"] or ())
        meaning = metadata[name]["doc"] + (f" [{limits}]" if limits else "")
        yield from _entry(f"  {option.group}.{name}={_plain(value)}", meaning, 30)


def _plain(value: Any) -> str:
    """A value as it is written on the command line."""
    if isinstance(value, list):
        return f"[{','.join(map(_plain, value))}]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value)


# --- text of at most 79 columns -----------------------------------------------------------------


def _section(title: str, lines: Iterable[str]) -> Iterator[str]:
    yield ""
    yield title
    yield from lines


def _entry(head: str, text: str, column: int) -> list[str]:
    """`head` and, from `column` on, `text`; below each other where the head is too long."""
    above = [head] if len(head) > column - 2 else []
    return above + _wrap(text, " " * column, " " * column if above else head.ljust(column))


def _wrap(text: str, indent: str = "", first: str | None = None) -> list[str]:
    """Lines of `text` with an indent; `first` takes its place before the first line."""
    start = indent if first is None else first
    return textwrap.wrap(
        text,
        79,
        initial_indent=start,
        subsequent_indent=indent,
        break_on_hyphens=False,
        break_long_words=False,
    )
