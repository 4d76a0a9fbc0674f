"""Kimura: complexities with and without Mixup on random samples, the bounds as printed, and as they must be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mixbench.schema.knob import knob
from mixbench.studies.judging import as_printed
from mixbench.studies.study import CONFIRMED, CORRECTED, REFUTED, UNDECIDED, Judgement, Study

if TYPE_CHECKING:
    import pandas as pd

    from mixbench.summarize.plots import Plot

SIZES = (10, 30, 100, 300, 1000)
WIDTHS = (1, 2, 10, 50)  # numbers of an example
SHIFTS = (0.0, 1.0, 5.0)  # the mean's distance from the origin, in standard deviations
RATIOS = (0.1, 0.5, 0.9)
ERRORS = 5.0  # standard errors that Monte Carlo may be off


@dataclass
class Parameters:
    """What is drawn: Gaussian samples with a mean away from the origin or at it."""

    of: list[str] = knob("classes of functions", default=["linear", "network"], choices=["linear", "network"])
    samples: int = knob("samples of each size, dimension, mean and lambda", default=10, at_least=2)
    draws: int = knob("vectors of signs for a complexity", default=2000, at_least=100)
    seed: int = knob("seed of samples and signs", default=0, at_least=0)


def compute(parameters: Parameters, part: str) -> pd.DataFrame:
    """One row for each sample: a difference, and its bounds."""
    import pandas as pd

    generator = np.random.default_rng(parameters.seed)
    rows = []
    for n in SIZES:
        for d in WIDTHS:
            for shift in SHIFTS:
                for lam in RATIOS:
                    for sample in range(parameters.samples):
                        where = {"n": n, "d": d, "shift": shift, "lam": lam, "sample": sample}
                        mean = np.full(d, shift / np.sqrt(d))
                        noise = generator.normal(size=(n, d))
                        of = _linear if part == "linear" else _network
                        rows.append(where | of(mean, noise, lam, parameters, generator))
    return pd.DataFrame(rows)


def _linear(
    mean: np.ndarray, noise: np.ndarray, lam: float, p: Parameters, generator: np.random.Generator
) -> dict[str, float]:
    from mixbench.analysis import complexity as c

    sample = mean + noise
    _, values = c.rademacher([sample, c.toward_mean(sample, lam)], p.draws, generator)
    paired = values[0] - values[1]
    return {
        "difference": paired.mean(),
        "error": paired.std() / p.draws**0.5,
        "printed": c.bound(sample, lam, c.variance_of_norms(sample)),
        "corrected": c.bound(sample, lam, c.trace_of_covariance(sample)),
        "square_sum": c.mixed_square_sum(sample, lam),
        "square_sum_printed": c.square_sum_printed(sample, lam),
        "square_sum_corrected": c.square_sum_corrected(sample, lam),
        "step_20": c.by_norms(sample) - np.sqrt(c.square_sum_printed(sample, lam)) / len(sample),
        "step_20_corrected": c.by_norms(sample) - np.sqrt(c.square_sum_corrected(sample, lam)) / len(sample),
    }


def _network(
    mean: np.ndarray, noise: np.ndarray, lam: float, p: Parameters, generator: np.random.Generator
) -> dict[str, float]:
    from mixbench.analysis import complexity as c

    sample = mean + noise
    return {
        "difference": c.network_difference(sample, lam),
        "printed": c.network_bound(noise, lam),
        "corrected": c.network_bound(sample - sample.mean(0), lam),
        "largest": float(np.linalg.norm(noise, axis=1).max()),
    }


def draw(numbers: pd.DataFrame, parameters: Parameters) -> list[Plot]:
    """The differences and their bounds against the number of examples, for examples of ten numbers."""
    from mixbench.summarize.plots import Line, Panel

    plots: list[Plot] = []
    titles = {"linear": "linear class", "network": "bounds for networks, without their constant"}
    for part in [name for name in parameters.of if name in titles]:
        for shift in SHIFTS[:2]:
            shown = (numbers["part"] == part) & (numbers["d"] == 10) & (numbers["shift"] == shift)
            of = numbers[shown & (numbers["lam"] == 0.5)].groupby("n")
            lines = []
            names = {
                "difference": "difference",
                "printed": "bound as printed",
                "corrected": "bound, corrected",
            }
            for style, (column, label) in enumerate(names.items()):
                mean, std = of[column].mean(), of[column].std()
                lines.append(Line(label, style, mean.index.tolist(), mean.tolist(), std.tolist()))
            title = f"{titles[part]}, mean at {shift:g}"
            plots.append(Panel(title, "examples", "without Mixup - with", lines, True, SIZES, log_y=True))
    return plots


def _shares(of: pd.DataFrame, holds: pd.Series[bool]) -> str:
    by = holds.groupby(of["shift"]).mean()
    return f"{holds.mean():.1%} of {len(of)} samples ({', '.join(f'mean at {s:g}: {x:.0%}' for s, x in by.items())})"


def theorem_2(numbers: pd.DataFrame, parameters: Parameters) -> Judgement:
    """Equation 17 against complexities by Monte Carlo, with s^2 as printed and with the trace of the covariance."""
    of = numbers[numbers["part"] == "linear"]
    room = ERRORS * of["error"] + 1e-12
    printed, corrected = of["difference"] <= of["printed"] + room, of["difference"] <= of["corrected"] + room
    verdict = as_printed(printed, corrected)
    remark = (
        "With the trace of the covariance it follows from the triangle inequality; the variance of the norms is zero"
        " for points of equal norm."
    )
    return Judgement(
        verdict,
        f"with s^2 the variance of the norms it holds for {_shares(of, printed)}; with the trace of the covariance for"
        f" {_shares(of, corrected)}",
        remark if verdict == CORRECTED else "",
    )


def equation_19(numbers: pd.DataFrame, parameters: Parameters) -> Judgement:
    """The bound of the sum of squares without its cross term."""
    of = numbers[numbers["part"] == "linear"]
    printed = of["square_sum"] <= of["square_sum_printed"] * (1 + 1e-9)
    equal = np.isclose(of["square_sum"], of["square_sum_corrected"], rtol=1e-9)
    verdict = as_printed(printed, equal)
    return Judgement(
        verdict,
        f"holds for {_shares(of, printed)}; lambda^2 sum |x|^2 + (1 - lambda^2) n |mean|^2 is equal for"
        f" {equal.mean():.0%}",
        "The cross term 2 lambda (1 - lambda) n |mean|^2 is never negative and was left out."
        if verdict == CORRECTED
        else "",
    )


def equation_20(numbers: pd.DataFrame, parameters: Parameters) -> Judgement:
    """The step from the bounds to their difference."""
    of = numbers[numbers["part"] == "linear"]
    printed = of["step_20"] <= of["corrected"] * (1 + 1e-9)
    corrected = of["step_20_corrected"] <= of["corrected"] * (1 + 1e-9)
    verdict = as_printed(printed, corrected)
    return Judgement(
        verdict,
        f"with the sum of squares as printed it holds for {_shares(of, printed)}; as it must be, for"
        f" {_shares(of, corrected)}",
        "Both sides of it bound a difference of upper bounds, not of complexities.",
    )


def figure_1(numbers: pd.DataFrame, parameters: Parameters) -> Judgement:
    """The difference of complexities falls with the number of examples, as a power of it: confirmed where -1/2 is
    among the middle 95 % of the samples' powers, and they are all below 0; refuted where it is not among them.
    """
    of = numbers[numbers["part"] == "linear"]
    slopes = []
    for _, group in of.groupby(["d", "shift", "lam", "sample"]):
        positive = group[group["difference"] > 0]
        if len(positive) > 2:
            slopes.append(np.polyfit(np.log(positive["n"]), np.log(positive["difference"]), 1)[0])
    low, high = np.quantile(slopes, [0.025, 0.975])
    verdict = REFUTED if not low <= -0.5 <= high else CONFIRMED if high < 0 else UNDECIDED
    return Judgement(
        verdict,
        f"difference of complexities ~ n^a with a = {np.median(slopes):.2f} (95 % of samples: {low:.2f} to {high:.2f})",
        ""
        if verdict == CONFIRMED
        else "The power differs with the mean: far from the origin the complexities hardly differ.",
    )


def theorem_3(numbers: pd.DataFrame, parameters: Parameters) -> Judgement:
    """Equation 22, with the noise around the population's mean as printed, and around the sample's."""
    of = numbers[numbers["part"] == "network"]
    printed = of["difference"] <= of["printed"] * (1 + 1e-9)
    corrected = of["difference"] <= of["corrected"] * (1 + 1e-9)
    verdict = as_printed(printed, corrected)
    return Judgement(
        verdict,
        f"with the noise around the population's mean it holds for {_shares(of, printed)}; around the sample's mean for"
        f" {_shares(of, corrected)}",
        "What is bounded is the difference of two upper bounds, which says nothing of the complexities themselves.",
    )


STUDY = Study(
    about="Complexities with and without Mixup on random samples, beside their bounds",
    parameters=Parameters,
    parts=lambda parameters: list(parameters.of),
    compute=compute,
    draw=draw,
    judges={
        "theorem_2": theorem_2,
        "equation_19": equation_19,
        "equation_20": equation_20,
        "figure_1": figure_1,
        "theorem_3": theorem_3,
    },
)
