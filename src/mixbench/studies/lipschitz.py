"""Li & Tang: Lemma 1 and Theorem 1, on quadratics whose constants are known and on networks that G-Mix has trained."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from mixbench.schema.knob import knob
from mixbench.studies.judging import MORE, as_printed, interval, spread, values_of
from mixbench.studies.study import CONFIRMED, CORRECTED, REFUTED, UNDECIDED, Judgement, Study

if TYPE_CHECKING:
    import pandas as pd
    from torch import Generator, Tensor

    from mixbench.summarize.plots import Plot

RATIOS = (0.01, 0.1, 0.5)  # of the mixtures for which Theorem 1's constant by z is tried
STEPS = (1e-2, 1e-4)  # between two places of a line, for the quotient of slopes
PARTS = ("quadratic", "tanh", "relu")
APART = 1e-3  # distance of two weight vectors


@dataclass
class Parameters:
    """Random quadratics, and networks of one hidden layer on the 8x8 digits."""

    quadratics: int = knob("random quadratics and pairs of places", default=2000, at_least=10)
    networks: int = knob("networks of each kind", default=20, at_least=2)
    of: list[str] = knob("losses", default=list(PARTS), choices=PARTS)
    width: int = knob("hidden units", default=32, at_least=2)
    steps: int = knob("steps of G-Mix on batches of 128", default=600, at_least=10)
    rho: float = knob("rho of training and of Theorem 1", default=0.5, above=0)
    pairs: int = knob("pairs of examples for Lemma 1", default=500, at_least=10)


def compute(parameters: Parameters, part: str) -> pd.DataFrame:
    """One row for each number: which case (quadratic or network), what it is, and its value."""
    import pandas as pd

    cases = _quadratics(parameters) if part == "quadratic" else _networks(parameters, part)
    rows = [
        {"case": case, "quantity": name, "value": value}
        for case, numbers in enumerate(cases)
        for name, value in numbers.items()
    ]
    return pd.DataFrame(rows)


def _quadratics(p: Parameters) -> Iterator[dict[str, float]]:
    """Theorem 1 on 1/2 sum c_i w_i^2 of 1 to 100 weights, between places near and far from the minimum."""
    import torch

    from mixbench.analysis import lipschitz as li

    generator = torch.Generator().manual_seed(0)
    for _ in range(p.quadratics):
        size = int(torch.randint(1, 101, (), generator=generator))
        scale, apart = (10 ** (3 * torch.rand(2, generator=generator).double() - 2)).tolist()
        curvatures = torch.rand(size, generator=generator, dtype=torch.float64)
        loss, kappa = li.quadratic(curvatures), float(curvatures.max())
        u, direction = torch.randn(2, size, generator=generator, dtype=torch.float64) / size**0.5
        u, v = scale * u, scale * u + apart * direction
        yield _theorem_1(loss, u, v, kappa, p.rho)


def _theorem_1(
    loss: Callable[[Tensor], Tensor], u: Tensor, v: Tensor, kappa: float, rho: float
) -> dict[str, float]:
    from torch.func import grad

    from mixbench.analysis import lipschitz as li

    change = li.ascended_gradient(loss, u, rho) - li.ascended_gradient(loss, v, rho)
    gradient = min(float(grad(loss)(w).norm()) for w in (u, v))
    return {
        "gradient": gradient,
        "kappa": kappa,
        "quotient": float(change.norm() / (u - v).norm()),
        "printed": li.printed_constant(kappa, rho),
        "corrected": li.corrected_constant(kappa, rho, gradient),
    }


def _networks(p: Parameters, kind: str) -> Iterator[dict[str, float]]:
    """Lemma 1 and Theorem 1 on networks that have been trained by G-Mix; float64."""
    import torch

    from mixbench.analysis import lipschitz as li
    from mixbench.losses import cross_entropy, one_hot

    inputs, labels = _digits()
    targets = one_hot(labels, 10).double()
    for seed in range(p.networks):
        generator = torch.Generator().manual_seed(seed)
        network, w = _trained(p, kind, inputs, targets, generator)

        def loss(weights: Tensor, z: Tensor, network: Callable[..., Tensor] = network) -> Tensor:
            x, y = z.reshape(-1, 74).split([64, 10], dim=1)
            return cross_entropy(network(weights, x), y).mean()

        examples = torch.cat([inputs, targets], dim=1)
        first, second = torch.randint(len(examples), (2, p.pairs), generator=generator)
        lam = torch.rand(p.pairs, generator=generator, dtype=torch.float64)
        of_example = partial(loss, w)
        numbers = _lemma_1(of_example, examples[first], examples[second], lam)
        numbers |= _by_z(of_example, examples[first], examples[second])

        batch = lam[:128, None] * examples[first[:128]] + (1 - lam[:128, None]) * examples[second[:128]]

        of_weights = partial(loss, z=batch)
        kappa, direction = li.largest_curvature(of_weights, w)
        g = torch.func.grad(of_weights)(w)
        for at in (w + APART * direction, w + p.rho * g / g.norm()):
            kappa = max(kappa, li.largest_curvature(of_weights, at)[0])
        yield numbers | _theorem_1(of_weights, w, w + APART * direction, kappa, p.rho)


def _digits() -> tuple[Tensor, Tensor]:
    """Normalised digits (N, 64) and their classes (N,)."""
    import torch

    from mixbench.config.compose import compose
    from mixbench.training.build import load_splits

    split = load_splits(compose(["dataset=digits"]), torch.device("cpu")).train
    inputs = torch.tensor(split.inputs).reshape(len(split.inputs), 64).double()
    return (inputs - inputs.mean()) / inputs.std(), torch.tensor(split.labels)


def _trained(
    p: Parameters,
    kind: str,
    inputs: Tensor,
    targets: Tensor,
    generator: Generator,
) -> tuple[Callable[[Tensor, Tensor], Tensor], Tensor]:
    """A network as a function of its flat weights and inputs (N, 64), and the weights that G-Mix leaves."""
    import torch
    from torch import nn
    from torch.nn.utils import parameters_to_vector

    from mixbench.losses import cross_entropy
    from mixbench.optim.eager import eager
    from mixbench.optim.sam import SAM

    activation = {"tanh": torch.tanh, "relu": torch.relu}[kind]
    shapes = [(64, p.width), (p.width,), (p.width, 10), (10,)]
    sizes = [int(np.prod(shape)) for shape in shapes]

    def network(w: Tensor, x: Tensor) -> Tensor:
        a, b, c, d = (part.reshape(shape) for part, shape in zip(w.split(sizes), shapes, strict=True))
        return activation(x @ a + b) @ c + d

    class Flat(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            drawn = [
                torch.randn(shape, generator=generator, dtype=torch.float64)
                / shape[0] ** 0.5
                * (len(shape) > 1)
                for shape in shapes
            ]
            self.w = nn.Parameter(parameters_to_vector(drawn))

        def forward(self, x: Tensor) -> Tensor:
            return network(self.w, x)

    model = Flat()
    rule = SAM(model, eager(torch.optim.SGD, list(model.parameters()), lr=0.1, momentum=0.9), rho=p.rho)
    for _ in range(p.steps):
        first = torch.randint(len(inputs), (128,), generator=generator)
        second = first[torch.randperm(128, generator=generator)]
        lam = torch.rand((), generator=generator, dtype=torch.float64)
        x, y = (lam * of[first] + (1 - lam) * of[second] for of in (inputs, targets))
        rule.step(lambda x=x, y=y: cross_entropy(model(x), y))  # type: ignore[misc]
    return network, model.w.detach()


def _lemma_1(
    loss: Callable[[Tensor], Tensor], first: Tensor, second: Tensor, lam: Tensor
) -> dict[str, float]:
    """How many pairs are within the bounds, and how much steeper slopes change within a smaller step."""
    from mixbench.analysis.lipschitz import chords, steepest

    chord, curved = chords(loss, first, second, lam)
    length, bend = (first - second).norm(dim=1), lam * (1 - lam) / 2
    apart = length > 0
    kappa = float((curved[apart] / length[apart] ** 2).max())
    corrected, printed = bend * curved, float((bend * kappa * length).mean()) * length**2
    large, small = (steepest(loss, first[:100], second[:100], step) for step in STEPS)
    return {  # 1 % of room: the largest of 65 places is not quite the largest
        "lemma_printed": float((chord <= 1.01 * printed + 1e-12).double().mean()),
        "lemma_corrected": float((chord <= 1.01 * corrected + 1e-12).double().mean()),
        "lemma_tightness": float((chord / corrected)[apart].median()),
        "kappa_z": kappa,
        "slopes_steeper": small / large,
    }


def _by_z(loss: Callable[[Tensor], Tensor], first: Tensor, second: Tensor) -> dict[str, float]:
    """The share of pairs of mixtures between which the gradient by z changes by more than 2C, for each ratio."""
    from torch.func import grad, vmap

    derivative = vmap(grad(loss))
    found = {}
    for lam in RATIOS:
        mixtures = lam * first + (1 - lam) * second
        gradients = derivative(mixtures)
        distance = (mixtures[1:] - mixtures[:-1]).norm(dim=1)
        quotient = (gradients[1:] - gradients[:-1]).norm(dim=1) / distance
        kappa = float(quotient.max())  # no constant can be smaller
        constant = lam * (1 - lam) / 2 * kappa * float((first - second).norm(dim=1).mean())
        found[f"by_z_{lam:g}"] = float((quotient > 2 * constant).double().mean())
    return found


def draw(numbers: pd.DataFrame, parameters: Parameters) -> list[Plot]:
    """How far the quotient is above the printed and the corrected constant, by the length of the gradient."""
    from mixbench.summarize.plots import Line, Panel

    gradient, quotient = (
        values_of(numbers, "quadratic", "gradient"),
        values_of(numbers, "quadratic", "quotient"),
    )
    if not len(gradient):
        return []
    edges = np.quantile(gradient, np.linspace(0, 1, 13))
    middle, lines = np.sqrt(edges[1:] * edges[:-1]), []
    for style, (name, label) in enumerate(
        {"printed": "as printed", "corrected": "with the gradient's length"}.items()
    ):
        share = quotient / values_of(numbers, "quadratic", name)
        inside = [share[(gradient >= low) & (gradient <= high)] for low, high in itertools.pairwise(edges)]
        of = np.array([np.quantile(values, [0.05, 0.5, 0.95]) for values in inside])
        lines.append(
            Line(
                label,
                style,
                list(middle),
                list(of[:, 1]),
                [np.nan] * len(of),
                low=list(of[:, 0]),
                high=list(of[:, 2]),
            )
        )
    return [
        Panel(
            "Theorem 1 on random quadratics", "shorter of the two gradients", "change / its bound",
            lines, log=True, log_y=True,
        )
    ]  # fmt: skip


def lemma_1(numbers: pd.DataFrame, parameters: Parameters) -> Judgement:
    """The chord of the loss between two examples, on smooth networks, whose gradients have a constant."""
    printed, corrected = (
        values_of(numbers, "tanh", "lemma_printed"),
        values_of(numbers, "tanh", "lemma_corrected"),
    )
    verdict = as_printed(printed == 1, corrected == 1)
    tight = values_of(numbers, "tanh", "lemma_tightness")
    return Judgement(
        verdict,
        f"tanh networks: equation 9's bound holds for {corrected.mean():.2%} of the pairs, equation 6 with C as printed"
        f" for {printed.mean():.2%}; the chord is {spread(tight)} of equation 9's bound",
        "C as printed has a factor |z_i - z_j| too many: it holds"
        f" {'here because the distances are above one' if verdict == CONFIRMED else 'for distances above one alone'}."
        if verdict != REFUTED
        else "",
    )


def assumption_1(numbers: pd.DataFrame, parameters: Parameters) -> Judgement:
    """Gradients by z are Lipschitz: the quotient of slopes stays as two places come closer."""
    smooth, kinked = (
        values_of(numbers, "tanh", "slopes_steeper"),
        values_of(numbers, "relu", "slopes_steeper"),
    )
    low, high = interval(kinked, np.median)
    verdict = REFUTED if low > 5 else CONFIRMED if high < 2 else UNDECIDED
    share = values_of(numbers, "relu", "lemma_corrected")
    remark = "Networks with ReLU, which are the paper's, have no such constant; smooth ones do."
    return Judgement(
        verdict,
        f"with steps a hundred times smaller the largest quotient of slopes is {spread(smooth)} times as large in tanh"
        f" networks, {spread(kinked)} times in ReLU networks, where equation 9 with the curvature between the kinks"
        f" holds for {share.mean():.1%} of the pairs",
        {REFUTED: remark, UNDECIDED: MORE}.get(verdict, ""),
    )


def theorem_1(numbers: pd.DataFrame, parameters: Parameters) -> Judgement:
    """The gradient at w + delta by w."""
    words, holds = [], []
    for part, name in {"quadratic": "random quadratics", "tanh": "trained tanh networks"}.items():
        quotient = values_of(numbers, part, "quotient")
        printed = quotient <= values_of(numbers, part, "printed") * 1.01
        corrected = quotient <= values_of(numbers, part, "corrected") * 1.01
        holds.append((printed, corrected))
        words.append(
            f"{len(quotient)} {name}: holds for {printed.mean():.1%} as printed, for {corrected.mean():.1%} with the"
            f" gradient's length ({spread(values_of(numbers, part, 'gradient'))})"
        )
    verdict = as_printed(*(np.concatenate(of) for of in zip(*holds, strict=True)))
    return Judgement(
        verdict,
        "; ".join(words),
        "The proof takes g / |g| to be as smooth as g. Right is kappa_1 + kappa_1^2 rho / |g|, which has no bound where"
        " the gradient vanishes: at a minimum the ascent turns round." if verdict == CORRECTED else "",
    )  # fmt: skip


def theorem_1_by_z(numbers: pd.DataFrame, parameters: Parameters) -> Judgement:
    """The gradient by z, with the constant 2C, which vanishes with the ratio: no pair may exceed it; of a ratio that
    some networks exceed and others do not, the interval over networks decides.
    """
    shares = {lam: values_of(numbers, "tanh", f"by_z_{lam:g}") for lam in RATIOS}
    lows = [interval(values, np.mean)[0] for values in shares.values()]
    never = all(values.max() == 0 for values in shares.values())
    verdict = REFUTED if max(lows) > 0 else CONFIRMED if never else UNDECIDED
    told = ", ".join(f"{values.mean():.1%} at lambda {lam:g}" for lam, values in shares.items())
    remark = (
        "C is zero at lambda 0 and 1, where a mixture is an example and the gradient by z is what it is without"
        " Mixup."
    )
    return Judgement(
        verdict,
        f"tanh networks: the gradient changes by more than 2C times the distance for {told} of the"
        " pairs of mixtures",
        {REFUTED: remark, UNDECIDED: MORE}.get(verdict, ""),
    )


STUDY = Study(
    about="Lipschitz constants of Mixup's loss and of SAM's gradient, beside those that are claimed",
    parameters=Parameters,
    parts=lambda parameters: list(parameters.of),
    compute=compute,
    draw=draw,
    judges={
        "lemma_1": lemma_1,
        "assumption_1": assumption_1,
        "theorem_1": theorem_1,
        "theorem_1_by_z": theorem_1_by_z,
    },
)
