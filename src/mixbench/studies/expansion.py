"""Park et al., Theorem 1 and Remark 1: what the quadratic form leaves of the loss, as the images become small."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mixbench.schema.knob import knob
from mixbench.studies.judging import spread
from mixbench.studies.study import CONFIRMED, CORRECTED, REFUTED, Judgement, Study

if TYPE_CHECKING:
    import pandas as pd

    from mixbench.summarize.plots import Plot

TWO = ("Mixup", "quadrants", "box", "box, either way", "HMix")
THREE = ("Mixup of 3", "quadrants of 3")
SCALES = (1, 1 / 4, 1 / 16, 1 / 64, 1 / 256)
RATIOS = ((1, 1), (2, 2), (3, 1))  # of Beta
THIRD = 2.8  # powers of the scale: a remainder of third order has 3, a wrong quadratic form 2


@dataclass
class Parameters:
    """Random smooth networks on random images; the theorem states no sizes."""

    of: list[str] = knob("how images are mixed", default=[*TWO, *THREE], choices=[*TWO, *THREE])
    networks: int = knob("networks, each with its own examples", default=20, at_least=2)
    n: int = knob("pixels of a side", default=4, choices=[2, 4, 6, 8])
    examples: int = knob("examples of a network", default=5, at_least=2, at_most=20)
    width: int = knob("units of each of the two hidden layers", default=8, at_least=1)
    nodes: int = knob("values of lambda in each piece of the expectation", default=5, at_least=4)
    seed: int = knob("seed of weights and images", default=0, at_least=0)


def compute(parameters: Parameters, part: str) -> pd.DataFrame:
    """Of each network, ratio and scale: the loss less its quadratic form, as printed and corrected; and how far the
    printed a_jk are from the corrected, relative to these.
    """
    import pandas as pd
    import torch

    from mixbench.analysis import expansion as e
    from mixbench.analysis.approximation import initial

    p = parameters
    generator = torch.Generator().manual_seed(p.seed)
    weights = [2 * w for w in initial(p.networks, [p.n**2, p.width, p.width, 1], generator)]
    inputs = torch.randn(p.networks, p.examples, p.n**2, generator=generator, dtype=torch.float64)
    inputs = inputs - inputs.mean(1, keepdim=True)
    labels = torch.randint(2, (p.networks, p.examples), generator=generator).double()
    tables = []
    for alpha, beta in RATIOS if part in TWO else ((1, 1), (2, 2)):
        if part in TWO:
            mixing = e.two(part, p.n, alpha, beta, p.nodes)
            printed = e.moments_printed(part, p.n, alpha, beta, p.nodes)
        else:
            mixing = e.three(part, p.n, alpha, 3 * p.nodes)
            printed = e.moments(mixing)
            printed = e.Moments(printed.first, printed.own, printed.own)  # one a_jk for all, as of two images
        corrected = e.moments(mixing)
        off = (printed.partners / corrected.partners - 1).abs().max().item()
        for scale in SCALES:
            given = weights, scale * inputs, labels
            loss = e.exact(*given, mixing)
            look = {
                "printed": (loss - e.quadratic(*given, printed)).abs(),
                "corrected": (loss - e.quadratic(*given, corrected)).abs(),
            }
            where = {"alpha": alpha, "beta": beta, "scale": scale, "network": range(p.networks), "off": off}
            tables.append(pd.DataFrame(where | {key: value.numpy() for key, value in look.items()}))
    return pd.concat(tables, ignore_index=True)


def powers(numbers: pd.DataFrame, part: str, form: str) -> np.ndarray:
    """The power of the scale that the remainder falls with, over the two smallest scales: of each network, at the ratio
    where their median is smallest.
    """
    of = numbers[numbers["part"] == part].set_index(["alpha", "beta", "network", "scale"])[form].unstack()
    power = np.log(of[SCALES[-2]] / of[SCALES[-1]]) / np.log(SCALES[-2] / SCALES[-1])
    ratio = power.groupby(["alpha", "beta"]).median().idxmin()
    return power.loc[ratio].to_numpy()


def draw(numbers: pd.DataFrame, parameters: Parameters) -> list[Plot]:
    """The remainders against the scale of the images, as printed and corrected."""
    from mixbench.summarize.plots import Line, Panel

    plots: list[Plot] = []
    smaller = [1 / scale for scale in SCALES]
    for form, title in (("printed", "the theorem as printed"), ("corrected", "corrected")):
        lines = []
        for style, part in enumerate(parameters.of):
            of = numbers[numbers["part"] == part].groupby("scale")[form].median()
            lines.append(Line(part, style, list(1 / of.index), list(of), [np.nan] * len(of)))
        reference = numbers["corrected"][numbers["scale"] == 1].median() * np.array(SCALES) ** 3
        line = Line("third power", 7, smaller, list(reference), [np.nan] * len(SCALES), flat=True)
        plots.append(
            Panel(
                title, "images are smaller by", "|loss - quadratic form|", [*lines, line], True, smaller, True
            )
        )
    return plots


def _words(numbers: pd.DataFrame, parts: tuple[str, ...], form: str) -> str:
    return ", ".join(f"{part} {spread(powers(numbers, part, form))}" for part in parts)


def _third(numbers: pd.DataFrame, part: str, form: str) -> bool:
    """Whether the median power is that of a third-order remainder: single ones cross zero by chance."""
    return bool(np.median(powers(numbers, part, form)) > THIRD)


def theorem_1(numbers: pd.DataFrame, parameters: Parameters) -> Judgement:
    """The power of the remainder, for two images, with a_jk as printed and corrected."""
    held = [part for part in TWO if _third(numbers, part, "printed")]
    right = all(_third(numbers, part, "corrected") for part in TWO)
    verdict = CONFIRMED if len(held) == len(TWO) else CORRECTED if right else REFUTED
    wrong = [part for part in TWO if part not in held]
    off = numbers.groupby("part")["off"].max()
    return Judgement(
        verdict,
        f"the remainder falls with this power of the scale: as printed {_words(numbers, TWO, 'printed')}; corrected"
        f" {_words(numbers, TWO, 'corrected')}",
        f"As printed it needs 1 - M(1 - lambda) to have the law of M(lambda), which {' and '.join(wrong)} have not"
        f" (a_jk off by up to {' and '.join(f'{off[part]:.0%}' for part in wrong)}). In general a_jk under"
        " D-tilde is E[lambda (1 - M_j)(1 - M_k) + (1 - lambda) M_j M_k] under Beta(alpha, beta). The published"
        " GMix, which takes the box the other way for lambda < 1/2, has that symmetry; the text's has not."
        if verdict == CORRECTED
        else "",
    )


def n_samples(numbers: pd.DataFrame, parameters: Parameters) -> Judgement:
    """The power of the remainder, for three images, with our form."""
    right = all(_third(numbers, part, "corrected") for part in THREE)
    return Judgement(
        CONFIRMED if right else REFUTED,
        "for three images the remainder falls with this power of the scale:"
        f" {_words(numbers, THREE, 'corrected')}; with"
        f" one a_jk for both terms, as for two images, {_words(numbers, THREE, 'printed')}",
        "The appendix is not at hand; ours: x x^T keeps a_jk = E[(1 - M_j)(1 - M_k)], but the covariance has"
        " the sum over"
        " the partners of E[M_pj M_pk], which is the same for two images alone.",
    )


STUDY = Study(
    about="The loss of mixing and its quadratic form, as the images become small",
    parameters=Parameters,
    parts=lambda parameters: list(parameters.of),
    compute=compute,
    draw=draw,
    judges={"theorem_1": theorem_1, "n_samples": n_samples},
)
