"""The class or function behind each option that a run is built from, ours or a plugin's, and what it builds.

Of ours mypy knows that they fit their seams; what a plugin's do not is said in words instead of a traceback.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

from torch import nn

from mixbench.augment import AUGMENTS
from mixbench.config import plugins
from mixbench.config.plugin_errors import told
from mixbench.data import LOADERS, Splits
from mixbench.errors import ConfigError, MixbenchError
from mixbench.machine.devices import memory_errors_in_words
from mixbench.models import MODELS
from mixbench.optim import RULES
from mixbench.regularize import REGULARIZERS
from mixbench.schedule import SCHEDULES
from mixbench.seams import Choosing

OURS: Mapping[str, Mapping[str, Any]] = {
    "dataset": LOADERS,
    "model": MODELS,
    "augment": AUGMENTS,
    "regularizer": REGULARIZERS,
    "opt": RULES,
    "schedule": SCHEDULES,
}


# How what stands behind an option of each group is called, and what it has to give; see mixbench.seams.
CALLED: Mapping[str, str] = {
    "dataset": "(options, data_dir), which gives mixbench.data.Splits",
    "model": "(channels, num_classes, and the knobs of its schema by name), which gives a torch.nn.Module",
    "augment": "(num_classes, and the knobs of its schema by name), which gives a callable that mixes a batch",
    "regularizer": "(the knobs of its schema by name), which gives a callable that computes the losses",
    "opt": "(model, optimizer, clip_norm=, scaler=, ranks=, and the knobs of its schema by name), which gives a"
    " mixbench.seams.Rule",
    "schedule": "(progress, epochs, and the knobs of its schema by name), which gives a number",
}
ATTRIBUTES = {
    "augment": "uses_model",
    "regularizer": "uses_mean_image",
}  # of the class, read before it is called
RULE = ("base", "scaler", "alike", "step", "tensors", "state_dict", "load_state_dict")


def ours(group: str, name: str) -> bool:
    """Whether an option is mixbench's own, not a plugin's."""
    return name in OURS[group]


def member(group: str, name: str) -> Any:
    """What builds the option `name` of a group, as the registries say. Raises ConfigError for a plugin without it."""
    if ours(group, name):
        return OURS[group][name]
    found = plugins.member(group, name)
    wanted = ATTRIBUTES.get(group)
    if wanted and not isinstance(getattr(found, wanted, None), bool):
        raise ConfigError(
            f"{_called(group, name, found)} lacks the attribute {wanted} = True or False, which every {group} has; see"
            " mixbench/seams.py."
        )
    return found


def built(group: str, name: str, *arguments: Any, **knobs: Any) -> Any:
    """What that gives for these arguments.

    Raises ConfigError where a plugin's does not take them, raises, or gives something else than its group has to, also
    what does not take what a step calls it with.
    """
    build = member(group, name)
    if ours(group, name):
        return build(*arguments, **knobs)
    called, given = _called(group, name, build), _shown(arguments, knobs)
    needed = f"Expected for a {group}: {_named(build)}{CALLED[group]}."
    if problem := _refused(build, arguments, knobs):
        raise ConfigError(f"{called} is called with {given}: {problem}. {needed}")
    try:
        with memory_errors_in_words():
            found = build(*arguments, **knobs)
    except MixbenchError:
        raise
    except Exception as error:
        raise ConfigError(f"{called} fails for {given}: {told(error)}. {needed}") from None
    if not _fits(group, found):
        raise ConfigError(f"{called} gives {_brief(found)} for {given}. {needed}")
    for method, call, passed, keywords in _calls(group, found):
        if problem := _refused(call, passed, dict.fromkeys(keywords)):
            gets = ", ".join([*passed, *(f"{keyword}=" for keyword in keywords)])
            raise ConfigError(
                f"{called} gives {_brief(found)}, whose {method} gets ({gets}): {problem}. See mixbench/seams.py."
            )
    return found


def _calls(group: str, found: Any) -> Iterator[tuple[str, Any, tuple[str, ...], tuple[str, ...]]]:
    """How a step calls what was built: the method's name, the method, what it passes by place and what by name."""
    choice = ("choice",) if isinstance(found, Choosing) else ()
    if group == "augment":
        yield "__call__", found, ("images", "labels"), ("generator", *choice)
    elif group == "regularizer":
        yield "__call__", found, ("model", "x", "y", "images", "labels", "loss"), ()
    elif group == "opt":
        yield "step", found.step, ("losses",), choice
    if choice and group in ("augment", "opt"):
        yield "choose", found.choose, ("images", "generator"), ()


def _called(group: str, name: str, build: Any) -> str:
    """Plugin, option and the place of its member, as a message begins."""
    try:
        place = f" in {inspect.getsourcefile(build)}, line {inspect.getsourcelines(build)[1]},"
    except (OSError, TypeError):  # compiled, or typed in
        place = ""
    return f"plugin {plugins.options(group)[name].plugin}: {group}={name}: {_named(build)}{place}"


def _named(build: Any) -> str:
    return str(getattr(build, "__name__", type(build).__name__))


def _refused(build: Any, arguments: tuple[Any, ...], knobs: Mapping[str, Any]) -> str:
    """Why a call cannot be made; empty where it can, or only the call itself tells."""
    try:
        signature = inspect.signature(build)
    except (ValueError, TypeError):
        return "" if callable(build) else f"{_brief(build)} cannot be called"
    try:
        signature.bind(*arguments, **knobs)
    except TypeError as error:
        return f"{error}; it takes {signature}"
    return ""


def _fits(group: str, found: Any) -> bool:
    if group in ("dataset", "model", "schedule"):
        return isinstance(found, {"dataset": Splits, "model": nn.Module, "schedule": int | float}[group])
    return all(hasattr(found, name) for name in RULE) if group == "opt" else callable(found)


def _shown(arguments: tuple[Any, ...], knobs: Mapping[str, Any]) -> str:
    return f"({', '.join([*map(_brief, arguments), *(f'{k}={_brief(v)}' for k, v in knobs.items())])})"


def _brief(value: Any) -> str:
    """A value as it is written in Python where that is short, else its type."""
    plain = value is None or isinstance(value, (bool, int, float, str, list, tuple))
    return repr(value) if plain and len(repr(value)) <= 40 else f"a {type(value).__name__}"
