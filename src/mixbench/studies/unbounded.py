"""Park et al., Figure 2: Mixup with lambdas below zero, beside Mixup with ordinary ones and none at all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mixbench.schema.knob import knob
from mixbench.studies.judging import paired
from mixbench.studies.study import CONFIRMED, UNDECIDED, Judgement, Study

if TYPE_CHECKING:
    import pandas as pd

    from mixbench.summarize.plots import Plot

# Least lambda, largest, and the rule for the label (see analysis.unbounded); None: no mixing.
PLAIN: dict[str, tuple[float, float, str] | None] = {
    "no mixing": None,
    "lambda in [0, 1]": (0.0, 1.0, "as is"),
    "lambda in [0, 0.75]": (0.0, 0.75, "as is"),
}
WIDE: dict[str, tuple[float, float, str] | None] = {
    f"lambda in [-0.75, 0.75], label {rule}": (-0.75, 0.75, rule) for rule in ("as is", "clipped", "absolute")
}
KINDS = PLAIN | WIDE


@dataclass
class Parameters:
    """Real CIFAR-10 at a size that many seeds allow, few enough images for a network to overfit them."""

    seeds: int = knob("networks of each kind", default=8, at_least=2)
    images: int = knob("images that are trained on", default=1000, at_least=100)
    test_images: int = knob("images that are tested on", default=2000, at_least=10)
    side: int = knob("pixels of a side", default=16, choices=[8, 16, 32])
    epochs: int = knob("epochs", default=25, at_least=1)
    batch_size: int = knob("images of a step", default=50, at_least=2)
    lr: float = knob("learning rate at the start", default=0.05, above=0)


def compute(parameters: Parameters, part: str) -> pd.DataFrame:
    """Of one seed, each kind: accuracies and losses on the images themselves, and the loss of mixtures with lambda -0.5
    and labels as they are.
    """
    import pandas as pd
    import torch

    from mixbench.analysis import small
    from mixbench.analysis.unbounded import UniformMixup
    from mixbench.data import load

    p, rows = parameters, []
    splits = load("cifar10", train_size=p.images, test_size=p.test_images)
    x, x_test = (small.prepared(np.asarray(split.inputs), p.side) for split in (splits.train, splits.test))
    y, y_test = (torch.from_numpy(np.array(split.labels)) for split in (splits.train, splits.test))
    mean, deviation = (of((0, 2, 3), keepdim=True) for of in (x.mean, x.std))
    x, x_test = (x - mean) / deviation, (x_test - mean) / deviation
    mixed, targets = UniformMixup(small.CLASSES, -0.5, -0.5)(x, y, generator=torch.Generator().manual_seed(0))
    for kind, given in KINDS.items():
        mixing = None if given is None else UniformMixup(small.CLASSES, *given)
        network = small.trained(x, y, mixing, int(part), p.epochs, p.batch_size, p.lr, stem_stride=2)
        row = {
            "kind": kind,
            "train": small.accuracy(network, x, y),
            "test": small.accuracy(network, x_test, y_test),
        }
        row |= {"train_loss": small.loss(network, x, y), "test_loss": small.loss(network, x_test, y_test)}
        rows.append(row | {"negative_loss": small.loss(network, mixed, targets)})
    return pd.DataFrame(rows)


def draw(numbers: pd.DataFrame, parameters: Parameters) -> list[Plot]:
    """Each network's test accuracy and test loss, kind by kind."""
    from mixbench.summarize.plots import Line, Panel

    panels: list[Plot] = []
    for column, y, scale in (("test", "test accuracy (%)", 100), ("test_loss", "test loss (nats)", 1)):
        lines = []
        for place, kind in enumerate(KINDS):
            of = numbers[numbers["kind"] == kind][column] * scale
            lines.append(Line(kind, place, [place + 1] * len(of), list(of), [np.nan] * len(of), points=True))
        panels.append(
            Panel(y.partition(" (")[0], "kind, in the legend's order", y, lines, ticks=[1, 2, 3, 4, 5, 6])
        )
    return panels


def beneficial(numbers: pd.DataFrame, parameters: Parameters) -> Judgement:
    """Confirmed if with one of the three labels at least lambdas in [-0.75, 0.75] have a higher test accuracy, paired
    by seed, than no mixing and than both ordinary intervals; for three tries, each interval is one of 1 - 0.05 / 3.
    That something can be better is not refuted by one scale: undecided otherwise.
    """
    test = numbers.pivot_table(index="part", columns="kind", values="test") * 100
    words, better, worse = [], [], []
    for kind in WIDE:
        ends = [paired(test[kind], test[plain], 1 - 0.05 / len(WIDE)) for plain in PLAIN]
        better.append(all(low > 0 for low, _ in ends))
        worse.append(any(high < 0 for _, high in ends[1:]))
        told = ", ".join(
            f"{(test[kind] - test[plain]).mean():+.1f} ({low:+.1f} to {high:+.1f}) against {plain}"
            for plain, (low, high) in zip(PLAIN, ends, strict=True)
        )
        words.append(f"{kind}: {told}")
    accuracies = ", ".join(f"{kind} {test[kind].mean():.1f} %" for kind in PLAIN)
    below = numbers.groupby("kind")["negative_loss"].mean()
    at = f"Tried with {len(test)} small networks of each kind on {parameters.images:,} CIFAR-10 images."
    remark = (
        f"{sum(better)} of three ways to treat the label, at this scale."
        if any(better)
        else f"Not at this scale: {sum(worse)} of three ways to treat the label are worse than an ordinary interval."
    )
    return Judgement(
        CONFIRMED if any(better) else UNDECIDED,
        f"test accuracy {accuracies}; points more, mean over seeds: {'; '.join(words)}. The loss of mixtures with"
        f" lambda -0.5 and labels as they are is {below[next(iter(WIDE))]:.2f} for networks trained with such,"
        f" {below['lambda in [0, 1]']:.2f} with ordinary Mixup",
        f"{remark} {at}",
    )


STUDY = Study(
    about="Networks trained with Mixup with lambdas below zero, with ordinary ones, and without",
    parameters=Parameters,
    parts=lambda parameters: [str(seed) for seed in range(parameters.seeds)],
    compute=compute,
    draw=draw,
    judges={"beneficial": beneficial},
)
