"""Zou et al., Figure 2: the coefficients of the directional derivatives in the first several hundred iterations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mixbench.schema.knob import knob
from mixbench.studies.judging import MORE, interval, spread
from mixbench.studies.study import CONFIRMED, REFUTED, UNDECIDED, Judgement, Study

if TYPE_CHECKING:
    import pandas as pd

    from mixbench.summarize.plots import Plot

MODELS = {
    "small_cnn": ("model=small_cnn", "model.stem_stride=2"),
    "wrn16_1": ("model=wrn16_4", "model.width=1", "model.stem_stride=2"),
}
NAMES = {"small_cnn": "three convolutions", "wrn16_1": "WRN-16-1"}
METHODS = {"mixup": "Mixup", "none": "ERM"}


@dataclass
class Parameters:
    """The paper's optimiser on all of CIFAR-10; its networks have 11 and 23 million weights, ours fit a CPU."""

    models: list[str] = knob("networks", default=list(MODELS), choices=list(MODELS))
    seeds: int = knob("networks of each kind and method", default=5, at_least=2)
    iterations: int = knob("steps on batches of 100, at most an epoch", default=300, at_least=1, at_most=500)
    every: int = knob("steps between two looks", default=30, at_least=1)
    images: int = knob("training images looked at", default=100, at_least=1)


def compute(parameters: Parameters, part: str) -> pd.DataFrame:
    """Of each network and look: the least and the mean alpha over images and classes, and the shares below zero."""
    import pandas as pd
    import torch

    from mixbench.analysis.directions import coefficients
    from mixbench.config.compose import compose
    from mixbench.training.unrecorded import first_epoch

    p, rows = parameters, []
    model, method = part.split(", ")
    for seed in range(p.seeds):
        config = compose(
            [
                *("dataset=cifar10", "dataset.crop_padding=2", "dataset.test_size=100", *MODELS[model]),
                *("batch_size=100", "epochs=200", "opt=sgd", "opt.lr=0.1", "opt.momentum=0.9"),
                *("opt.nesterov=false", "opt.weight_decay=1e-4", "schedule=step", "precision=float32"),
                *(
                    "schedule.milestones=[0.5,0.75]",
                    "schedule.factor=0.1",
                    f"augment={method}",
                    f"seed={seed}",
                ),
            ]
        )
        for step, loop in enumerate(first_epoch(config)):
            if step == 0:
                some = next(iter(loop.train.feed((torch.arange(2000),))))
                images, labels = loop.train.batch(some, None)
                mean, images, labels = images.mean(0), images[: p.images], labels[: p.images]
            if step % p.every == 0:
                alpha, q = coefficients(loop.model, images, labels, mean)
                own = alpha[torch.arange(len(labels)), labels]
                row = {
                    "seed": seed,
                    "iteration": step,
                    "least": alpha.min().item(),
                    "mean": alpha.mean().item(),
                }
                row |= {"negative": (alpha < 0).double().mean().item(), "own": own.mean().item()}
                rows.append(row | {"q_negative": (q < 0).double().mean().item(), "q": q.mean().item()})
            if step == p.iterations:
                break
    return pd.DataFrame(rows)


def parts(parameters: Parameters) -> list[str]:
    """Each network with each method."""
    return [f"{model}, {method}" for model in parameters.models for method in METHODS]


def draw(numbers: pd.DataFrame, parameters: Parameters) -> list[Plot]:
    """The least alpha, as in the paper, and the share of images for which Mixup's first-order term is below zero."""
    from mixbench.summarize.plots import Line, Panel

    plots: list[Plot] = []
    for column, title, y in (
        ("least", "the least alpha", "min of alpha over k and i"),
        ("q_negative", "first-order terms below zero", "share of images with q < 0"),
    ):
        lines = []
        for style, part in enumerate(parts(parameters)):
            model, method = part.split(", ")
            of = numbers[numbers["part"] == part].groupby("iteration")[column]
            mean, std = of.mean(), of.std()
            label = f"{NAMES[model]}, {METHODS[method]}"
            lines.append(Line(label, style, mean.index.tolist(), mean.tolist(), std.tolist()))
        plots.append(Panel(title, "iteration", y, lines))
    return plots


def _by_network(of: pd.DataFrame, column: str) -> np.ndarray:
    """Means over all looks but the first, which is before training."""
    return of[of["iteration"] > 0].groupby("seed")[column].mean().to_numpy()


def negative(numbers: pd.DataFrame, parameters: Parameters) -> Judgement:
    """The least alpha is below zero at every look of every network with Mixup: of all kinds of network to confirm, of
    none to refute.
    """
    words, always, without = [], list[bool](), list[bool]()
    for part in parts(parameters):
        model, method = part.split(", ")
        of = numbers[numbers["part"] == part]
        worst = of.groupby("seed")["least"].max().to_numpy()
        (always if method == "mixup" else without).append(bool((worst < 0).all()))
        words.append(
            f"{NAMES[model]}, {METHODS[method]}: least alpha {spread(of['least'])}, {of['negative'].mean():.0%} of all"
            " alpha are negative"
        )
    verdict = CONFIRMED if all(always) else UNDECIDED if any(always) else REFUTED
    remark = (
        "It is no effect of Mixup: without it the least alpha is below zero at every look too."
        if all(without)
        else ""
    )
    more = "The two kinds of network differ: others would tell." if verdict == UNDECIDED else ""
    return Judgement(verdict, "; ".join(words), f"{remark} {more}".strip())


def unintended(numbers: pd.DataFrame, parameters: Parameters) -> Judgement:
    """Whether Mixup's first-order term is below zero on average over images and looks, so that it grows the norms."""
    words, below, above = [], [], []
    for model in parameters.models:
        of = {method: numbers[numbers["part"] == f"{model}, {method}"] for method in METHODS}
        share, mean = (_by_network(of["mixup"], column) for column in ("q_negative", "q"))
        low, high = interval(mean, np.mean)
        below.append(high < 0)
        above.append(low > 0)
        words.append(
            f"{NAMES[model]}: q < 0 for {share.mean():.0%} of the images, mean q {mean.mean():+.2f} ({low:+.2f} to"
            f" {high:+.2f}), without Mixup {_by_network(of['none'], 'q').mean():+.2f}"
        )
    verdict = CONFIRMED if all(below) else REFUTED if all(above) else UNDECIDED
    remark = "It rewards larger norms, or other angles: whether the norms grow by it was not measured."
    return Judgement(verdict, "; ".join(words), {CONFIRMED: remark, UNDECIDED: MORE}.get(verdict, ""))


STUDY = Study(
    about="Coefficients of the directional derivatives toward the mean image, in early training",
    parameters=Parameters,
    parts=parts,
    compute=compute,
    draw=draw,
    judges={"negative": negative, "unintended": unintended},
)
