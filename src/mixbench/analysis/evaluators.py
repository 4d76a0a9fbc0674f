"""What can be measured on finished weights, by name. Imports no torch."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mixbench.analysis.deformations import DEFORMATIONS
from mixbench.errors import ConfigError
from mixbench.schema.knob import nearest

if TYPE_CHECKING:
    from mixbench.seams import Evaluator


@dataclass(frozen=True)
class Entry:
    """An evaluator: where its function is, "module:function", and what it gives.

    `numbers` are those keys of its result that a table can show, as NAME/KEY. `kinds`: the kinds of inputs that it
    takes, None for any.
    """

    function: str
    about: str
    numbers: tuple[str, ...] = ()
    kinds: tuple[str, ...] | None = None


EVALUATORS = {
    "accuracy": Entry(
        "mixbench.analysis.accuracy:accuracy", "top-1 and top-5 accuracy, loss", ("acc", "top5", "loss")
    ),
    "per_class": Entry("mixbench.analysis.confusion:per_class", "recall, precision and F1 of each class"),
    "confusion": Entry("mixbench.analysis.confusion:confusion", "which class is taken for which"),
    "deformations": Entry(
        "mixbench.analysis.deformed:deformations",
        "accuracy on rotated, sheared and zoomed images",
        tuple(DEFORMATIONS),
        kinds=("image",),
    ),
}
COLUMNS = tuple(f"{name}/{number}" for name, entry in EVALUATORS.items() for number in entry.numbers)


def evaluator(name: str) -> Evaluator:
    """The evaluator called `name`. Imports torch."""
    module, _, function = EVALUATORS[name].function.partition(":")
    return getattr(importlib.import_module(module), function)


def known(names: Sequence[str]) -> list[str]:
    """The names, each once. Raises ConfigError for one that no evaluator has."""
    for name in names:
        if name not in EVALUATORS:
            raise ConfigError(
                f"--only {name}: there is no such evaluation.{nearest(name, list(EVALUATORS))}"
                f" Allowed: {', '.join(EVALUATORS)}."
            )
    return list(dict.fromkeys(names))


def applicable(kind: str, names: Sequence[str] = ()) -> list[str]:
    """The names, or all, of the evaluators that take inputs of a kind. Raises ConfigError for a name that does not."""
    for name in names:
        kinds = EVALUATORS[name].kinds
        if kinds is not None and kind not in kinds:
            raise ConfigError(f"--only {name}: takes inputs of kind {' or '.join(kinds)}, not {kind}.")
    return list(names) or [name for name, entry in EVALUATORS.items() if kind in (entry.kinds or (kind,))]
