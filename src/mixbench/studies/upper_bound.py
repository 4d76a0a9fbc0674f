"""Zhang et al., Theorems 3.1 to 3.3: the quadratic form of Mixup's loss against adversarial losses, on many models."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mixbench.schema.knob import knob
from mixbench.studies.judging import interval, spread
from mixbench.studies.study import CONFIRMED, CORRECTED, REFUTED, UNDECIDED, Judgement, Study

if TYPE_CHECKING:
    import pandas as pd
    from torch import Generator, Tensor

    from mixbench.analysis.radius import Problem
    from mixbench.summarize.plots import Plot

PARTS = ("linear", "uncentred", "network", "minimisers")
CENTRED = {"linear": "linear models", "network": "ReLU networks"}
SHIFT = 2.5  # distance of the mean from the plane between the classes, where the examples are not centred
GROWN = 100.0  # factor by which the last layer grows, to see where the quadratic form goes
ROOM = 1e-9  # relative; rounding alone
NONE_INSIDE = Judgement(UNDECIDED, "no case in Theta", "Models that are trained until they make no error.")


@dataclass
class Parameters:
    """Examples and networks as in Figure 3; minimisers of Mixup's loss for three numbers of examples."""

    of: list[str] = knob("what is compared", default=list(PARTS), choices=PARTS)
    networks: int = knob("models of each kind, each with its own examples", default=100, at_least=2)
    n: int = knob("examples of a model", default=100, at_least=2)
    dimension: int = knob("numbers of an example", default=10, at_least=2)
    width: int = knob("units of each of the two hidden layers", default=50, at_least=1)
    looks: list[int] = knob(
        "epochs after which models are looked at", default=[0, 5, 20, 50, 100, 400], at_least=0
    )
    lr: float = knob("learning rate", default=0.1, above=0)
    momentum: float = knob("momentum", default=0.9, at_least=0, below=1)
    alpha: float = knob("lambda ~ Beta(alpha, alpha)", default=1.0, above=0)
    nodes: int = knob("values of lambda in the expectation of Mixup's loss", default=4, at_least=2)
    steps: int = knob("steps of the attack on a network", default=20, at_least=1)
    sizes: list[int] = knob("examples of a minimiser", default=[30, 100, 300], at_least=2)
    sets: int = knob("minimisers for each number of examples", default=40, at_least=2)


def compute(parameters: Parameters, part: str) -> pd.DataFrame:
    """Of each model and look: the three sides of the inequality, and the losses that they stand for."""
    import pandas as pd
    import torch

    generator = torch.Generator().manual_seed(0)
    of = _minimisers if part == "minimisers" else _training
    return pd.concat([pd.DataFrame(rows) for rows in of(parameters, part, generator)], ignore_index=True)


def _training(p: Parameters, part: str, generator: Generator) -> Iterator[dict[str, Any]]:
    from mixbench.analysis.radius import initial, trained
    from mixbench.analysis.upper_bound import examples, without_biases

    distance = SHIFT if part == "uncentred" else 0.0
    problem = examples(p.networks, p.n, p.dimension, distance, generator)
    hidden = [p.width, p.width] if part == "network" else []
    start = initial(p.networks, [p.dimension, *hidden, 1], generator)
    steps = trained(start, problem, max(p.looks), p.lr, p.momentum, p.n, generator)
    for epoch, weights in enumerate(steps):
        if epoch in p.looks:
            yield {"n": p.n, "epoch": epoch, **_sides(p, without_biases(weights), problem, generator)}


def _sides(p: Parameters, weights: list[Tensor], problem: Problem, generator: Generator) -> dict[str, Any]:
    import torch

    from mixbench.analysis import approximation as a
    from mixbench.analysis import upper_bound as t

    inputs, labels = problem.inputs, problem.labels
    output, _ = a.biased(weights, inputs)
    quadratic, by_example, by_least = t.three_sides(weights, inputs, labels, p.alpha)
    least = t.sizes(weights, inputs, p.alpha).min(1, keepdim=True).values
    grown = [*weights[:-1], weights[-1] * GROWN]
    with torch.no_grad():
        loss = [  # one by one: all pairs of all models do not fit
            a.mixup([w[m : m + 1] for w in weights], inputs[m : m + 1], labels[m : m + 1], p.alpha, p.nodes)
            for m in range(len(inputs))
        ]
    found = {
        "inside": t.inside(output, labels),
        "plain": a.logistic(output, labels).mean(1),
        "quadratic": quadratic,
        "by_example": by_example,
        "by_least": by_least,
        "loss": torch.cat(loss),
        "attacked": a.attacked(weights, inputs, labels, least, p.steps, generator),
        "size": least[:, 0],
        "grown": t.three_sides(grown, inputs, labels, p.alpha)[0],
    }
    constant = {"constant": np.nan, "constant_size": np.nan}
    return {"network": range(len(inputs))} | {name: v.numpy() for name, v in found.items()} | constant


def _minimisers(p: Parameters, part: str, generator: Generator) -> Iterator[dict[str, Any]]:
    """All sets are of one distribution, y = 1 where x_1 > 0; Theta* is the set of the minimisers that were found."""
    import torch
    from torch.nn import functional as F

    from mixbench.analysis import upper_bound as t
    from mixbench.analysis.approximation import attacked_second_order, moments
    from mixbench.analysis.radius import Problem

    drawn = {}
    for n in p.sizes:
        inputs = torch.randn(p.sets, n, p.dimension, generator=generator, dtype=torch.float64)
        inputs = inputs - inputs.mean(1, keepdim=True)
        problem = Problem(inputs, (inputs[..., 0] > 0).double())
        found = [t.minimiser(x, y, p.alpha, 8) for x, y in zip(problem.inputs, problem.labels, strict=True)]
        drawn[n] = problem, torch.stack(found)
    everything = torch.cat([theta for _, theta in drawn.values()])
    fresh = torch.randn(20_000, p.dimension, generator=generator, dtype=torch.float64)
    cosine = (F.normalize(fresh, dim=1) @ F.normalize(everything, dim=1).T).abs().min(1).values
    bounds = []
    for problem, theta in drawn.values():
        bounds.append(t.slopes(t.without_biases([theta[..., None]]), problem.inputs, problem.labels))
    least, most = (
        float(pick(error)) for pick in (min, max) for error in [torch.cat([e.flatten() for e, _ in bounds])]
    )
    kappa = min(float(curve.min()) for _, curve in bounds)
    radius = max(
        t.constant_radius(float((cosine >= tau).double().mean()), tau, kappa, least, most)
        for tau in np.linspace(0.01, 0.6, 60)
    )
    for n, (problem, theta) in drawn.items():
        weights = t.without_biases([theta[..., None]])
        size = radius * problem.inputs.norm(dim=2).min(1, keepdim=True).values * moments(p.alpha)[0]
        constant = attacked_second_order(weights, problem.inputs, problem.labels, size)
        row = _sides(p, weights, problem, generator)
        named = {"constant": constant.numpy(), "constant_size": size[:, 0].numpy()}
        yield {"n": n, "epoch": 0} | row | named


def draw(numbers: pd.DataFrame, parameters: Parameters) -> list[Plot]:
    """How far above the loss without mixing the sides are, from the epoch on at which mixing raises it everywhere."""
    from mixbench.summarize.plots import Line, Panel

    names = {
        "quadratic": "Mixup, quadratic form", "loss": "Mixup",
        "by_example": "adversarial, own sizes, second order", "by_least": "adversarial, least size, second order",
    }  # fmt: skip
    plots: list[Plot] = []
    for part, name in CENTRED.items():
        of = numbers[(numbers["part"] == part) & (numbers["epoch"] >= 20)]
        if of.empty:
            continue
        lines = []
        for style, (column, label) in enumerate(names.items()):
            above = (
                (of[column] - of["plain"])
                .groupby(of["epoch"])
                .quantile(np.array([0.25, 0.5, 0.75]))
                .unstack()
            )
            lines.append(
                Line(
                    label, style, above.index.tolist(), above[0.5].tolist(), [np.nan] * len(above),
                    low=above[0.25].tolist(), high=above[0.75].tolist(),
                )
            )  # fmt: skip
        plots.append(Panel(name, "epoch", "above the plain loss", lines, log_y=True))
    return plots


def _holds(of: pd.DataFrame, smaller: str, larger: str) -> pd.Series[bool]:
    return of[smaller] <= of[larger] + ROOM * of[larger].abs()


def _inequality(*kinds: str) -> Any:
    def judge(numbers: pd.DataFrame, parameters: Parameters) -> Judgement:
        words, within, outside = [], list[float](), list[float]()
        for part in kinds:
            of = numbers[numbers["part"] == part]
            chain = _holds(of, "by_example", "quadratic") & _holds(of, "by_least", "by_example")
            of_theta = of["inside"].astype(bool)
            if not of_theta.any():
                return NONE_INSIDE
            (outside if part == "uncentred" else within).append(chain[of_theta].mean())
            gap = ((of["quadratic"] - of["by_least"]) / of["quadratic"])[of_theta]
            name = "uncentred examples" if part == "uncentred" else f"centred examples, {CENTRED[part]}"
            words.append(
                f"{name}: holds for {chain[of_theta].mean():.1%} of {of_theta.sum()} cases in Theta, for"
                f" {chain[~of_theta].mean():.1%} of {(~of_theta).sum()} outside; the sides are {spread(gap)} of the"
                " larger one apart"
            )
        if min(within) < 1:
            return Judgement(REFUTED, "; ".join(words))
        if outside and min(outside) < 1:
            return Judgement(
                CORRECTED,
                "; ".join(words),
                "The examples' mean must be zero, which only the proof says; here it is 2.5 from the plane between the"
                " classes.",
            )
        return Judgement(CONFIRMED, "; ".join(words))

    return judge


def losses_themselves(numbers: pd.DataFrame, parameters: Parameters) -> Judgement:
    """Mixup's loss itself against the adversarial loss itself, at eps_mix: above it in all cases in Theta, or in more
    than 95 % of them.
    """
    words, shares = [], []
    for part, name in CENTRED.items():
        of = numbers[numbers["part"] == part]
        of = of[of["inside"].astype(bool)]
        if of.empty:
            return NONE_INSIDE
        holds = _holds(of, "attacked", "loss")
        shares.append(holds.mean())
        added = (of["attacked"] - of["plain"]) / (of["loss"] - of["plain"])
        words.append(
            f"{name}: holds for {holds.mean():.1%} of {len(of)} cases; sizes {spread(of['size'])}, and the attack adds"
            f" {spread(added)} of what Mixup adds to the loss"
        )
    verdict = CONFIRMED if min(shares) == 1 else CORRECTED if min(shares) > 0.95 else REFUTED
    remark = "An upper bound of an attack that hardly raises the loss: far from a tight one."
    return Judgement(
        verdict,
        "; ".join(words),
        {CONFIRMED: remark, CORRECTED: f"In most cases, not in all. {remark}"}.get(verdict, ""),
    )


def constant_radius(numbers: pd.DataFrame, parameters: Parameters) -> Judgement:
    """Theorem 3.2 with the minimisers of Mixup's loss itself, and whether the quadratic form has any."""
    of = numbers[numbers["part"] == "minimisers"]
    holds = _holds(of, "constant", "quadratic")
    fixed = of.groupby("n")["constant_size"].median()
    least = of.groupby("n")["size"].median()
    trained = numbers[numbers["part"].isin([*CENTRED]) & numbers["inside"].astype(bool)]
    falls = trained["grown"] < trained["quadratic"]
    words = (
        f"{falls.mean():.0%} of {len(trained)} quadratic forms in Theta are smaller at {GROWN:g} times the weights:"
        f" {spread(trained['grown'] / trained['quadratic'])} times as large. With minimisers of Mixup's loss itself the"
        f" inequality holds for {holds.mean():.1%} of {len(of)} sets ({of['inside'].mean():.0%} of them in Theta); its"
        f" size is {', '.join(f'{v:.2g} for {n} examples' for n, v in fixed.items())}, and Theorem 3.1's"
        f" {', '.join(f'{v:.2g}' for v in least)}"
    )
    vacuous, true = falls.mean() > 0.95, bool(holds.all())
    verdict = CORRECTED if vacuous and true else CONFIRMED if true else REFUTED
    remark = (
        "Theta holds weights without training error alone, along which the quadratic form falls to zero at last: it has"
        " no minimiser there, and Assumption 3.1 speaks of none. For those of Mixup's loss the constant does not depend"
        " on n."
    )
    return Judgement(verdict, words, remark if verdict == CORRECTED else "")


def no_minimiser(numbers: pd.DataFrame, parameters: Parameters) -> Judgement:
    """Theorem B.1 speaks of minimisers of the quadratic form: that of a network falls as its last layer grows."""
    of = numbers[(numbers["part"] == "network") & numbers["inside"].astype(bool)]
    ratio = (of["grown"] / of["quadratic"]).to_numpy()
    low, high = interval(ratio, np.median)
    return Judgement(
        UNDECIDED,
        f"of {len(of)} networks in Theta, with the last layer {GROWN:g} times as large, the quadratic form is"
        f" {np.median(ratio):.2g} times what it was (median; {low:.2g} to {high:.2g})",
        "As printed it speaks of an empty set, as Theorem 3.2 does. It would take minimisers of Mixup's loss itself, of"
        " networks, and with certainty.",
    )


STUDY = Study(
    about="The quadratic form of Mixup's loss beside adversarial losses of the sizes that it protects from",
    parameters=Parameters,
    parts=lambda parameters: list(parameters.of),
    compute=compute,
    draw=draw,
    judges={
        "theorem_3_1": _inequality("linear", "uncentred"),
        "theorem_3_2": constant_radius,
        "theorem_3_3": _inequality("network"),
        "theorem_b_1": no_minimiser,
        "losses": losses_themselves,
    },
)
