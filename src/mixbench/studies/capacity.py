"""Zhang et al., section 3.3, and Zou et al., Theorem 2: regularizers of Mixup, and complexities of what they bound."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mixbench.schema.knob import knob
from mixbench.studies import rademacher, regularizers
from mixbench.studies.judging import values_at
from mixbench.studies.study import Study

if TYPE_CHECKING:
    import pandas as pd

    from mixbench.summarize.plots import Line, Plot

PARTS = ("coefficient", "glm", "squares", "linear", "ranks", "hidden", "bounded")


@dataclass
class Parameters:
    """Gaussian examples, logistic regression, least squares and one hidden layer."""

    of: list[str] = knob("what is looked at", default=list(PARTS), choices=PARTS)
    samples: int = knob("samples of each kind", default=20, at_least=2)
    draws: int = knob("vectors of signs for a complexity", default=500, at_least=50)
    mixtures: int = knob("mixtures of a least-squares fit", default=100_000, at_least=1000)


def compute(parameters: Parameters, part: str) -> pd.DataFrame:
    """One row for each number: of which setting and sample, what it is, and its value."""
    import pandas as pd

    draws, mixtures = parameters.draws, parameters.mixtures
    of: Callable[[np.random.Generator], regularizers.Found] = {
        "coefficient": regularizers.coefficients,
        "glm": regularizers.logistic,
        "squares": lambda generator: regularizers.squares(mixtures, generator),
        "linear": lambda generator: rademacher.linear(draws, generator),
        "ranks": lambda generator: rademacher.ranks(draws, generator),
        "hidden": lambda generator: rademacher.hidden(draws, generator),
        "bounded": lambda generator: rademacher.bounded(draws, generator),
    }[part]
    rows = []
    for sample in range(parameters.samples):
        generator = np.random.default_rng([sample, len(part)])
        for setting, numbers in of(generator):
            rows += [
                {"setting": setting, "sample": sample, "quantity": name, "value": float(value)}
                for name, value in numbers.items()
            ]
    return pd.DataFrame(rows)


def draw(numbers: pd.DataFrame, parameters: Parameters) -> list[Plot]:
    """Those of the parts that were asked for: medians and quartiles over samples."""
    from mixbench.summarize.plots import Panel

    wanted = {
        "coefficient": (
            ("Lemma 3.3's coefficient", "draws of lambda", "mean over the draws"), regularizers.DRAWS, True,
            {f"alpha {alpha:g}": (f"{alpha:g}", "") for alpha in regularizers.ALPHAS},
        ),
        "squares": (
            ("Lemma 3.4: least squares", "alpha", "fit of mixtures / plain fit"), regularizers.ALPHAS, False,
            {"with Mixup": ("{}", "mixup"), "by Lemma 3.4": ("{}", "printed")},
        ),
        "ranks": (
            ("Remark 3.2", "rank of the examples", "Rademacher complexity"), rademacher.RANKS, True,
            {
                "Mixup's class": ("{}", "mixup"),
                "ridge, unit variances": ("{}", "ridge"),
                "ridge, total variance fixed": ("{}", "ridge, equal trace"),
            },
        ),
        "bounded": (
            ("Theorem 2: linear functions within 1", "numbers of an example", "Rademacher complexity"),
            rademacher.WIDTHS, True,
            {label: (f"{shape}, {{}}", "complexity") for shape, label in rademacher.SHAPES.items()}
            | {"1 / sqrt(n), as printed": ("ball, {}", "bound")},
        ),
    }  # fmt: skip
    plots: list[Plot] = []
    styles = 0  # the panels have different lines, and one legend
    for part, (titles, at, log, names) in wanted.items():
        if part in parameters.of:
            lines = [
                _line(numbers, part, at, label, style, *of)
                for style, (label, of) in enumerate(names.items(), start=styles)
            ]
            styles += len(lines)
            plots.append(
                Panel(*titles, lines, log=log, log_y=log, ticks=at[::2] if part == "coefficient" else at)
            )
    return plots


def _line(
    numbers: pd.DataFrame, part: str, at: Sequence[float], label: str, style: int, setting: str, quantity: str
) -> Line:
    """`setting` has a place for x; where `quantity` is empty, x is its name."""
    from mixbench.summarize.plots import Line

    ends = (0.25, 0.5, 0.75)
    of = np.array(
        [
            np.quantile(values_at(numbers, part, setting.format(f"{x:g}"), quantity or str(x)), ends)
            for x in at
        ]
    )
    nothing = [np.nan] * len(of)
    return Line(label, style, list(at), list(of[:, 1]), nothing, low=list(of[:, 0]), high=list(of[:, 2]))


STUDY = Study(
    about="Regularizers that Mixup is said to be, and Rademacher complexities of the classes that they bound",
    parameters=Parameters,
    parts=lambda parameters: list(parameters.of),
    compute=compute,
    draw=draw,
    judges={
        "coefficient": regularizers.coefficient,
        "lemma_3_3": regularizers.lemma_3_3,
        "lemma_3_4": regularizers.lemma_3_4,
        "theorem_3_4": rademacher.theorem_3_4,
        "remark_3_2": rademacher.remark_3_2,
        "theorem_3_5": rademacher.theorem_3_5,
        "theorem_2": rademacher.theorem_2,
    },
)
