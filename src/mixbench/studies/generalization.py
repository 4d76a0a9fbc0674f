"""Park et al., Theorem 4: the loss on the population against the quadratic form of mixing's loss, over many samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from mixbench.schema.knob import knob
from mixbench.studies.judging import MORE, RESAMPLES, interval
from mixbench.studies.study import CONFIRMED, CORRECTED, REFUTED, UNDECIDED, Judgement, Study

if TYPE_CHECKING:
    import pandas as pd

    from mixbench.summarize.plots import Plot

METHODS = ("Vanilla", "Mixup", "box")
DELTA = 0.05


@dataclass
class Parameters:
    """Logistic regression on Gaussian examples whose labels are noisy; the informal theorem states nothing."""

    sizes: list[int] = knob("examples of a sample", default=[50, 100, 200, 400, 800], at_least=2)
    samples: int = knob("samples of each size", default=200, at_least=20)
    n: int = knob("numbers of a side of an example", default=4, choices=[2, 4, 6, 8])
    signal: float = knob("norm of theta*", default=3.0, above=0)
    limit: float = knob("largest norm of theta", default=30.0, above=0)
    steps: int = knob("steps of gradient descent", default=300, at_least=1)
    seed: int = knob("seed of the samples", default=0, at_least=0)


def compute(parameters: Parameters, part: str) -> pd.DataFrame:
    """Of one size, each sample and method: the trained model's loss on the population, and the training losses."""
    import pandas as pd
    import torch

    from mixbench.analysis import generalization as g
    from mixbench.analysis.expansion import moments, two

    p, d = parameters, parameters.n**2
    generator = torch.Generator().manual_seed(p.seed + int(part))
    truth = torch.full((d,), p.signal / d**0.5, dtype=torch.float64)
    inputs, labels = g.sampled(p.samples, int(part), truth, generator)
    nothing = torch.zeros(d, d, dtype=torch.float64)
    tables = []
    for name in METHODS:
        of = None if name == "Vanilla" else moments(two(name, p.n, 1, 1, 5))
        form = (0.0, nothing) if of is None else (of.first[0].item(), of.own)
        theta = g.trained(inputs, labels, *form, p.steps, p.limit)
        look = {
            "population": g.population(theta, truth),
            "plain": g.quadratic(theta, inputs, labels, 0.0, nothing),
            "form": g.quadratic(theta, inputs, labels, *form),
            "norm": theta.norm(dim=1),
        }
        where = {"n": int(part), "method": name, "sample": range(p.samples)}
        tables.append(pd.DataFrame(where | {key: value.numpy() for key, value in look.items()}))
    return pd.concat(tables, ignore_index=True)


def draw(numbers: pd.DataFrame, parameters: Parameters) -> list[Plot]:
    """The 95 % quantile of what the population's loss exceeds the training loss by, and the population's loss."""
    from mixbench.summarize.plots import Line, Panel

    excess, loss = [], []
    for style, name in enumerate(METHODS):
        of = numbers[numbers["method"] == name]
        gap = (of["population"] - of["form"]).groupby(of["n"]).quantile(1 - DELTA)
        excess.append(Line(name, style, list(gap.index), list(gap), [np.nan] * len(gap)))
        mean, std = (getattr(of.groupby("n")["population"], what)() for what in ("mean", "std"))
        loss.append(Line(name, style, list(mean.index), list(mean), list(std)))
    return [
        Panel(
            "population's loss - training loss, 95 % quantile",
            "examples",
            "difference",
            excess,
            True,
            parameters.sizes,
        ),
        Panel("loss on the population", "examples", "loss", loss, True, parameters.sizes),
    ]


def theorem_4(numbers: pd.DataFrame, parameters: Parameters) -> Judgement:
    """sqrt(n) times the 95 % quantile of L - L~, whose growth from the least n to the largest refutes; as the constant
    is not named, nothing confirms.
    """
    words, grows = [], []
    for name in METHODS:
        of = numbers[numbers["method"] == name]
        gap = (of["population"] - of["form"]).groupby(of["n"]).quantile(1 - DELTA)
        scaled = gap * np.sqrt(gap.index.to_numpy())
        low, high = _growth(of.assign(excess=of["population"] - of["form"]))
        shown = ", ".join(f"{value:.2f} at {n}" for n, value in scaled.items())
        words.append(f"{name} {shown} (from first to last {low:+.2f} to {high:+.2f})")
        if name != "Vanilla":
            grows.append(low > 0)
    return Judgement(
        REFUTED if any(grows) else UNDECIDED,
        f"sqrt(n) times the {1 - DELTA:.0%} quantile of L - L~ over {parameters.samples} samples: {'; '.join(words)}",
        "It grows faster than any constant allows."
        if any(grows)
        else "It does not grow, as it must not; the same is true without mixing, so it does not speak for mixing. The"
        " statement that could be tried is in an appendix that is not at hand, with its constant.",
    )


def _growth(of: pd.DataFrame) -> tuple[float, float]:
    """The bootstrap interval of sqrt(n) times the quantile of the excess, at the largest n less that at the least."""
    ends = [(n, of.loc[of["n"] == n, "excess"].to_numpy()) for n in (of["n"].min(), of["n"].max())]

    def difference(first: np.ndarray, last: np.ndarray, axis: int = -1) -> np.ndarray:
        (few, _), (many, _) = ends
        at_few, at_many = (np.quantile(values, 1 - DELTA, axis=axis) for values in (first, last))
        return np.sqrt(many) * at_many - np.sqrt(few) * at_few

    found = stats.bootstrap(
        [values for _, values in ends], difference, n_resamples=RESAMPLES, method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval  # fmt: skip
    return float(found.low), float(found.high)


def better(numbers: pd.DataFrame, parameters: Parameters) -> Judgement:
    """The population's loss with mixing's form against that of plain training, on the same samples, by size: lower by
    the intervals of all sizes and masks to confirm, higher to refute; lower at some and higher at others is a
    correction.
    """
    words, signs = [], []
    for name in METHODS[1:]:
        said = []
        for n in parameters.sizes:
            of = numbers[numbers["n"] == n].pivot(index="sample", columns="method", values="population")
            low, high = interval(of[name] - of["Vanilla"], np.mean)
            signs.append(-1 if high < 0 else 1 if low > 0 else 0)
            said.append(f"{low:+.3f} to {high:+.3f} at {n}")
        words.append(f"{name} {', '.join(said)}")
    verdict = (
        CONFIRMED
        if set(signs) == {-1}
        else REFUTED
        if set(signs) == {1}
        else CORRECTED
        if {-1, 1} <= set(signs)
        else UNDECIDED
    )
    return Judgement(
        verdict,
        f"loss on the population less that of plain training, 95 % interval of the mean: {'; '.join(words)}",
        "Not at every size: with few examples it does, with many a box's pull toward zero costs more than it saves."
        " Plain training is stopped at a largest norm, without which separable examples have no minimum."
        if verdict == CORRECTED
        else MORE
        if verdict == UNDECIDED
        else "",
    )


STUDY = Study(
    about="Logistic regression on the quadratic form of mixing's loss, and its loss on the population",
    parameters=Parameters,
    parts=lambda parameters: [str(n) for n in parameters.sizes],
    compute=compute,
    draw=draw,
    judges={"theorem_4": theorem_4, "better": better},
)
