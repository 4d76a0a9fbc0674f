"""Kimura, Theorem 4: what Mixup does to the variance of exponential families, which is the Hessian of psi."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mixbench.schema.knob import knob
from mixbench.studies.judging import as_printed
from mixbench.studies.study import CORRECTED, Judgement, Study

if TYPE_CHECKING:
    import pandas as pd

    from mixbench.summarize.plots import Plot

FAMILIES = ("normal", "Poisson", "exponential", "Bernoulli")


@dataclass
class Parameters:
    """Numbers of four families, mixed with their mean and with each other."""

    numbers: int = knob("numbers of a sample", default=100_000, at_least=100)
    samples: int = knob("samples of each family and lambda", default=20, at_least=2)
    lambdas: list[float] = knob(
        "lambda of the mixtures", default=[0.1, 0.3, 0.5, 0.7, 0.9], at_least=0, at_most=1
    )
    seed: int = knob("seed of the samples", default=0, at_least=0)


def compute(parameters: Parameters, part: str) -> pd.DataFrame:
    """Of one family: variances of mixed numbers relative to those unmixed, with the mean and with a drawn partner."""
    import pandas as pd

    p = parameters
    generator = np.random.default_rng([p.seed, FAMILIES.index(part)])
    rows = []
    for lam in p.lambdas:
        for sample in range(p.samples):
            x, partner = drawn(part, p.numbers, generator), drawn(part, p.numbers, generator)
            with_mean = np.var(lam * x + (1 - lam) * x.mean()) / np.var(x)
            with_partner = np.var(lam * x + (1 - lam) * partner) / np.var(x)
            rows.append({"lam": lam, "sample": sample, "mean": with_mean, "drawn": with_partner})
    return pd.DataFrame(rows)


def drawn(family: str, size: int, generator: np.random.Generator) -> np.ndarray:
    """Numbers of a family, float64."""
    if family == "normal":
        return generator.normal(2.0, 1.5, size)
    if family == "Poisson":
        return generator.poisson(3.0, size).astype(float)
    if family == "exponential":
        return generator.exponential(2.0, size)
    return generator.binomial(1, 0.3, size).astype(float)


def draw(numbers: pd.DataFrame, parameters: Parameters) -> list[Plot]:
    """The variance of mixed numbers against lambda, beside lambda^2."""
    from mixbench.summarize.plots import Line, Panel

    of, lines = numbers.groupby("lam"), []
    for style, (column, label) in enumerate({"mean": "partner: the mean", "drawn": "partner: drawn"}.items()):
        mean, std = of[column].mean(), of[column].std()
        lines.append(Line(label, style, mean.index.tolist(), mean.tolist(), std.tolist()))
    lam = np.linspace(0.05, 0.95, 19)
    nothing = [np.nan] * len(lam)
    lines.append(Line("lambda^2, Theorem 4", 2, lam.tolist(), (lam**2).tolist(), nothing, flat=True))
    return [Panel("variance of mixed numbers, four families", "lambda", "relative to unmixed", lines)]


def theorem_4(numbers: pd.DataFrame, parameters: Parameters) -> Judgement:
    """The Hessian of psi is a variance: that of mixed numbers, relative to unmixed ones, against lambda^2."""
    square, both = numbers["lam"] ** 2, numbers["lam"] ** 2 + (1 - numbers["lam"]) ** 2
    first, second = (numbers["mean"] - square).abs().max(), (numbers["drawn"] / both - 1).abs().max()
    wrong = (numbers["drawn"] / square).groupby(numbers["lam"]).mean()
    third = (numbers["drawn"] / square - 1).abs().max()
    verdict = as_printed(first < 1e-9 and third < 0.05, first < 1e-9 and second < 0.05)
    return Judgement(
        verdict,
        f"four families: with the mean as partner the variance is lambda^2 times the unmixed one (within {first:.0e});"
        f" with a drawn partner lambda^2 + (1 - lambda)^2 times (within {second:.1%}), which is"
        f" {', '.join(f'{ratio:.3g} times lambda^2 at {lam:g}' for lam, ratio in wrong.items())}",
        "Mixup draws its partner: lambda^2 + (1 - lambda)^2, at least 1/2." if verdict == CORRECTED else "",
    )


STUDY = Study(
    about="The variance of mixed numbers of exponential families, relative to unmixed ones",
    parameters=Parameters,
    parts=lambda parameters: list(FAMILIES),
    compute=compute,
    draw=draw,
    judges={"theorem_4": theorem_4},
)
