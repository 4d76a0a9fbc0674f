"""Overrides as they stand on a command line: what each one is, which are refused, the cells that sweeps spell out."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Sequence

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Glob, Override, OverrideType, RangeSweep, ValueType
from hydra.errors import HydraException, OverrideParseException

from mixbench.config.trust import check_override
from mixbench.errors import ConfigError
from mixbench.schema.train import GROUPS

ALIASES = {"augmenter": "augment", "optimizer": "opt"}
# How Hydra's users choose a file of a folder of their own that sets options and values of the whole run.
EXPERIMENT = "+experiment="
MOST_CELLS = 200_000  # listed and checked in a minute, in 600 MB
# What needs no grammar, of which a sweep may have a great many: Hydra's takes 2 ms for each.
NUMBER = re.compile(r"([a-z][a-z_]*(?:\.[a-z_]+)*)=(-?(?:0|[1-9][0-9]{0,17}))")


def canonical(overrides: Sequence[str]) -> list[str]:
    """The overrides with the long group names `augmenter` and `optimizer` written as `augment` and `opt`."""

    def short(override: str) -> str:
        key, equals, value = override.partition("=")
        head, dot, rest = key.partition(".")
        return f"{ALIASES.get(head, head)}{dot}{rest}{equals}{value}"

    return [short(o) for o in overrides]


def read(override: str) -> Override:
    """The override, parsed. Raises ConfigError for one that cannot be read, or that nobody may give."""
    if override.startswith("~"):
        raise ConfigError(
            f"{override}: nothing can be left out; choose another option or value, such as opt=sgd."
        )
    if override.startswith("+") and not (of_hydra(override) or override.startswith(EXPERIMENT)):
        raise ConfigError(f"{override}: nothing can be added; keys that exist are set without a +.")
    if "=" not in override:
        raise ConfigError(f"{override}: not an override; write key=value, such as epochs=5 or augment=gmix.")
    check_override(override)
    if (number := NUMBER.fullmatch(override)) is not None:
        return Override(
            OverrideType.CHANGE, number[1], ValueType.ELEMENT, _value=int(number[2]), input_line=override
        )
    try:
        parsed = _parser().parse_overrides([override])[0]
    except OverrideParseException as error:
        raise ConfigError(
            f"{override}: cannot be read as key=value: {str(error).splitlines()[0]}.{_quoted(override)}"
        ) from None
    except ValueError:  # Python's, for a number of thousands of digits
        raise ConfigError(
            f"{_short(override)}: cannot be read as key=value: a number that long is none."
        ) from None
    except RecursionError:
        raise ConfigError(f"{_short(override)}: cannot be read as key=value: too many brackets.") from None
    if isinstance(parsed.value(), RangeSweep):
        _check_range(parsed)
    if parsed.key_or_group in (*GROUPS, "experiment"):
        _check_choice(parsed)
    return parsed


@functools.cache
def _parser() -> OverridesParser:
    return OverridesParser.create()


def _check_choice(override: Override) -> None:
    """Raises ConfigError for what is no name of an option of the group: several in a list, or a path out of it."""
    line, value = override.input_line, override.value()
    if isinstance(value, list):
        names = ",".join(map(str, value))
        raise ConfigError(
            f"{line}: one option at a time; -m {override.key_or_group}={names} sweeps over them."
        )
    chosen = value.list if isinstance(value, ChoiceSweep) else [value]
    if any(isinstance(name, str) and (".." in name or name.startswith("/")) for name in chosen):
        raise ConfigError(f"{line}: an option is named as its file, without a path.")


def _quoted(override: str) -> str:
    """How to write a text with characters that mean something to Hydra."""
    key, _, value = override.partition("=")
    if re.match(r"['\"[{]|\w+\(", value):  # quoted already, a list, a dictionary, a function such as range
        return ""
    return f" A text with such characters stands in quotes, which the shell must leave: '{key}=\"...\"'."


def _short(override: str) -> str:
    return override if len(override) <= 80 else f"{override[:77]}..."


def _check_range(override: Override) -> None:
    """Raises ConfigError for a range that has no end, or no value."""
    value = override.value()
    assert isinstance(value, RangeSweep)
    start, stop, step = value.start, value.stop, value.step
    if start is None or stop is None or not all(map(math.isfinite, (start, stop, step))):
        problem = "is endless"
    elif step == 0 or (stop - start) / step <= 0:
        problem = "has no value"
    else:
        return
    raise ConfigError(
        f"{override.input_line}: {problem}; a range is range(START,STOP,STEP), and STEP leads from START to STOP."
    )


def of_hydra(override: str) -> bool:
    """True for an override of Hydra's own config, which says how a sweep is run and not what a cell is."""
    return override.lstrip("+~").startswith(("hydra.", "hydra/", "hydra="))


def is_choice(override: Override) -> bool:
    """True for the choice of an option in one of our groups; a dictionary there changes the chosen one's values."""
    return _is_change(override) and override.key_or_group in GROUPS and isinstance(override.value(), str)


def is_value(override: Override) -> bool:
    """True for a plain value of a key of the run, or of an option: not a dictionary, no reference to another key."""
    key, line = override.key_or_group, override.input_line or ""
    special = set("${") & set(line) or override.value() == "???"
    return _is_change(override) and key not in GROUPS and "/" not in key and not special


def _is_change(override: Override) -> bool:
    """True for a plain `key=value` with one value: nothing is added, deleted, swept, or put elsewhere."""
    return (
        override.type is OverrideType.CHANGE and override.package is None and not override.is_sweep_override()
    )


def has_several(override: str) -> bool:
    """True for an override with more than one value, which only a sweep can use."""
    parsed = read(override)
    return parsed.is_sweep_override() and _count(parsed) > 1


def expand(overrides: Sequence[str]) -> list[list[str]]:
    """The cells of a sweep, as lists of overrides, in the order in which Hydra's own sweeper runs them.

    Raises ConfigError for what cannot be read, for ranges without steps, which only a search can use, and for more
    than MOST_CELLS.
    """
    parsed = [read(o) for o in overrides]
    try:
        check_count(*parsed)
        return BasicSweeper.split_arguments(parsed, None)[0]
    except HydraException:
        swept = [o for o in parsed if o.is_sweep_override()]
        endless = next(o for o in swept if not o.is_discrete_sweep() or isinstance(o.value(), Glob))
        raise ConfigError(
            f"{endless.input_line}: a sweep needs single values, such as a=1,2 or a=range(1,5)."
        ) from None


def check_count(*overrides: Override) -> None:
    """Raises ConfigError where more cells are asked for than MOST_CELLS."""
    cells = math.prod(map(_count, overrides))
    if cells > MOST_CELLS:
        raise ConfigError(
            f"a sweep over {cells:,} cells: at most {MOST_CELLS:,} can be listed and checked at once."
        )


def _count(override: Override) -> int:
    """The values of a sweep; 1 for what is none, or has no end."""
    value = override.value()
    if isinstance(value, RangeSweep) and value.start is not None and value.stop is not None:
        return math.ceil((value.stop - value.start) / value.step)
    return len(value.list) if isinstance(value, ChoiceSweep) else 1
