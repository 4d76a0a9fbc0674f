"""Park et al., section 3: the first-layer identity, and what minimising its term does to the first layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mixbench.schema.knob import knob
from mixbench.studies.judging import interval, spread
from mixbench.studies.study import CONFIRMED, CORRECTED, REFUTED, UNDECIDED, Judgement, Study

if TYPE_CHECKING:
    import pandas as pd

    from mixbench.summarize.plots import Plot

METHODS = ("Mixup", "CutMix", "HMix", "GMix")
ACTIVATIONS = ("tanh", "softplus")
SIDE = 8  # pixels of the digits
EXACT = 1e-9  # relative: float64 with sums of hundreds of terms


@dataclass
class Parameters:
    """Networks with random weights and biases on digits of 8x8 pixels; the paper states no sizes."""

    networks: int = knob("networks of each kind", default=100, at_least=2)
    width: int = knob("units of each of the two hidden layers", default=32, at_least=1)
    images: int = knob("images of a network", default=16, at_least=1)
    masks: int = knob("masks that are drawn of each method", default=500, at_least=2)
    steps: int = knob("steps of Adam on the term", default=200, at_least=1)
    lr: float = knob("learning rate of these steps", default=0.01, above=0)
    seed: int = knob("seed of weights, images and masks", default=0, at_least=0)


def compute(parameters: Parameters, part: str) -> pd.DataFrame:
    """Of each network and method: how far both sides are apart, and what is left after the term was minimised."""
    import pandas as pd
    import torch
    from sklearn.datasets import load_digits

    from mixbench import augment
    from mixbench.analysis import first_layer as f
    from mixbench.analysis.approximation import initial
    from mixbench.augment.draws import Draws

    p = parameters
    generator = torch.Generator().manual_seed(p.seed)
    images = torch.from_numpy(load_digits().data)
    images = (images - images.mean(0)) / images.std()
    covariance = images.T @ images / len(images)
    weights = initial(p.networks, [SIDE**2, p.width, p.width, 1], generator)
    inputs = images[torch.randint(len(images), (p.networks, p.images), generator=generator)]
    by_input, by_first = f.gradients(weights, inputs, part)
    first, whole = weights[0][:, :-1], by_input.square().sum(2) * inputs.square().sum(2)
    tables = []
    for name in METHODS:
        sampler = getattr(augment, name)(2, per_sample=True)
        drawn, *_ = sampler.batch_masks(p.masks, SIDE, SIDE, Draws(generator, "cpu"), None)
        partner = 1 - drawn.double().expand(-1, 1, SIDE, SIDE).flatten(1)
        left = f.left(by_input, inputs, partner)
        apart = (left - f.right(by_first, first, partner)).abs().amax((1, 2)) / left.abs().amax((1, 2))
        joint = partner.T @ partner / len(partner)
        product = by_input * inputs
        term = torch.einsum("mnj,jk,mnk->mn", product, joint, product)
        left_over: dict[str, torch.Tensor] = {}
        for what, sigma in (("term", torch.zeros_like(covariance)), ("G", covariance)):
            after = f.flattened(weights, inputs, part, joint, sigma, p.steps, p.lr)
            left_over |= {f"{what}_left": after[0], f"norm_left_{what}": after[1]}
        look = {
            "apart": apart,
            "second": ((term - left.square().mean(2)).abs() / term).amax(1),
            "other_reading": (left.mean(2).square() / term).mean(1),
            "share": (product.sum(2).square() / whole).mean(1),
        }
        tables.append(pd.DataFrame({"method": name, "network": range(p.networks), **look, **left_over}))
    return pd.concat(tables, ignore_index=True)


def draw(numbers: pd.DataFrame, parameters: Parameters) -> list[Plot]:
    """What is left of the squared norm after the term, and after all of G, was minimised."""
    from mixbench.summarize.plots import Bars

    edges = np.linspace(-3, 1, 25)
    plots: list[Plot] = []
    for name in METHODS:
        of = numbers[numbers["method"] == name]
        groups = {"the term alone": "norm_left_term", "all of G": "norm_left_G"}
        shares = {
            f"minimised: {label}": list(
                np.histogram(np.log10(of[column]).clip(edges[0] + 1e-9, edges[-1] - 1e-9), edges)[0] / len(of)
            )
            for label, column in groups.items()
        }
        x_label = "log10 of the squared norm, after over before"
        plots.append(Bars(name, x_label, "share of networks", list(edges), shares))
    return plots


def identity(numbers: pd.DataFrame, parameters: Parameters) -> Judgement:
    """Both equations of the first layer, with gradients by autograd."""
    worst, second = numbers["apart"].max(), numbers["second"].max()
    other = numbers["other_reading"].groupby(numbers["method"]).median()
    return Judgement(
        CONFIRMED if max(worst, second) < EXACT else REFUTED,
        f"{len(numbers)} networks and masks: both sides are equal within {worst:.0e} of the largest, and the"
        " sum over a_jk"
        f" is the mean of the squares within {second:.0e}; the square of the mean would be"
        f" {', '.join(f'{share:.0%} of it ({name})' for name, share in other.items())}",
        "E[...]^2 must be read as the mean of the squares. It needs a first layer whose weights are not shared: of a"
        " convolution only the case M = 0.",
    )


def flatness(numbers: pd.DataFrame, parameters: Parameters) -> Judgement:
    """The squared norm of theta_1^T grad_theta_1 F after the term was minimised, by mask: below half of what it was, by
    the interval of the median, for all to confirm; above half for all to refute, unless all of G leaves less than half.
    """
    words, flat = [], {}
    for name in METHODS:
        of = numbers[numbers["method"] == name]
        term, whole = of["norm_left_term"].to_numpy(), of["norm_left_G"].to_numpy()
        low, high = interval(term, np.median)
        flat[name] = CONFIRMED if high < 0.5 else REFUTED if low > 0.5 else UNDECIDED
        words.append(
            f"{name}: of the squared norm {spread(term)} is left when the term falls to"
            f" {of['term_left'].median():.1g}, {spread(whole)} when all of G falls to {of['G_left'].median():.1g}"
        )
    held = [name for name, found in flat.items() if found == CONFIRMED]
    whole_too = numbers["norm_left_G"].groupby(numbers["method"]).median().max() < 0.5
    verdict = (
        CONFIRMED
        if len(held) == len(METHODS)
        else CORRECTED
        if held or whole_too
        else UNDECIDED
        if UNDECIDED in flat.values()
        else REFUTED
    )
    remark = (
        "The term is the square of the trace of that matrix, and cos^2(grad f, x) of its squared norm"
        f" ({numbers['share'].median():.2g} in the median before): it can vanish and leave most of the norm. Below one"
        f" half for {', '.join(held) or 'no mask'}"
        f"{'; with the other half of G, in which the covariance stands, for all masks' if whole_too else ''}."
    )
    return Judgement(verdict, "; ".join(words), remark)


STUDY = Study(
    about="The first-layer identity of mixing's second term, and what minimising the term leaves",
    parameters=Parameters,
    parts=lambda parameters: list(ACTIVATIONS),
    compute=compute,
    draw=draw,
    judges={"identity": identity, "flatness": flatness},
)
