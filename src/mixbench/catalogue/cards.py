"""What `mixbench methods` prints: the list of all methods and options, and a short card for each."""

from __future__ import annotations

import dataclasses
import importlib
import textwrap
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any

from mixbench.catalogue.options import Option, options
from mixbench.errors import ConfigError
from mixbench.schema.knob import allowed, nearest
from mixbench.schema.methods import METHODS, TWO_NAMES, Method
from mixbench.schema.train import GROUPS

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
    return "  {:22}{:16}{:13}{:8}{}".format(*cells)


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
        yield from _entry(f"  {option.group}.{name}={plain(value)}", meaning, 30)


def plain(value: Any) -> str:
    """A value as it is written on the command line."""
    if isinstance(value, list):
        return f"[{','.join(map(plain, value))}]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value) or "''"


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
