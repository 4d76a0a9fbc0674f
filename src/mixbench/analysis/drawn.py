"""The pictures of evaluations over several runs: means over seeds with their deviations."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from mixbench.analysis.compare import Group
from mixbench.analysis.evaluators import EVALUATORS
from mixbench.analysis.options import Options
from mixbench.summarize.charts import HeatMap
from mixbench.summarize.plots import Line, Panel, Plot
from mixbench.summarize.statistics import estimate


def plots(name: str, groups: Sequence[Group], options: Options) -> list[Plot]:
    """The panels of an evaluation of the settings of one place."""
    draw = DRAWN.get(name)
    return draw(groups, options) if draw else _each_number(groups, EVALUATORS[name].numbers)


def _line(group: Group, style: int, x: Sequence[float], values: Iterable[Sequence[float]]) -> Line:
    """`values`: of each x, those of the seeds."""
    each = [estimate(of_x) for of_x in values]
    return Line(group.label, style, x, [e.mean for e in each], [e.std for e in each])


def _by_key(groups: Sequence[Group], x: Sequence[float], key_of: Callable[[float], str]) -> list[Line]:
    return [
        _line(group, i, x, ([*group.values(key_of(at)).values()] for at in x))
        for i, group in enumerate(groups)
    ]


def _each_number(groups: Sequence[Group], numbers: Sequence[str]) -> list[Plot]:
    """A panel for each number, the settings beside each other."""
    return [
        Panel(
            key,
            "",
            "",
            [_line(g, i, [i + 1], [[*g.values(key).values()]]) for i, g in enumerate(groups)],
            ticks=range(1, len(groups) + 1),
            named=[group.label for group in groups],
        )
        for key in numbers
    ]


def _calibration(groups: Sequence[Group], options: Options) -> list[Plot]:
    """Reliability diagrams: of each bin the confidence and the accuracy, all seeds together."""
    titles = {"equal_width": "bins of equal width", "equal_count": "bins of equal count"}
    panels: list[Plot] = []
    for key, title in titles.items():
        lines = [Line("as sure as right", len(groups), [0, 100], [0, 100], [math.nan] * 2, flat=True)]
        for i, group in enumerate(groups):
            x, y = _reliability([result[key] for result in group.results.values()], options["bins"])
            lines.append(Line(group.label, i, x, y, [math.nan] * len(x)))
        panels.append(Panel(f"reliability, {title}", "confidence (%)", "accuracy (%)", lines))
    return panels


def _reliability(diagrams: Sequence[list[dict[str, Any]]], bins: int) -> tuple[list[float], list[float]]:
    """Confidence and accuracy of each bin that has examples, over the seeds."""
    entries = [[e for diagram in diagrams for e in diagram if e["bin"] == i] for i in range(bins)]
    entries = [of_bin for of_bin in entries if of_bin]
    return tuple(  # type: ignore[return-value]
        [float(np.average([e[what] for e in of_bin], weights=[e["n"] for e in of_bin])) for of_bin in entries]
        for what in ("confidence", "acc")
    )


def _robustness(groups: Sequence[Group], options: Options) -> list[Plot]:
    """Accuracy against size, from the clean one on."""
    attacks = {
        "fgsm": ("FGSM", "linf", "maximum norm"),
        "pgd_linf": ("PGD", "linf", "maximum norm"),
        "pgd_l2": ("PGD", "l2", "Euclidean norm"),
    }

    def panel(attack: str) -> Panel:
        title, norm, words = attacks[attack]
        sizes = [0.0, *sorted(map(float, options[norm]))]
        lines = _by_key(groups, sizes, lambda size: f"{attack}_{size:g}" if size else "clean")
        return Panel(f"{title}, {words}", "size (1/255)", "accuracy (%)", lines)

    return [panel(attack) for attack in attacks]


def _autoattack(groups: Sequence[Group], options: Options) -> list[Plot]:
    """Accuracy against size, from the clean one on, one panel for each norm."""
    norms = {"linf": "maximum norm", "l2": "Euclidean norm"}

    def panel(norm: str) -> Panel:
        sizes = [0.0, *sorted(map(float, options[norm]))]
        lines = _by_key(groups, sizes, lambda size: f"{norm}_{size:g}" if size else "clean")
        return Panel(f"AutoAttack, {norms[norm]}", "size (1/255)", "accuracy (%)", lines)

    return [panel(norm) for norm in norms]


def _corruptions(groups: Sequence[Group], _: Options) -> list[Plot]:
    """Accuracy against severity, one panel for each corruption, after the mean of all."""
    severities = [1.0, 2.0, 3.0, 4.0, 5.0]

    def panel(name: str) -> Panel:
        lines = []
        for i, group in enumerate(groups):
            of_each = [result["severities"] for result in group.results.values()]
            rows = [np.mean([*found.values()], 0) if name == "mean" else found[name] for found in of_each]
            lines.append(_line(group, i, severities, zip(*rows, strict=True)))
        return Panel(name.replace("_", " "), "severity", "accuracy (%)", lines)

    return [panel(name) for name in ("mean", *next(iter(groups[0].results.values()))["severities"])]


def _sharpness(groups: Sequence[Group], options: Options) -> list[Plot]:
    radii = sorted(map(float, options["rho"]))
    titles = {"one_step": "one step along the gradient", "ascent": f"{options['steps']} steps in the ball"}

    def panel(kind: str) -> Panel:
        lines = _by_key(groups, radii, lambda radius: f"{kind}_{radius:g}")
        return Panel(
            titles[kind],
            "rho",
            "rise of the training loss (nats)",
            lines,
            log=True,
            log_y=all(mean > 0 for line in lines for mean in line.mean),
            ticks=radii,
        )

    return [panel(kind) for kind in titles]


def _slices(groups: Sequence[Group], _: Options) -> list[Plot]:
    """The lines of all settings, over the seeds; and a plane of each, of its first seed."""
    lines = []
    for i, group in enumerate(groups):
        found = [result["line"] for result in group.results.values()]
        lines.append(_line(group, i, found[0]["x"], zip(*(each["losses"] for each in found), strict=True)))
    x = "distance (lengths of the filters)"
    panels: list[Plot] = [Panel("along a random direction", x, "training loss (nats)", lines, log_y=True)]
    seeds = [min(group.results) for group in groups]
    planes = [group.results[seed]["plane"] for group, seed in zip(groups, seeds, strict=True)]
    if not all(plane["losses"] for plane in planes):
        return panels
    # One scale for all, so that colours can be compared.
    values = [np.log10(np.array(plane["losses"])) for plane in planes]
    low = float(min(v.min() for v in values))
    high = float(min(max(v.max() for v in values), low + 3))
    for group, seed, plane, value in zip(groups, seeds, planes, values, strict=True):
        title = f"{group.label}, seed {seed}: log10 of the loss"
        panels.append(
            HeatMap(title, "first direction", "second direction", plane["x"], plane["y"], value, low, high)
        )
    return panels


DRAWN: dict[str, Callable[[Sequence[Group], Options], list[Plot]]] = {
    "calibration": _calibration,
    "robustness": _robustness,
    "autoattack": _autoattack,
    "corruptions": _corruptions,
    "sharpness": _sharpness,
    "slices": _slices,
}
