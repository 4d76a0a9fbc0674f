"""`knob`: a dataclass field that knows its meaning, unit and allowed range.

The option schemas in this package are built from knobs. They import nothing heavy, so a wrong value is
reported before torch is loaded.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import json
import math
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import Any

from omegaconf import MISSING

__all__ = ["MISSING", "check", "knob", "nearest"]


def knob(
    doc: str,
    *,
    default: Any = MISSING,
    above: float | None = None,
    at_least: float | None = None,
    below: float | None = None,
    at_most: float | None = None,
    choices: Sequence[str] | Sequence[int] | None = None,
    scientific: bool = True,
    empty: bool = False,
    repeats: bool = False,
) -> Any:
    """A config field with its documentation and limits.

    `doc` says what the value means, with its unit. `above`/`below` are exclusive limits, `at_least`/`at_most`
    inclusive ones; for a list they hold for every element. `choices` lists the allowed strings, or the
    allowed whole numbers; a field of numbers or strings, `int | str`, has limits and choices of strings. A field with
    `scientific=False` does not change what is measured and is left out of the run's identity. The value itself
    normally stands in the option's YAML file, so `default` is given only where no YAML file sets it.
    One that `repeats` a run, such as the seed, is no part of a setting: results are averaged over its values.
    An `empty` list is allowed only where that is said, in what is set by NAME=VALUE (`config.assign`).
    """
    limits = {"above": above, "at_least": at_least, "below": below, "at_most": at_most}
    metadata = {"doc": doc, "limits": limits, "choices": choices, "scientific": scientific, "empty": empty}
    metadata["repeats"] = repeats
    if isinstance(default, list):
        return dataclasses.field(default_factory=lambda: list(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def nearest(word: str, known: Sequence[str]) -> str:
    """`" Did you mean 'x'?"` for the known word closest to `word`, or an empty string."""
    found = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f" Did you mean '{found[0]}'?" if found else ""


def allowed(limits: dict[str, float | None]) -> str:
    """The limits in words, for messages and help: `"> 0 and <= 1"`."""
    signs = {"above": ">", "at_least": ">=", "below": "<", "at_most": "<="}
    return " and ".join(
        f"{signs[k]} {v if isinstance(v, int) else f'{v:g}'}" for k, v in limits.items() if v is not None
    )


def described(node: Any, prefix: str = "") -> Iterator[str]:
    """One line for each field of the dataclass instance `node`: its value, and of a knob its meaning and limits."""
    for name, metadata in _knobs(type(node)):  # type: ignore[arg-type]  # a type is hashable
        value = getattr(node, name)
        if hasattr(type(value), "__dataclass_fields__"):
            yield from described(value, f"{prefix}{name}.")
            continue
        limits = allowed(metadata.get("limits", {})) or " | ".join(map(str, metadata.get("choices") or ()))
        meaning = [metadata.get("doc", ""), f"[{limits}]" if limits else ""]
        yield "  ".join([f"{prefix}{name}={json.dumps(value)}", " ".join(filter(None, meaning))]).rstrip()


def check(
    node: Any, prefix: str = "", nested: Callable[[Any, str], Iterable[str]] | None = None
) -> Iterator[str]:
    """One message for each knob of the dataclass instance `node` whose value is not allowed.

    Numbers must be finite even where no limit is given. `None` (an unset optional) is always allowed. `nested` tells
    those of a dataclass in it, which many nodes may share; without it they are checked here.
    """
    for name, metadata in _knobs(type(node)):  # type: ignore[arg-type]  # a type is hashable
        value = getattr(node, name)
        if hasattr(type(value), "__dataclass_fields__"):
            yield from (nested or check)(value, f"{prefix}{name}.")
        elif value is not None:
            for item in value if isinstance(value, (list, tuple)) else (value,):
                problem = _problem(item, metadata)
                if problem:
                    yield f"{prefix}{name}={item}: {problem}"


@functools.cache
def _knobs(schema: Hashable) -> tuple[tuple[str, Any], ...]:
    return tuple((field.name, field.metadata) for field in dataclasses.fields(schema))  # type: ignore[arg-type]


def _problem(value: Any, metadata: Any) -> str:
    if isinstance(value, bool):
        return ""
    choices, limits = metadata.get("choices"), metadata.get("limits", {})
    if isinstance(value, (list, tuple, dict)):
        return "is nested; each element is one value."
    if choices is not None and value not in choices and isinstance(value, type(choices[0])):
        number = f" or a number {allowed(limits)}" if allowed(limits) else ""
        hint = nearest(value, choices) if isinstance(value, str) else ""
        return f"not one of {', '.join(map(str, choices))}{number}.{hint}"
    if not isinstance(value, (int, float)):
        return ""
    if isinstance(value, int) and abs(value) >= 2**63:
        return f"has more than 64 bits{'; must be ' + allowed(limits) if allowed(limits) else ''}."
    if not math.isfinite(value):
        return f"must be a finite number{' ' + allowed(limits) if allowed(limits) else ''}."
    low, high = limits.get("above"), limits.get("below")
    least, most = limits.get("at_least"), limits.get("at_most")
    inside = (
        (low is None or value > low)
        and (high is None or value < high)
        and (least is None or value >= least)
        and (most is None or value <= most)
    )
    return "" if inside else f"must be {allowed(limits)}."
