"""The reference pages of the documentation site, made from schemas, commands and the table of methods."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import io
import os
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any
from unittest import mock

from mixbench.catalogue.cards import plain
from mixbench.catalogue.help import EXAMPLES, OPTIONS
from mixbench.catalogue.options import Option, options
from mixbench.cli import COMMANDS, run
from mixbench.config.compose import compose
from mixbench.config.identity import flat
from mixbench.schema.knob import MISSING, allowed
from mixbench.schema.methods import METHODS, TWO_NAMES
from mixbench.schema.train import GROUPS, own_knobs

CALL = ["__call__"]
# heading: (what stands below it, {name: the members shown besides the constructor})
PYTHON: dict[str, tuple[str, dict[str, list[str]]]] = {
    "Mixing": (
        "`from mixbench.augment import ...`. All of them are called as `mix(images, labels)`.",
        {
            "mixbench.augment.base.MaskMix": CALL,
            "mixbench.augment.ratio.BetaMix": [],
            **{
                f"mixbench.augment.{name}": []
                for name in ("Mixup", "CutMix", "MixupCutMix", "HMix", "GMix", "PuzzleMix", "ManifoldMixup")
            },
            "mixbench.augment.NoMix": [],
        },
    ),
    "Update rules": (
        "`from mixbench.optim import ...`. All of them are called as `rule.step(closure)`.",
        {
            "mixbench.optim.Descent": ["step", "state_dict", "load_state_dict"],
            **{f"mixbench.optim.{name}": [] for name in ("SAM", "GSAM", "LookSAM", "BGMix", "DGMix")},
        },
    ),
    "Objectives": (
        "`from mixbench.regularize import ...`.",
        {"mixbench.regularize.MixupE": CALL, "mixbench.regularize.NoRegularizer": CALL},
    ),
    "A finished run": (
        "`from mixbench import load_run`.",
        {
            "mixbench.training.restore.load_run": [],
            "mixbench.training.restore.LoadedRun": ["class_names", "model", "predict", "splits", "examples"],
        },
    ),
    "Plugins": (
        "`from mixbench.plugins import register`, `from mixbench.schema.knob import knob`. What these do together "
        "stands in [options of your own](../examples.md).",
        {"mixbench.config.plugins.register": [], "mixbench.schema.knob.knob": []},
    ),
}


def pages() -> dict[str, str]:
    """The text of every page by its place on the site."""
    return {
        "methods/index.md": _methods(),
        "reference/run.md": _run(),
        **{f"reference/{group}.md": _group(group) for group in GROUPS},
        "reference/commands.md": _commands(),
        "reference/python.md": _python(),
    }


# --- methods and options ------------------------------------------------------------------------


def _methods() -> str:
    rows = [
        (
            f"[{m.title}]({m.name}.md)",
            m.paper,
            *(f"`{choice}`" for choice in (m.augment, m.regularizer, m.opt)),
        )
        for m in METHODS
    ]
    return _page(
        "Methods",
        "A method is a choice in three groups. `mixbench methods` prints this list, `mixbench methods NAME` a card.",
        _table(("method", "paper", "augment", "regularizer", "opt"), rows),
        TWO_NAMES,
        "![Two images mixed by each method, with its mask and label](../pictures/gallery.png)",
    )


def _run() -> str:
    defaults = flat(compose([]))
    return _page(
        "Keys of a run",
        "Set as `KEY=VALUE` on the command line of `mixbench train`. Keys of the options, such as `opt.rho`, stand on "
        "the pages of the groups. *Kept out of the id*: the key does not decide what is measured.",
        _knobs((key, field, defaults[key]) for key, field in own_knobs()),
    )


def _group(group: str) -> str:
    about = (importlib.import_module(f"mixbench.schema.{group}").__doc__ or "").partition(": ")[2]
    parts = [group, f"Chosen by `{group}=NAME`: {about.partition('.')[0]}."]
    for _, members in groupby(options(group), lambda option: option.schema):
        parts += _family(list(members))
    return _page(*parts)


def _family(members: list[Option]) -> Iterator[str]:
    """The options of one schema: what each is, its own values, and the knobs that they have in common."""
    names = [option.name for option in members]
    yield f"## {', '.join(names)}"
    group = members[0].group
    fields = [field for field in dataclasses.fields(members[0].schema) if field.name != "name"]
    values = {f.name: [plain(option.knobs[f.name]) for option in members] for f in fields}
    own = [name for name in values if len(set(values[name])) > 1]
    if len(members) == 1:
        yield f"{members[0].line}.\n\nSource: {members[0].source}."
    else:
        yield _table(("option", "is"), [(f"`{o.name}`", f"{o.line}. *Source:* {o.source}.") for o in members])
        rows = zip(names, *(values[name] for name in own), strict=True)
        heads = "option", *(f"{group}.{name}" for name in own)
        yield _table(heads, [[f"`{cell}`" for cell in row] for row in rows])
    if fields:
        shown = [(f, "above" if f.name in own else members[0].knobs[f.name]) for f in fields]
        yield _knobs((f"{group}.{f.name}", f, value) for f, value in shown)


def _knobs(knobs: Iterable[tuple[str, dataclasses.Field, Any]]) -> str:
    """A table of keys with their fields and defaults."""
    rows = []
    for key, field, default in knobs:
        choices = [f"`{choice}`" for choice in field.metadata["choices"] or ()]
        limits = allowed(field.metadata["limits"])
        meaning = field.metadata["doc"] + "; *kept out of the id*" * (not field.metadata["scientific"])
        rows.append(
            (f"`{key}`", _value(default), ", ".join([*choices, *([limits] if limits else [])]), meaning)
        )
    return _table(("key", "default", "allowed", "meaning"), rows)


def _value(value: Any) -> str:
    """A default as it is written on the command line; empty where the reader must give one."""
    return value if value == "above" else "" if value == MISSING else f"`{plain(value)}`"


# --- commands and Python ------------------------------------------------------------------------


def _commands() -> str:
    parts = ["Commands", "What `mixbench COMMAND --help` prints."]
    for name, line in COMMANDS.items():
        parts += [f"## {name}", f"{line[0].upper()}{line[1:]}.", f"```text\n{_help(name)}\n```"]
    return _page(*parts)


def _help(command: str) -> str:
    if command == "train":  # whose keys have pages of their own
        return f"{EXAMPLES.rpartition(chr(10) * 2)[0]}\n\n{OPTIONS}"
    printed = io.StringIO()
    quiet = contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit)
    with mock.patch.dict(os.environ, COLUMNS="100"), quiet[0], quiet[1]:
        run([command, "--help"])
    return printed.getvalue().strip()


def _python() -> str:
    parts = ["Python", "What a program may use. All else in the package may change without notice."]
    for heading, (text, names) in PYTHON.items():
        parts += [f"## {heading}", text]
        parts += [f"::: {name}\n    options:\n      members: {members}" for name, members in names.items()]
    return _page(*parts)


# --- Markdown -----------------------------------------------------------------------------------


def _page(title: str, *parts: str) -> str:
    return "\n\n".join([f"# {title}", *filter(None, parts)]) + "\n"


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [list(head), ["---"] * len(list(head)), *map(list, rows)]
    return "\n".join("| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |" for line in lines)
