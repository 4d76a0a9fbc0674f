"""Park et al., Theorem 3: the quadratic form of mixing's loss against the loss under an l2 attack, over many
networks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mixbench.schema.knob import knob
from mixbench.studies.study import CONFIRMED, CORRECTED, REFUTED, Judgement, Study

if TYPE_CHECKING:
    import pandas as pd

    from mixbench.summarize.plots import Plot

MASKS = ("Mixup", "quadrants", "box", "HMix")


@dataclass
class Parameters:
    """Networks and examples as in Zhang et al., section 3.2, with images of n x n numbers."""

    groups: int = knob("groups of networks", default=4, at_least=1)
    networks: int = knob("networks of a group, each with its own examples", default=50, at_least=2)
    n: int = knob("numbers of a side of an example", default=4, choices=[2, 4, 6, 8])
    examples: int = knob("examples of a network", default=100, at_least=2)
    width: int = knob("units of each of the two hidden layers", default=50, at_least=1)
    epochs: int = knob("epochs of gradient descent on all examples", default=400, at_least=1)
    every: int = knob("epochs between two looks", default=40, at_least=1)
    lr: float = knob("learning rate", default=0.1, above=0)
    momentum: float = knob("momentum", default=0.9, at_least=0, below=1)
    steps: int = knob("steps of the attack", default=20, at_least=1)
    seed: int = knob("seed of examples and weights", default=0, at_least=0)


def compute(parameters: Parameters, part: str) -> pd.DataFrame:
    """Of each look and network of a group: both adversarial losses, the accuracy, and the quadratic form of each
    mask.
    """
    import dataclasses

    import pandas as pd
    import torch

    from mixbench.analysis import protection as t
    from mixbench.analysis.expansion import moments, two
    from mixbench.analysis.radius import initial, outputs_and_gradients, problems, trained

    p = parameters
    generator = torch.Generator().manual_seed(p.seed + int(part))
    problem = problems(p.networks, p.examples, p.n**2, generator)
    problem = dataclasses.replace(problem, inputs=problem.inputs - problem.inputs.mean(1, keepdim=True))
    given = problem.inputs, problem.labels
    start = initial(p.networks, [p.n**2, p.width, p.width, 1], generator)
    masks = {name: moments(two(name, p.n, 1, 1, 5)) for name in MASKS}
    first = masks["Mixup"].first[0].item()  # 1/3 for all
    looks = []
    steps = trained(start, problem, p.epochs, p.lr, p.momentum, p.examples, generator)
    for epoch, weights in enumerate(steps):
        if epoch % p.every and epoch != p.epochs:
            continue
        output, _ = outputs_and_gradients(weights, problem.inputs)
        size = t.sizes(weights, problem.inputs, first)
        look = {
            "accuracy": ((output > 0).double() == problem.labels).double().mean(1),
            "second_order": t.attacked_second_order(weights, *given, size),
            "attacked": t.attacked(weights, *given, size, p.steps),
            "size": size.mean(1),
        }
        look |= {name: t.quadratic(weights, *given, first, of.own) for name, of in masks.items()}
        where = {"epoch": epoch, "network": range(p.networks)}
        looks.append(pd.DataFrame(where | {key: value.numpy() for key, value in look.items()}))
    return pd.concat(looks, ignore_index=True)


def draw(numbers: pd.DataFrame, parameters: Parameters) -> list[Plot]:
    """The losses against the epoch, medians and quartiles; and the share of networks for which the theorem holds."""
    from mixbench.summarize.plots import Line, Panel

    names = {"second_order": "attack, second order", "attacked": "attack"}
    lines = []
    for style, name in enumerate((*MASKS, *names)):
        of = numbers.groupby("epoch")[name].quantile(np.array([0.25, 0.5, 0.75])).unstack()
        lines.append(
            Line(
                names.get(name, f"quadratic form, {name}"), style, list(of.index), list(of[0.5]), [np.nan] * len(of),
                low=list(of[0.25]), high=list(of[0.75]),
            )
        )  # fmt: skip
    shares = []
    for style, name in enumerate(MASKS):
        share = (numbers[name] >= numbers["second_order"]).groupby(numbers["epoch"]).mean()
        shares.append(
            Line(f"quadratic form, {name}", style, list(share.index), list(share), [np.nan] * len(share))
        )
    return [
        Panel("median and quartiles", "epoch", "loss", lines, log_y=True),
        Panel("the theorem holds", "epoch", "share of networks", shares),
    ]


def above(numbers: pd.DataFrame, loss: str) -> pd.Series[bool]:
    """Whether the quadratic form of every mask is at least this loss."""
    return numbers[list(MASKS)].min(axis=1) >= numbers[loss] - 1e-12


def theorem_3(numbers: pd.DataFrame, parameters: Parameters) -> Judgement:
    """The quadratic form against the second-order adversarial loss, with and without all examples on their right
    side.
    """
    holds = above(numbers, "second_order")
    real = above(numbers, "attacked")
    right = numbers["accuracy"] == 1
    words = []
    for label, rows in (
        ("before training", numbers["epoch"] == 0),
        ("where not all examples are right", ~right),
    ):
        words.append(f"{label} in {holds[rows].mean():.1%} of {int(rows.sum())} cases")
    words.append(
        f"where all are, in {holds[right].mean():.1%} of {int(right.sum())} (and above the loss under the"
        " attack itself in"
        f" {real[right].mean():.1%})"
    )
    size = numbers["size"][numbers["epoch"] == parameters.epochs].median()
    verdict = CONFIRMED if holds.all() else CORRECTED if right.any() and holds[right].all() else REFUTED
    return Judgement(
        verdict,
        f"the form is larger than the adversarial loss, to second order and for all four masks: {', '.join(words)}",
        "It needs every example on its right side, which the informal statement leaves out, and is of the"
        " adversarial loss to"
        " second order: the loss under the attack itself can be larger. The size of the attack is E[1 -"
        " lambda] R_i |x_i|,"
        f" {size:.2g} in the median after training, and it says nothing of larger ones.",
    )


STUDY = Study(
    about="The quadratic form of mixing's loss beside the loss under an l2 attack, for many networks",
    parameters=Parameters,
    parts=lambda parameters: [str(group) for group in range(parameters.groups)],
    compute=compute,
    draw=draw,
    judges={"theorem_3": theorem_3},
)
