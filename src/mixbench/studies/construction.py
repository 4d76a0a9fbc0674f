"""Park et al., Theorem 2: the mask that the proof constructs, for coefficients that one could want."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mixbench.schema.knob import knob
from mixbench.studies.study import CONFIRMED, CORRECTED, REFUTED, Judgement, Study

if TYPE_CHECKING:
    import pandas as pd

    from mixbench.summarize.plots import Plot

TARGETS = ("Mixup", "random", "box on a torus", "CutMix", "equation 10", "GMix, paper", "equation 11")
ZERO = 1e-9  # of the largest eigenvalue: what float64 leaves of a zero


@dataclass
class Parameters:
    """The theorem is of any d and lambda; so many masks are drawn to see it."""

    n: int = knob("pixels of a side", default=16, at_least=2, at_most=32)
    masks: int = knob("masks that are drawn of each target and lambda", default=20_000, at_least=100)
    lambdas: list[float] = knob("lambda of the masks", default=[0.1, 0.3, 0.5, 0.7, 0.9], above=0, below=1)
    seed: int = knob("seed of the masks", default=0, at_least=0)


def compute(parameters: Parameters, part: str) -> pd.DataFrame:
    """Of one lambda and each target: whether it can be had, and mean and a_jk of the mask as printed, and corrected."""
    import pandas as pd
    import torch

    from mixbench.analysis import construction as t

    p, lam = parameters, float(part)
    generator = torch.Generator().manual_seed(p.seed)
    rows = []
    for name, wanted in t.targets(lam, p.n, generator).items():
        covariance = t.needed(wanted, lam)
        row: dict[str, Any] = {"lam": lam, "target": name}
        row["largest"] = covariance.abs().max().item()
        row["eigenvalue"] = t.smallest(covariance) if row["largest"] > 1e-12 else 0.0
        noise = torch.randn(p.masks, len(wanted), generator=generator, dtype=torch.float64)
        spread = noise @ t.root(covariance)
        for form, mean in (("printed", 1 - lam), ("corrected", lam)):
            partner = 1 - (mean + spread)
            found, fourth = partner.T @ partner / p.masks, partner.square().T @ partner.square() / p.masks
            error = ((fourth - found.square()).clamp(min=0) / p.masks).sqrt() + 1e-12
            row[f"mean_{form}"] = 1 - partner.mean().item()
            row[f"apart_{form}"] = (found - wanted).abs().max().item()
            row[f"errors_{form}"] = ((found - wanted).abs() / error).max().item()
            row[f"closed_{form}"] = (t.coefficients(mean, covariance) - wanted).abs().max().item()
        row["outside"] = t.outside(lam, covariance)
        rows.append(row)
    return pd.DataFrame(rows)


def draw(numbers: pd.DataFrame, parameters: Parameters) -> list[Plot]:
    """How far the construction's a_jk are off, by lambda; and the smallest eigenvalue of what is wanted."""
    from mixbench.summarize.plots import Line, Panel

    had = numbers[numbers["eigenvalue"] > -ZERO].groupby("lam")
    nothing = [np.nan] * len(had)
    forms = {"closed_printed": "M = 1 - lambda + ..., as printed", "closed_corrected": "M = lambda + ..."}
    off = [
        Line(label, style, list(had[column].max().index), list(had[column].max()), nothing)
        for style, (column, label) in enumerate(forms.items(), len(TARGETS))
    ]
    lines, shares = [], []
    for style, name in enumerate(TARGETS):
        of = numbers[numbers["target"] == name]
        lines.append(Line(name, style, list(of["lam"]), list(of["eigenvalue"]), [np.nan] * len(of)))
        if (of["eigenvalue"] > -ZERO).all():
            shares.append(Line(name, style, list(of["lam"]), list(of["outside"]), [np.nan] * len(of)))
    return [
        Panel("a_jk against what is wanted", "lambda", "largest difference", off),
        Panel("can it be had? (0 or above)", "lambda", "eigenvalue, smallest / largest", lines),
        Panel("pixels of the mask outside [0, 1]", "lambda", "share", shares),
    ]


def theorem_2(numbers: pd.DataFrame, parameters: Parameters) -> Judgement:
    """The a_jk of the mask as printed and corrected, in closed form and drawn, where the condition holds."""
    had = numbers[numbers["eigenvalue"] > -ZERO]
    exact = {form: had[f"closed_{form}"].max() < 1e-9 for form in ("printed", "corrected")}
    off = had["closed_printed"].groupby(had["lam"]).max()
    means = (had["mean_printed"] - (1 - had["lam"])).abs().max()
    drawn = had["errors_corrected"].max()
    verdict = CONFIRMED if exact["printed"] else CORRECTED if exact["corrected"] and drawn < 6 else REFUTED
    return Judgement(
        verdict,
        f"{len(had)} matrices that fulfil the condition: the printed mask has the mean 1 - lambda (within"
        f" {means:.1g}) and"
        f" a_jk off by {', '.join(f'{value:.2g} at {lam:g}' for lam, value in off.items())}; with lambda +"
        " ... the mean is"
        f" lambda and a_jk are as wanted, within {had['closed_corrected'].max():.0e} in closed form and {drawn:.1f}"
        f" standard errors of {parameters.masks:,} masks",
        "M = lambda + S^(1/2) Z; the printed mask has the mean 1 - lambda, and is right for lambda = 1/2 alone."
        if verdict == CORRECTED
        else "",
    )


def condition(numbers: pd.DataFrame, parameters: Parameters) -> Judgement:
    """Which methods' own a_jk fulfil the condition, and how much of the mask lies outside [0, 1]."""
    words, missing = [], []
    for name in TARGETS:
        of = numbers[numbers["target"] == name]
        kept = of["eigenvalue"] > -ZERO
        if kept.all():
            words.append(
                f"{name}: can be had, with {of['outside'].min():.0%} to {of['outside'].max():.0%} of the mask outside"
            )
        else:
            missing.append(name)
            words.append(
                f"{name}: cannot at {', '.join(f'{lam:g}' for lam in of['lam'][~kept])} (smallest eigenvalue down to"
                f" {of['eigenvalue'].min():.1%} of the largest)"
            )
    return Judgement(
        CORRECTED if missing else CONFIRMED,
        "; ".join(words),
        "The condition is also necessary, as S is the covariance of a mask whose mean is lambda. It excludes"
        f" {', '.join(missing)}: a box or a bump that the border clips has another mean at the border."
        if missing
        else "",
    )


STUDY = Study(
    about="The mask that Theorem 2 constructs for wanted coefficients a_jk",
    parameters=Parameters,
    parts=lambda parameters: [f"{lam:g}" for lam in parameters.lambdas],
    compute=compute,
    draw=draw,
    judges={"theorem_2": theorem_2, "condition": condition},
)
