"""What can be measured on finished weights, by name. Imports no torch."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING

from mixbench.analysis import options
from mixbench.analysis.corruptions import KINDS
from mixbench.analysis.deformations import DEFORMATIONS
from mixbench.analysis.options import Options
from mixbench.errors import ConfigError
from mixbench.schema.knob import nearest

if TYPE_CHECKING:
    from mixbench.seams import Evaluator


@dataclass(frozen=True)
class Entry:
    """An evaluator: where its function is, "module:function", and what it gives.

    `numbers` are those keys of its result, with default `options`, that a table can show, as NAME/KEY. `kinds`: the
    kinds of inputs that it takes, None for any. `on`: the part of a run's data that it is made on where nothing else is
    asked for. `asked`: it takes many passes, and is made only where it is named. `package`: what it needs besides, and
    the extra of ours that installs it.
    """

    function: str
    about: str
    numbers: tuple[str, ...] = ()
    kinds: tuple[str, ...] | None = None
    options: type = options.Nothing
    on: str = "test"
    asked: bool = False
    package: tuple[str, str] | None = None


class MissingPackage(ConfigError):
    """An evaluation has to be made that needs a package which is not installed."""


EVALUATORS = {
    "accuracy": Entry(
        "mixbench.analysis.accuracy:accuracy", "top-1 and top-5 accuracy, loss", ("acc", "top5", "loss")
    ),
    "per_class": Entry("mixbench.analysis.confusion:per_class", "recall, precision and F1 of each class"),
    "confusion": Entry("mixbench.analysis.confusion:confusion", "which class is taken for which"),
    "calibration": Entry(
        "mixbench.analysis.calibration:calibration",
        "calibration errors, likelihood, Brier score, reliability diagram",
        ("ece", "adaptive_ece", "nll", "brier", "confidence"),
        options=options.Calibration,
    ),
    "deformations": Entry(
        "mixbench.analysis.deformed:deformations",
        "accuracy on rotated, sheared and zoomed images",
        tuple(DEFORMATIONS),
        kinds=("image",),
    ),
    "robustness": Entry(
        "mixbench.analysis.robustness:robustness",
        "accuracy under attacks: FGSM, and PGD in two norms",
        options.attack_names(options.Robustness().linf, options.Robustness().l2),
        kinds=("image",),
        options=options.Robustness,
        asked=True,
    ),
    "autoattack": Entry(
        "mixbench.analysis.autoattack:autoattack",
        "accuracy under AutoAttack: four attacks, one after the other",
        ("clean", *options.autoattack_names(options.AutoAttack().linf, options.AutoAttack().l2)),
        kinds=("image",),
        options=options.AutoAttack,
        asked=True,
        package=("torchattacks", "attacks"),
    ),
    "corruptions": Entry(
        "mixbench.analysis.corrupted:corruptions",
        "accuracy under noise, blur, weather, colour and compression",
        ("mean", *KINDS),
        kinds=("image",),
        options=options.Corruptions,
        asked=True,
    ),
    "sharpness": Entry(
        "mixbench.analysis.landscape:sharpness",
        "how much the training loss rises within a radius of the weights",
        options.sharpness_names(options.Sharpness().rho),
        options=options.Sharpness,
        on="train",
        asked=True,
    ),
    "hessian": Entry(
        "mixbench.analysis.landscape:hessian",
        "largest eigenvalue and trace of the training loss's Hessian",
        ("eigenvalue", "trace"),
        options=options.Hessian,
        on="train",
        asked=True,
    ),
    "slices": Entry(
        "mixbench.analysis.landscape:slices",
        "the training loss along random directions, a line and a plane",
        ("rise",),
        options=options.Slices,
        on="train",
        asked=True,
    ),
}
COLUMNS = tuple(f"{name}/{number}" for name, entry in EVALUATORS.items() for number in entry.numbers)


def evaluator(name: str) -> Evaluator:
    """The evaluator called `name`. Imports torch."""
    module, _, function = EVALUATORS[name].function.partition(":")
    return getattr(importlib.import_module(module), function)


def installed(names: Sequence[str]) -> None:
    """Raises MissingPackage where an evaluator needs a package that is not there."""
    for name in names:
        package = EVALUATORS[name].package
        if package and find_spec(package[0]) is None:
            raise MissingPackage(
                f"{name}: needs the package {package[0]}: pip install 'mixbench[{package[1]}]'."
            )


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
    """The names, or all but those that have to be asked for, of the evaluators that take inputs of a kind. Raises
    ConfigError for a name that does not.
    """
    for name in names:
        kinds = EVALUATORS[name].kinds
        if kinds is not None and kind not in kinds:
            raise ConfigError(f"{name}: takes inputs of kind {' or '.join(kinds)}, not {kind}.")
    return list(names) or [
        name for name, entry in EVALUATORS.items() if not entry.asked and kind in (entry.kinds or (kind,))
    ]


def changed(changes: Sequence[str]) -> Mapping[str, Options]:
    """All options of the evaluations that `changes` name, such as "robustness.steps=50". Raises ConfigError."""
    of_each = dict[str, list[str]]()
    for change in changes:
        name, dot, rest = change.partition(".")
        if not dot or name not in EVALUATORS:
            raise ConfigError(
                f"--set {change}: write EVALUATION.OPTION=VALUE.{nearest(name, list(EVALUATORS))}"
                f" Evaluations: {', '.join(EVALUATORS)}."
            )
        of_each.setdefault(name, []).append(rest)
    return {
        name: options.chosen(EVALUATORS[name].options, given, f"--set {name}.")
        for name, given in of_each.items()
    }
