"""Zhang et al., Figures 2 and 4, and Park et al., Figure 1: training on a loss and on its second-order form."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mixbench.schema.knob import knob
from mixbench.studies.judging import interval
from mixbench.studies.study import CONFIRMED, CORRECTED, REFUTED, UNDECIDED, Judgement, Study

if TYPE_CHECKING:
    import pandas as pd

    from mixbench.summarize.plots import Plot

MODELS = {"linear": "logistic regression", "network": "two-layer ReLU network"}
LOSSES = {"mixup": "Mixup", "mask": "a mask of two coordinates", "attack": "adversarial, l2"}
CLOSE, FAR = 0.10, 0.25  # relative differences that "quite close" allows, and excludes


@dataclass
class Parameters:
    """The papers state the data set and the models, and the size of the attack, but no sizes."""

    losses: list[str] = knob("losses that are approximated", default=list(LOSSES), choices=list(LOSSES))
    models: list[str] = knob("models that are trained", default=list(MODELS), choices=list(MODELS))
    seeds: int = knob(
        "pairs of models, each with its own two moons and initial weights", default=20, at_least=2
    )
    n: int = knob("training examples, and as many to test", default=60, at_least=4)
    noise: float = knob("standard deviation of the noise on the moons", default=0.1, at_least=0)
    width: int = knob("hidden units of the network", default=100, at_least=1)
    alpha: float = knob("lambda ~ Beta(alpha, alpha)", default=1.0, above=0)
    nodes: int = knob("values of lambda in the expectation of Mixup's loss", default=4, at_least=2)
    attack: float = knob("radius of the attack in l2", default=0.5, at_least=0)
    steps: int = knob("steps of the attack on the network", default=20, at_least=1)
    epochs: int = knob("epochs of gradient descent on all examples", default=200, at_least=1)
    every: int = knob("epochs between two looks", default=5, at_least=1)
    lr: float = knob("learning rate", default=0.1, above=0)
    momentum: float = knob("momentum", default=0.9, at_least=0, below=1)


def compute(parameters: Parameters, part: str) -> pd.DataFrame:
    """Of each pair and look: both losses, each of the model trained on it, and the second at the first's weights."""
    import pandas as pd
    import torch
    from sklearn.datasets import make_moons

    from mixbench.analysis.approximation import initial

    p = parameters
    loss, model = part.split(", ")
    widths = [2, 1] if model == "linear" else [2, p.width, 1]
    rows = []
    for seed in range(p.seeds):
        points, labels = make_moons(2 * p.n, noise=p.noise, random_state=seed)
        inputs, targets = torch.from_numpy(points)[None], torch.from_numpy(labels).double()[None]
        inputs = inputs - inputs[:, : p.n].mean(1, keepdim=True)
        sets = [(inputs[:, : p.n], targets[:, : p.n]), (inputs[:, p.n :], targets[:, p.n :])]
        exact, second = _losses(loss, p, torch.Generator().manual_seed(seed))
        start = initial(1, widths, torch.Generator().manual_seed(seed))
        looks = [_trained(of, start, sets, p, other) for of, other in ((exact, second), (second, None))]
        for (epoch, *first), (_, *approximate) in zip(*looks, strict=True):
            row = {"seed": seed, "epoch": epoch, "train": first[0], "test": first[1], "at_same": first[2]}
            rows.append(row | {"approximate_train": approximate[0], "approximate_test": approximate[1]})
    return pd.DataFrame(rows)


Loss = Callable[[Any, Any, Any], Any]


def _losses(name: str, p: Parameters, generator: Any) -> tuple[Loss, Loss]:
    """The loss and its second-order form, of weights, inputs and labels."""
    import torch

    from mixbench.analysis import approximation as a

    first, second = a.moments(p.alpha)
    if name == "mixup":
        same = torch.full((2, 2), second, dtype=torch.float64)
        return (
            lambda w, x, y: a.mixup(w, x, y, p.alpha, p.nodes),
            lambda w, x, y: a.second_order(w, x, y, first, same),
        )
    if name == "mask":
        apart = torch.tensor([[first, second], [second, first]], dtype=torch.float64)
        return (
            lambda w, x, y: a.masked(w, x, y, p.alpha),
            lambda w, x, y: a.second_order(w, x, y, first, apart),
        )
    return (
        lambda w, x, y: a.attacked(w, x, y, p.attack, p.steps, generator),
        lambda w, x, y: a.attacked_second_order(w, x, y, p.attack),
    )


def _trained(
    loss: Loss, start: list[Any], sets: list[tuple[Any, Any]], p: Parameters, other: Loss | None
) -> list[tuple[int, float, float, float]]:
    """Gradient descent on the first set: at each look epoch, loss on both sets, and the `other` on the first."""
    import torch

    weights = [weight.clone().requires_grad_() for weight in start]
    optimizer = torch.optim.SGD(weights, lr=p.lr, momentum=p.momentum)
    looks = []
    for epoch in range(p.epochs + 1):
        if epoch % p.every == 0 or epoch == p.epochs:
            with torch.no_grad():
                found = [loss(weights, *examples).item() for examples in sets]
                same = other(weights, *sets[0]).item() if other is not None else np.nan
            looks.append((epoch, found[0], found[1], same))
        optimizer.zero_grad()
        loss(weights, *sets[0]).sum().backward()
        optimizer.step()
    return looks


def parts(parameters: Parameters) -> list[str]:
    """Each loss with each model."""
    return [f"{loss}, {model}" for loss in parameters.losses for model in parameters.models]


def draw(numbers: pd.DataFrame, parameters: Parameters) -> list[Plot]:
    """Both losses against the epoch, training and test, mean and deviation over the pairs."""
    from mixbench.summarize.plots import Line, Panel

    names = {
        "train": "loss, training", "approximate_train": "second order, training",
        "test": "loss, test", "approximate_test": "second order, test",
    }  # fmt: skip
    plots: list[Plot] = []
    for part in parts(parameters):
        loss, model = part.split(", ")
        of = numbers[numbers["part"] == part].groupby("epoch")
        lines = []
        for style, (column, label) in enumerate(names.items()):
            mean, std = of[column].mean(), of[column].std()
            lines.append(Line(label, style, mean.index.tolist(), mean.tolist(), std.tolist()))
        plots.append(Panel(f"{LOSSES[loss]}: {MODELS[model]}", "epoch", "loss", lines))
    return plots


def closeness(*losses: str) -> Callable[[pd.DataFrame, Parameters], Judgement]:
    """A judge of these losses: by how much of the loss the two curves differ, at the epoch where they differ most."""

    def judge(numbers: pd.DataFrame, parameters: Parameters) -> Judgement:
        words, least, worst = [], 0.0, 0.0
        for part in parts(parameters):
            loss, model = part.split(", ")
            if loss not in losses:
                continue
            of = numbers[numbers["part"] == part]
            far = {
                name: (of[second] / of[first] - 1).abs().groupby(of["seed"]).max().to_numpy()
                for name, first, second in (
                    ("training", "train", "approximate_train"),
                    ("test", "test", "approximate_test"),
                    ("at the same weights", "train", "at_same"),
                )
            }
            ends = {name: interval(values, np.median) for name, values in far.items()}
            curves = [ends["training"], ends["test"]]
            least, worst = (
                max(least, *(low for low, _ in curves)),
                max(worst, *(high for _, high in curves)),
            )
            said = ", ".join(
                f"{name} {np.median(values):.1%} ({ends[name][0]:.1%} to {ends[name][1]:.1%})"
                for name, values in far.items()
            )
            words.append(f"{LOSSES[loss]}, {MODELS[model]}: {said}")
        verdict, remark = CONFIRMED, ""
        if least > FAR:
            verdict, remark = REFUTED, f"They differ by more than {FAR:.0%} of the loss."
        elif worst > FAR:
            verdict, remark = UNDECIDED, f"The interval goes beyond {FAR:.0%}: more pairs would tell."
        elif worst > CLOSE:
            verdict, remark = CORRECTED, f"Within {worst:.0%} at every epoch, not within {CLOSE:.0%}."
        return Judgement(
            verdict,
            f"largest difference over the epochs, median over {parameters.seeds} pairs (95 % interval): "
            + "; ".join(words),
            remark,
        )

    return judge


STUDY = Study(
    about="Second-order forms of Mixup's, masks' and adversarial losses, beside the losses, in training",
    parameters=Parameters,
    parts=parts,
    compute=compute,
    draw=draw,
    judges={"mixing": closeness("mixup", "mask"), "attack": closeness("attack")},
)
