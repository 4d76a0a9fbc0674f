"""Zou et al., Theorem 1, and Zhang et al., Lemma 3.1: expansions of Mixup's loss on trained networks, by order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mixbench.schema.knob import knob
from mixbench.studies import first_order
from mixbench.studies.judging import MORE, as_printed, interval, spread, values_of
from mixbench.studies.study import CONFIRMED, CORRECTED, REFUTED, UNDECIDED, Judgement, Study

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

    from mixbench.summarize.plots import Plot

TANH = {"untrained": "before training", "trained": "after training"}
NEAR = (0.04, 0.02)  # 1 - lambda, for how fast the remainder vanishes
SLOPES = (1, 2, 3, 4)  # orders K of which that is measured: beyond, rounding shows


@dataclass
class Parameters:
    """tanh networks on ten principal components of the 8x8 digits, so that outputs are as many as inputs."""

    networks: int = knob("networks of each kind", default=20, at_least=2)
    width: int = knob("hidden units", default=32, at_least=2)
    steps: int = knob("steps of Mixup on batches of 128", default=500, at_least=1)
    lr: float = knob("learning rate, with momentum 0.9", default=0.1, above=0)
    alpha: float = knob("lambda ~ Beta(alpha, alpha)", default=1.0, above=0)
    pairs: int = knob("pairs of examples", default=500, at_least=10)
    nodes: int = knob("values of lambda in an expectation", default=10, at_least=2)
    orders: int = knob("largest order K", default=8, at_least=4)


def compute(parameters: Parameters, part: str) -> pd.DataFrame:
    """One row for each number: which case (network or alpha), what it is, and its value."""
    import pandas as pd

    if part in TANH:
        cases = _tanh(parameters, part == "trained")
    elif part in first_order.RELU:
        p, biases = parameters, first_order.RELU[part]
        cases = first_order.relu(p.networks, p.width, biases, p.steps, p.lr, p.alpha)
    else:
        cases = first_order.weights()
    rows = [
        {"case": case, "quantity": name, "value": value}
        for case, numbers in enumerate(cases)
        for name, value in numbers.items()
    ]
    return pd.DataFrame(rows)


def _tanh(p: Parameters, trained: bool) -> Iterator[dict[str, float]]:
    import torch
    from torch.nn import functional as F

    from mixbench.analysis.approximation import initial, quadrature
    from mixbench.analysis.digits import digits, train

    inputs, labels = digits(10)
    lam, share = quadrature(p.alpha, p.nodes)
    for seed in range(p.networks):
        generator = torch.Generator().manual_seed(seed)
        weights = [w[0] for w in initial(1, [10, p.width, 10], generator)]

        def model(x: Tensor, weights: list[Tensor] = weights) -> Tensor:
            return torch.tanh(x @ weights[0][:-1] + weights[0][-1]) @ weights[1][:-1] + weights[1][-1]

        if trained:
            train(model, weights, seed, inputs, labels, steps=p.steps, lr=p.lr, alpha=p.alpha)
        one, two = torch.randint(len(inputs), (2, p.pairs), generator=generator)
        pair = inputs[one], inputs[two] - inputs[one], F.one_hot(labels[one], 10).double()
        yield _orders(p, weights, pair, 1 - lam, share)


def _orders(
    p: Parameters, weights: list[Tensor], pair: tuple[Tensor, Tensor, Tensor], a: Tensor, share: Tensor
) -> dict[str, float]:
    """How far the expansions are from what mixing adds to the loss, by the order."""
    import torch

    from mixbench.analysis import series as s

    start, way, target = pair
    output = s.network(weights, start, way, p.orders)
    composed = s.log_sum_exp(output) - (output * target).sum(-1)

    def added(of: Tensor) -> Tensor:
        """What mixing adds to the loss itself: (pairs, places)."""
        end = s.network(
            weights, start[:, None] + of[:, None] * way[:, None], torch.zeros_like(way[:, None]), 0
        )[0]
        return end.logsumexp(-1) - (end * target[:, None]).sum(-1) - composed[0][:, None]

    def theorem(of: Tensor, order: int, printed: bool) -> Tensor:
        """Equation 2 without remainders: h expanded around f(x_i) along a Delta_i; printed: h o f around x_i."""
        change = s.value(torch.cat([0 * output[:1], output[1 : order + 1]])[:, :, None], of[:, None])
        if printed:
            series = s.log_sum_exp(s.network(weights, start[:, None].expand_as(change), change, order))
        else:
            first = output[0][:, None].expand_as(change)
            series = s.log_sum_exp(torch.stack([first, change, *[0 * change] * (order - 1)]))
        return series[1:].sum(0) - (change * target[:, None]).sum(-1)

    def taylor(of: Tensor, order: int) -> Tensor:
        return s.value(torch.cat([0 * composed[:1], composed[1 : order + 1]])[:, :, None], of)

    whole = (added(a) @ share).mean()
    first = (taylor(a, 1) @ share).mean()
    found = {"added": float(whole), "first": float(first), "rest": float(whole - first)}
    for order in range(1, p.orders + 1):
        found[f"error_{order}"] = float(abs((theorem(a, order, False) @ share).mean() / whole - 1))
        found[f"taylor_error_{order}"] = float(abs((taylor(a, order) @ share).mean() / whole - 1))
    near = torch.tensor(NEAR, dtype=start.dtype)
    ways = {
        "slope": lambda order: theorem(near, order, False),
        "printed_slope": lambda order: theorem(near, order, True),
        "taylor_slope": lambda order: taylor(near, order),
    }
    for name, of in ways.items():
        for order in SLOPES:
            far, close = (of(order) - added(near)).abs().mean(0).tolist()
            found[f"{name}_{order}"] = float(np.log(far / close) / np.log(NEAR[0] / NEAR[1]))
    return found


def draw(numbers: pd.DataFrame, parameters: Parameters) -> list[Plot]:
    """The error of the expansions against their order, median and quartiles over networks."""
    from mixbench.summarize.plots import Line, Panel

    orders = list(range(1, parameters.orders + 1))
    plots: list[Plot] = []
    for part, title in TANH.items():
        lines = []
        for style, (name, label) in enumerate(
            {"error": "Theorem 1", "taylor_error": "Taylor's series in 1 - lambda"}.items()
        ):
            of = np.array(
                [np.quantile(values_of(numbers, part, f"{name}_{k}"), [0.25, 0.5, 0.75]) for k in orders]
            )
            lines.append(
                Line(label, style, orders, list(of[:, 1]), [np.nan] * len(of), low=list(of[:, 0]), high=list(of[:, 2]))
            )  # fmt: skip
        plots.append(Panel(title, "order K", "relative error", lines, ticks=orders, log_y=True))
    return plots


def theorem_1(numbers: pd.DataFrame, parameters: Parameters) -> Judgement:
    """The remainder is o(a^K): its slope against a, on both axes logarithmic, is above K."""
    printed, corrected = (
        {k: np.concatenate([values_of(numbers, part, f"{name}_{k}") for part in TANH]) for k in SLOPES}
        for name in ("printed_slope", "slope")
    )
    verdict = as_printed(
        [np.all(of > k + 0.5) for k, of in printed.items()],
        [np.all(of > k + 0.5) for k, of in corrected.items()],
    )
    told = ", ".join(f"K = {k}: {np.median(of):.2f}" for k, of in corrected.items())
    wrong = ", ".join(f"{np.median(of):.2f}" for of in printed.values())
    return Judgement(
        verdict,
        f"{len(corrected[1])} tanh networks: the remainder falls with the power {told} of 1 - lambda (K + 1 is right);"
        f" with the derivatives by x_i, as printed, {wrong}",
        "Delta_i is a change of outputs: it is the derivatives of h at f(x_i) that it is multiplied with, not those of"
        " h o f at x_i, which have as many numbers as an example." if verdict == CORRECTED else "",
    )  # fmt: skip


def large_order(numbers: pd.DataFrame, parameters: Parameters) -> Judgement:
    """The error at the largest order is below that at order 1, in expectation over lambda, by the interval of the
    median; below before training and above after it is a correction.
    """
    words, lower = [], []
    for part, title in TANH.items():
        by_order = {k: values_of(numbers, part, f"error_{k}") for k in range(1, parameters.orders + 1)}
        gain = np.log10(by_order[parameters.orders] / by_order[1])
        low, high = interval(gain, np.median)
        lower.append(-1 if high < 0 else 1 if low > 0 else 0)
        some = (1, 2, 4, parameters.orders)
        words.append(
            f"{title}: relative error " + ", ".join(f"{np.median(by_order[k]):.2g} (K = {k})" for k in some)
        )
    verdict = (
        CONFIRMED
        if max(lower) < 0
        else REFUTED
        if min(lower) > 0
        else CORRECTED
        if lower == [-1, 1]
        else UNDECIDED
    )
    remark = (
        "While the network is nearly linear. After training the series diverges: 1 - lambda is up to 1, and the series"
        " of tanh and of the softmax have small radii of convergence."
    )
    return Judgement(verdict, "; ".join(words), {CORRECTED: remark, UNDECIDED: MORE}.get(verdict, ""))


def dominates(numbers: pd.DataFrame, parameters: Parameters) -> Judgement:
    """The first-order term is larger than all others together."""
    words, ends = [], []
    for part, title in TANH.items():
        first, rest = np.abs(values_of(numbers, part, "first")), np.abs(values_of(numbers, part, "rest"))
        larger = (first > rest).astype(float)
        ends.append(interval(larger, np.mean))
        words.append(
            f"{title}: the first-order term is {spread(first / rest)} times the rest, larger in {larger.mean():.0%} of"
            f" {len(first)} networks"
        )
    verdict = (
        CONFIRMED
        if min(low for low, _ in ends) > 0.5
        else REFUTED
        if max(high for _, high in ends) < 0.5
        else CORRECTED
        if ends[0][0] > 0.5 > ends[1][1]
        else UNDECIDED
    )
    remark = {CORRECTED: "Before training only.", UNDECIDED: MORE}.get(verdict, "")
    return Judgement(verdict, "; ".join(words), remark)


def lemma_3_1(numbers: pd.DataFrame, parameters: Parameters) -> Judgement:
    """The remainder of the second order vanishes faster than (1 - lambda)^2."""
    slopes = np.concatenate([values_of(numbers, part, "taylor_slope_2") for part in TANH])
    told = "; ".join(
        f"{title} the second order is {spread(values_of(numbers, part, 'taylor_error_2'))} of what mixing adds off"
        for part, title in TANH.items()
    )
    verdict = CONFIRMED if np.all(slopes > 2.5) else REFUTED
    return Judgement(
        verdict,
        f"{len(slopes)} tanh networks: the remainder falls with the power {spread(slopes)} of 1 - lambda; with lambda ~"
        f" Beta({parameters.alpha:g}, {parameters.alpha:g}), {told}",
        "It vanishes with 1 - lambda, which is 1/3 in the mean for alpha = 1: there it is no small number."
        if verdict == CONFIRMED
        else "",
    )


STUDY = Study(
    about="Expansions of Mixup's loss in directional derivatives, against the loss itself, by their order",
    parameters=Parameters,
    parts=lambda parameters: [*TANH, *first_order.RELU, "weights"],
    compute=compute,
    draw=draw,
    judges={
        "theorem_1": theorem_1,
        "large_order": large_order,
        "dominates": dominates,
        "equation_5": first_order.equation_5,
        "mean_weight": first_order.mean_weight,
        "lemma_3_1": lemma_3_1,
    },
)
