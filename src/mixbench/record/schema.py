"""What a record holds, as types: of summary.json, env.json and epochs.csv, checked where they are read.

A record may come from somebody else. What is behind `record.read` needs no second look: a value is of the type that is
written here, and what is of any type holds no more than `parsed` gives. What is not there is not there: a key that
older versions did not write is no fault.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

STATES = ("running", "finished", "interrupted", "failed")  # that a summary may tell
DIGITS = 18  # of a whole number, so that it fits into 64 bits
DEPTH = 8  # of lists and objects in a value of any type
MOST_EPOCHS = 1_000_000  # as of the knob `epochs`
# In bytes, what is read of a file at most. A row of 40 columns of 17 digits has 800.
MOST_JSON, MOST_ROWS = 2**24, 2**30

Check = Callable[[Any], None]


class Misfit(ValueError):
    """What is wrong with a value: in words, which follow the keys that lead to it."""

    def __init__(self, words: str) -> None:
        self.keys, self.words = list[str](), words

    def at(self, key: object) -> Misfit:
        """The same, of a value that lies under `key`."""
        self.keys.insert(0, str(key))
        return self

    def __str__(self) -> str:
        where = ".".join(key if key.isprintable() and len(key) < 80 else shown(key) for key in self.keys)
        return f"{where or 'it'} {self.words}"


def misfit(found: Any, expected: str) -> Misfit:
    """What is wrong with a value of another kind than its place."""
    return Misfit(f"is {shown(found)}; expected is {expected}")


def shown(value: Any, most: int = 40) -> str:
    """A value in a message: the beginning of a plain one, the type of any other."""
    if type(value) in (str, int, float, bool, type(None)):
        text = ascii(value)
        return text if len(text) <= most else f"{text[:most]}..."
    return f"a {type(value).__name__}"


def whole_number(text: str) -> int | float:
    """The whole number of a text: of more than DIGITS digits the nearest float, which may be infinite."""
    return int(text) if len(text) <= DIGITS else float(text)


_decoder = json.JSONDecoder(
    parse_int=whole_number, parse_constant=lambda name: None if name == "NaN" else float(name)
)


def parsed(content: bytes) -> Any:
    """The value in a JSON file, with `whole_number`s, None for NaN, and texts that can be encoded.

    Raises ValueError, RecursionError.
    """
    text = content.decode()
    value = _decoder.decode(text)
    if "\\u" in text:
        json.dumps(value, ensure_ascii=False).encode()  # half a character (a lone surrogate) cannot be
    return value


# ---------------------------------------------------------------- values

SHA256, FILE_NAME = re.compile("[0-9a-f]{64}"), re.compile(r"[\w-][\w.-]{0,254}", re.ASCII)
SCALARS = frozenset((str, bool, int, float, type(None)))
NUMBERS = frozenset((int, float, type(None)))


def text(value: Any) -> None:
    """A text."""
    if type(value) is not str:
        raise misfit(value, "a text")


def number(value: Any) -> None:
    """A number, or null for NaN; infinities are numbers."""
    if type(value) not in NUMBERS:
        raise misfit(value, "a number or null")


def amount(value: Any) -> None:
    """A finite number >= 0, or null."""
    if type(value) not in NUMBERS or not 0 <= (value or 0) < math.inf:
        raise misfit(value, "a finite number >= 0, or null")


def whole(least: int) -> Check:
    """A whole number >= `least`."""

    def check(value: Any) -> None:
        if type(value) is not int or value < least:
            raise misfit(value, f"a whole number >= {least}")

    return check


def state(value: Any) -> None:
    """How a run stands."""
    if type(value) is not str or value not in STATES:
        raise misfit(value, f"one of {', '.join(STATES)}")


def digest(value: Any) -> None:
    """A SHA-256 in hexadecimal."""
    if type(value) is not str or not SHA256.fullmatch(value):
        raise misfit(value, "a SHA-256 in hexadecimal")


def optional(check: Check) -> Check:
    """Null, or what `check` takes."""
    return lambda value: None if value is None else check(value)


def anything(value: Any, depth: int = DEPTH) -> None:
    """A value of any type, with containers in containers down to a depth."""
    if type(value) in SCALARS:
        return
    if type(value) not in (list, dict):
        raise misfit(value, "plain")
    if not depth:
        raise Misfit(f"has more than {DEPTH} lists and objects in each other")
    for key, entry in value.items() if type(value) is dict else enumerate(value):
        try:
            anything(entry, depth - 1)
        except Misfit as error:
            raise error.at(key) from None


def listing(each: Check) -> Check:
    """A list whose entries fit."""

    def check(value: Any) -> None:
        if type(value) is not list:
            raise misfit(value, "a list")
        for place, entry in enumerate(value):
            try:
                each(entry)
            except Misfit as error:
                raise error.at(place) from None

    return check


# The types that are all that such a check asks for.
QUICK: Mapping[Any, frozenset[Any]] = {number: NUMBERS, anything: SCALARS, text: frozenset((str,))}


def mapping(each: Check, known: Mapping[str, Check] | None = None, name: Check | None = None) -> Check:
    """An object whose values fit: some, by their names, what is `known`. `name` checks the names."""
    quick = QUICK.get(each, frozenset())
    known = known or {}

    def check(value: Any) -> None:
        if type(value) is not dict:
            raise misfit(value, "an object")
        # For the most part of 10,000 runs the types alone tell, and no value is looked at for itself.
        plain = quick.issuperset(map(type, value.values()))
        for key in [key for key in known if key in value] if plain else value:
            try:
                if name:
                    name(key)
                known.get(key, each)(value[key])
            except Misfit as error:
                raise error.at(key) from None

    return check


def _file_name(value: str) -> None:
    if not FILE_NAME.fullmatch(value):
        raise misfit(value, "the name of a file in the run's own folder")


# ---------------------------------------------------------------- files

SUMMARY: dict[str, Check] = {
    "state": state,
    "config": mapping(anything),
    "starts": whole(0),
    "error": optional(text),
    "selections": mapping(mapping(number, {"epoch": whole(1)})),
    "files": mapping(digest, name=_file_name),
    "data": mapping(text),
    "history": listing(mapping(anything)),
    "kept": mapping(whole(0)),
    "changed_since_start": listing(text),
    **dict.fromkeys(
        ("id", "dataset", "model", "method", "started", "ended", "launch", "data_note", "unit"), text
    ),
    **dict.fromkeys(("train_seconds", "eval_seconds", "images_per_second", "peak_memory_bytes"), amount),
}
_summary = mapping(anything, SUMMARY)

ENVIRONMENT: dict[str, Check] = {
    "packages": mapping(text),
    "plugins": mapping(text),
    **dict.fromkeys(
        ("mixbench", "commit", "uncommitted", "python", "device", "device_name", "cpu", "system", "host", "command"),
        optional(text),
    ),
}  # fmt: skip
_environment = mapping(anything, ENVIRONMENT)


def check_summary(content: Any) -> None:
    """Raise Misfit unless it is the summary of a run."""
    _summary(content)
    for key in ("state", "config"):
        if key not in content:
            raise Misfit(f"has no {key}")
    if content["state"] == "finished" and not {"last", "best_test"} <= content.get("selections", {}).keys():
        raise Misfit("has no selections last and best_test")


def check_environment(content: Any) -> None:
    """Raise Misfit unless it says what trained a run."""
    _environment(content)


def check_rows(rows: Sequence[Mapping[str, Any]]) -> None:
    """Raise Misfit unless the epochs of the rows are whole numbers that rise."""
    if len(rows) > MOST_EPOCHS:
        raise Misfit(f"has {len(rows)} rows; expected are at most {MOST_EPOCHS}")
    before = 0
    for row in rows:
        epoch = row.get("epoch")
        if type(epoch) is not int or epoch <= before:
            raise Misfit(f"has epoch {shown(epoch)} where a whole number > {before} follows")
        before = epoch
