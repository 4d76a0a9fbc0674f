"""How evaluations are made: the options of each, with the defaults that tables read. Imports no torch."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mixbench.analysis.corruptions import KINDS
from mixbench.config.assign import assigned
from mixbench.schema.knob import knob

Options = dict[str, Any]


@dataclass
class Nothing:
    """An evaluation that is made in one way."""


@dataclass
class Calibration:
    """Options of `calibration`."""

    bins: int = knob("bins of confidence", default=15, at_least=1, at_most=10_000)


@dataclass
class Robustness:
    """Options of `robustness`. Sizes are in units of 1/255 of the pixel range."""

    n: int = knob("examples that are attacked, drawn once for all runs", default=1000, at_least=1)
    linf: list[float] = knob(
        "sizes in the maximum norm", default=[1, 2, 4, 8], above=0, at_most=255, empty=True
    )
    l2: list[float] = knob(
        "sizes in the Euclidean norm", default=[16, 32, 64, 128], above=0, at_most=1e6, empty=True
    )
    steps: int = knob("steps of PGD", default=20, at_least=1)
    step_size: float = knob("length of a step of PGD, times size / steps", default=2.5, above=0)
    restarts: int = knob("random starts of PGD, besides the end of one step", default=1, at_least=0)


@dataclass
class AutoAttack:
    """Options of `autoattack`. Sizes are in units of 1/255 of the pixel range."""

    n: int = knob("examples that are attacked, drawn once for all runs", default=1000, at_least=1)
    linf: list[float] = knob("sizes in the maximum norm", default=[8], above=0, at_most=255, empty=True)
    l2: list[float] = knob("sizes in the Euclidean norm", default=[128], above=0, at_most=1e6, empty=True)
    steps: int = knob("steps of APGD and FAB; the paper's standard: 100", default=100, at_least=1)
    queries: int = knob("queries of the square attack; the paper's standard: 5000", default=5000, at_least=1)


@dataclass
class Corruptions:
    """Options of `corruptions`."""

    n: int = knob("examples that are corrupted, drawn once for all runs", default=2000, at_least=1)
    kinds: list[str] = knob("corruptions that are made", default=[*KINDS], choices=KINDS)


@dataclass
class Sharpness:
    """Options of `sharpness`."""

    n: int = knob("examples whose mean loss it is, drawn once for all runs", default=1000, at_least=1)
    rho: list[float] = knob("radii of the ball", default=[0.01, 0.05, 0.1, 0.5], above=0, at_most=1e6)
    steps: int = knob("steps of the ascent in the ball", default=10, at_least=1)


@dataclass
class Hessian:
    """Options of `hessian`."""

    n: int = knob("examples whose mean loss it is of, drawn once for all runs", default=1000, at_least=1)
    tolerance: float = knob("of the eigenvalue, relative", default=1e-3, above=0, below=1)
    draws: int = knob("random vectors of the trace", default=30, at_least=2)


@dataclass
class Slices:
    """Options of `slices`."""

    n: int = knob("examples whose mean loss it is, drawn once for all runs", default=1000, at_least=1)
    reach: float = knob("end of the slices, in lengths of each filter", default=1.0, above=0, at_most=1e6)
    points: int = knob("points of the line", default=41, at_least=3)
    grid: int = knob("points of the plane along an axis; 0: no plane", default=15, at_least=0)


def chosen(schema: type, changes: Sequence[str], at: str) -> Options:
    """The options with `changes` such as "steps=50", checked. `at` names them in messages. Raises ConfigError."""
    return dataclasses.asdict(assigned(schema, {}, changes, at))


def defaults(schema: type) -> Options:
    """The options where none is changed."""
    return dataclasses.asdict(schema())


def suffix(schema: type, options: Options) -> str:
    """What tells the file of an evaluation with these options from that with the defaults; empty for these."""
    if options == defaults(schema):
        return ""
    text = json.dumps(options, sort_keys=True, separators=(",", ":"))
    return f"~{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def attack_names(linf: Sequence[float], l2: Sequence[float]) -> tuple[str, ...]:
    """The accuracies of `robustness`, such as pgd_linf_8."""
    sizes = {"fgsm": linf, "pgd_linf": linf, "pgd_l2": l2}
    return tuple(f"{attack}_{size:g}" for attack, of_attack in sizes.items() for size in of_attack)


def autoattack_names(linf: Sequence[float], l2: Sequence[float]) -> tuple[str, ...]:
    """The accuracies of `autoattack`, such as linf_8."""
    return tuple(f"{norm}_{size:g}" for norm, sizes in (("linf", linf), ("l2", l2)) for size in sizes)


def sharpness_names(rho: Sequence[float]) -> tuple[str, ...]:
    """The numbers of `sharpness`, such as ascent_0.05."""
    return tuple(f"{kind}_{radius:g}" for kind in ("one_step", "ascent") for radius in rho)
