"""Zhang et al., Figure 3: the radius of protection R before, during and after training, as distributions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mixbench.schema.knob import knob
from mixbench.studies.judging import MORE, agreed, interval, quantile_of, spread
from mixbench.studies.study import CONFIRMED, REFUTED, UNDECIDED, Judgement, Study

if TYPE_CHECKING:
    import pandas as pd

    from mixbench.summarize.plots import Plot

# The paper does not state the size of a batch: its claims are judged for networks trained in both ways.
NETWORKS = {"network": "ReLU network, full batch", "small_batches": "ReLU network, small batches"}
MODELS = {"linear": "linear model, full batch", **NETWORKS}
PRINTED = {"before": 2.27e-5, "after": 6.11e-2}  # R of the paper's network


@dataclass
class Parameters:
    """What the paper states, but for the size of a batch and the number of networks."""

    networks: int = knob("networks of each kind, each with its own examples", default=300, at_least=2)
    n: int = knob("examples of a network", default=100, at_least=2)
    dimension: int = knob("numbers of an example", default=10, at_least=2)
    width: int = knob("units of each of the two hidden layers", default=50, at_least=1)
    epochs: int = knob("epochs", default=400, at_least=1)
    every: int = knob("epochs between two looks", default=10, at_least=1)
    small_batch: int = knob("examples of a step in small batches", default=10, at_least=1)
    lr: float = knob("learning rate", default=0.1, above=0)
    momentum: float = knob("momentum", default=0.9, at_least=0, below=1)
    seed: int = knob("seed of examples, weights and orders", default=0, at_least=0)


def compute(parameters: Parameters, part: str) -> pd.DataFrame:
    """Of each network and look: R, the accuracy on its examples, and the counts of a histogram of its R_i."""
    import pandas as pd
    import torch

    from mixbench.analysis.radius import initial, outputs_and_gradients, problems, radii, trained

    p = parameters
    generator = torch.Generator().manual_seed(p.seed)
    problem = problems(p.networks, p.n, p.dimension, generator)
    hidden = [] if part == "linear" else [p.width, p.width]
    start = initial(p.networks, [p.dimension, *hidden, 1], generator)
    looks = []
    batch = p.small_batch if part == "small_batches" else p.n
    steps = trained(start, problem, p.epochs, p.lr, p.momentum, batch, generator)
    for epoch, weights in enumerate(steps):
        if epoch % p.every and epoch != p.epochs:
            continue
        of_each = radii(weights, problem.inputs)
        output, gradient = outputs_and_gradients(weights, problem.inputs)
        right = ((output > 0).double() == problem.labels).double().mean(1)
        look = {
            "network": range(p.networks),
            "epoch": epoch,
            "R": of_each.min(1).values.numpy(),
            "largest": of_each.max(1).values.numpy(),
            "mean": of_each.mean(1).numpy(),
            "above_0.8": (of_each > 0.8).sum(1).numpy(),
            "accuracy": right.numpy(),
            "smallest_gradient": gradient.norm(dim=2).min(1).values.numpy(),
        }
        for tenth in range(10):
            inside = (of_each >= tenth / 10) & ((of_each < (tenth + 1) / 10) | (tenth == 9))
            look[f"tenth_{tenth}"] = inside.sum(1).numpy()
        looks.append(pd.DataFrame(look))
    return pd.concat(looks, ignore_index=True)


def draw(numbers: pd.DataFrame, parameters: Parameters) -> list[Plot]:
    """R against the epoch, and the histogram of all R_i before and after."""
    from mixbench.summarize.plots import Bars, Line, Panel

    plots: list[Plot] = []
    for part, name in MODELS.items():
        of = (
            numbers[numbers["part"] == part]
            .groupby("epoch")["R"]
            .quantile(np.array([0.25, 0.5, 0.75]))
            .unstack()
        )
        look = Line(
            "median and quartiles over networks", 0, list(of.index), list(of[0.5]), [np.nan] * len(of),
            low=list(of[0.25]), high=list(of[0.75]),
            printed=[(0, PRINTED["before"]), (parameters.epochs, PRINTED["after"])] if part in NETWORKS else [],
        )  # fmt: skip
        plots.append(Panel(name, "epoch", "R", [look], log_y=True))
    edges = np.linspace(0, 1, 11)
    for part, name in MODELS.items():
        ends = {"before training": 0, "after training": parameters.epochs}
        of = numbers[numbers["part"] == part]
        shares = {
            label: of[of["epoch"] == epoch].filter(regex="^tenth_").sum()
            / (parameters.networks * parameters.n)
            for label, epoch in ends.items()
        }
        plots.append(
            Bars(name, "R_i", "share of examples", list(edges), {k: list(v) for k, v in shares.items()})
        )
    return plots


def ends(numbers: pd.DataFrame, parameters: Parameters, part: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows before and after training, by network."""
    of = numbers[numbers["part"] == part].set_index("network")
    return of[of["epoch"] == 0], of[of["epoch"] == parameters.epochs]


def grows(numbers: pd.DataFrame, parameters: Parameters) -> Judgement:
    """R after training is larger than before: the median of log10 of the ratio, and the share of networks."""
    words, verdicts = [], []
    for part, name in MODELS.items():
        before, after = ends(numbers, parameters, part)
        gain = np.log10((after["R"] / before["R"]).to_numpy())
        low, high = interval(gain, np.median)
        verdicts.append(CONFIRMED if low > 0 else REFUTED if high < 0 else UNDECIDED)
        words.append(
            f"{name}: R grows by a factor of {10 ** np.median(gain):.3g} (median; 95 % interval {10**low:.3g} to"
            f" {10**high:.3g}), in {np.mean(gain > 0):.0%} of {len(gain)} cases"
        )
    exact = [np.mean(ends(numbers, parameters, part)[1]["accuracy"] == 1) for part in MODELS]
    remark, verdict = (
        f"After training {min(exact):.0%} or more classify all of their examples.",
        agreed(verdicts),
    )
    return Judgement(verdict, "; ".join(words), f"{remark} {MORE}" if verdict == UNDECIDED else remark)


def printed_pair(numbers: pd.DataFrame, parameters: Parameters) -> Judgement:
    """Where the two printed numbers lie among those of our networks: both in the middle 95 % to confirm, one outside of
    all to refute. In a tail it may be one network's, and decides nothing.
    """
    words, verdicts = [], []
    for part, name in NETWORKS.items():
        looks = ends(numbers, parameters, part)
        for (when, printed), look in zip(PRINTED.items(), looks, strict=True):
            place = quantile_of(printed, look["R"])
            verdicts.append(CONFIRMED if 0.025 <= place <= 0.975 else UNDECIDED if 0 < place < 1 else REFUTED)
            words.append(f"{name}, {when}: {spread(look['R'])}, {place:.1%} lie below {printed:g}")
    verdict = next((found for found in (REFUTED, UNDECIDED) if found in verdicts), CONFIRMED)
    tail = "A number from a tail is some network's: it would take how the paper's was drawn."
    return Judgement(verdict, "; ".join(words), tail if verdict == UNDECIDED else "")


def many_above(numbers: pd.DataFrame, parameters: Parameters) -> Judgement:
    """Several R_i (three or more) exceed 0.8 after training."""
    words, verdicts = [], []
    for part, name in NETWORKS.items():
        _, after = ends(numbers, parameters, part)
        several = (after["above_0.8"] >= 3).to_numpy(float)
        low, high = interval(several, np.mean)
        verdicts.append(CONFIRMED if low > 0.5 else REFUTED if high < 0.5 else UNDECIDED)
        words.append(
            f"{name}: the largest R_i is {spread(after['largest'])}; three or more exceed 0.8 in {several.mean():.1%}"
            f" of the networks ({low:.1%} to {high:.1%})"
        )
    verdict = agreed(verdicts)
    return Judgement(verdict, "; ".join(words), MORE if verdict == UNDECIDED else "")


STUDY = Study(
    about="The radius of protection R_i = |cos(grad f, x)| before and after training",
    parameters=Parameters,
    parts=lambda parameters: list(MODELS),
    compute=compute,
    draw=draw,
    judges={"grows": grows, "printed_pair": printed_pair, "many_above": many_above},
)
