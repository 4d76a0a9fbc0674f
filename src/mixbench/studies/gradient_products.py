"""Park et al., Figure 5: products of two pixels' gradients in networks that were trained with each kind of mixing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mixbench.schema.knob import knob
from mixbench.studies.judging import paired
from mixbench.studies.study import CONFIRMED, REFUTED, UNDECIDED, Judgement, Study

if TYPE_CHECKING:
    import pandas as pd

    from mixbench.summarize.plots import Plot

METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "Vanilla": ("NoMix", {}),
    "Mixup": ("Mixup", {}),
    "CutMix": ("CutMix", {}),
    "HMix": ("HMix", {}),
    "GMix": ("GMix", {"alpha": 0.5}),
}
NEAR = 2  # pixels, of the larger of both distances


@dataclass
class Parameters:
    """What CIFAR-10 allows in seconds; the paper trains on ImageNet at 64x64 pixels."""

    methods: list[str] = knob("what is trained", default=list(METHODS), choices=list(METHODS))
    seeds: int = knob("networks of each method", default=5, at_least=2)
    images: int = knob("images that are trained on", default=2000, at_least=100)
    test_images: int = knob("images whose gradients are taken", default=1000, at_least=10)
    side: int = knob("pixels of a side", default=16, choices=[8, 16, 32])
    reach: int = knob("largest distance of two pixels along an axis", default=6, at_least=3, at_most=15)
    epochs: int = knob("epochs", default=12, at_least=1)
    batch_size: int = knob("images of a step", default=50, at_least=2)
    lr: float = knob("learning rate at the start", default=0.05, above=0)


def compute(parameters: Parameters, part: str) -> pd.DataFrame:
    """Of one seed, each method and offset: the mean largest product, the scale of the logits, the accuracy."""
    import pandas as pd
    import torch

    from mixbench import augment
    from mixbench.analysis import small
    from mixbench.data import load

    p = parameters
    splits = load("cifar10", train_size=p.images, test_size=p.test_images)
    x, x_test = (small.prepared(np.asarray(split.inputs), p.side) for split in (splits.train, splits.test))
    y, y_test = (torch.from_numpy(np.array(split.labels)) for split in (splits.train, splits.test))
    mean, deviation = (of((0, 2, 3), keepdim=True) for of in (x.mean, x.std))
    x, x_test = (x - mean) / deviation, (x_test - mean) / deviation
    tables = []
    for name in p.methods:
        method, given = METHODS[name]
        mixing = getattr(augment, method)(small.CLASSES, **given)
        network = small.trained(x, y, mixing, int(part), p.epochs, p.batch_size, p.lr)
        gradient, scale = small.pixel_gradients(network, x_test, y_test)
        found = small.products(gradient, p.reach)
        down, right = torch.meshgrid(*[torch.arange(-p.reach, p.reach + 1)] * 2, indexing="ij")
        table = {"down": down.flatten().numpy(), "right": right.flatten().numpy(), "product": found.flatten()}
        where = {"method": name, "logits": scale, "accuracy": small.accuracy(network, x_test, y_test)}
        tables.append(pd.DataFrame(where | table))
    return pd.concat(tables, ignore_index=True)


def draw(numbers: pd.DataFrame, parameters: Parameters) -> list[Plot]:
    """The mean maps, each over its own largest value, as the paper has them; and the values along a row, for logits of
    deviation 1.
    """
    from mixbench.summarize.charts import HeatMap
    from mixbench.summarize.plots import Line, Panel

    plots: list[Plot] = []
    lines = []
    for style, name in enumerate(parameters.methods):
        of = numbers[numbers["method"] == name]
        grid = of.groupby(["down", "right"])["product"].mean().unstack()
        places = [float(s) for s in grid.columns]
        values = (grid / grid.max().max()).to_numpy()
        plots.append(HeatMap(f"{name}, over its largest", "offset", "offset", places, places, values, 0, 1))
        row = of[of["down"] == 0]
        value = (row["product"] / row["logits"] ** 2).groupby(row["right"])
        lines.append(Line(name, style, list(value.mean().index), list(value.mean()), list(value.std())))
    title = "along a row, logits of deviation 1"
    plots.append(Panel(title, "offset", "largest |g_v g_(v+p)|", lines, log_y=True))
    return plots


def by_seed(numbers: pd.DataFrame, scaled: bool) -> dict[str, pd.DataFrame]:
    """Per seed and method: the mean product of near pixels (distance up to NEAR) and of the farthest, and their
    ratio.
    """
    distance = np.maximum(numbers["down"].abs(), numbers["right"].abs())
    value = numbers["product"] / (numbers["logits"] ** 2 if scaled else 1)
    place = [numbers["part"], numbers["method"]]
    near = value.where(distance <= NEAR).groupby(place).mean().unstack()
    far = value.where(distance == distance.max()).groupby(place).mean().unstack()
    return {"near": near, "shape": near / far}


def _against(of: pd.DataFrame, other: str) -> tuple[str, str]:
    """CutMix over another method, paired by seed: the verdict on "smaller", and the ratio in words."""
    ours, theirs = (np.log(of[name].to_numpy()) for name in ("CutMix", other))
    low, high = paired(ours, theirs)
    verdict = CONFIRMED if high < 0 else REFUTED if low > 0 else UNDECIDED
    return (
        verdict,
        f"{np.exp((ours - theirs).mean()):.2f} ({np.exp(low):.2f} to {np.exp(high):.2f}) times {other}",
    )


def _scale(parameters: Parameters) -> str:
    p = parameters
    return (
        f"Tried with {p.seeds} small networks on {p.images:,} CIFAR-10 images of {p.side}x{p.side} pixels; the paper's"
        " scale is ImageNet at 64x64."
    )


def near(numbers: pd.DataFrame, parameters: Parameters) -> Judgement:
    """Products of near pixels under CutMix, against Vanilla and Mixup, as they are and for logits of deviation 1."""
    words, verdicts = [], []
    for scaled, label in ((False, "as they are"), (True, "for logits of deviation 1")):
        of = by_seed(numbers, scaled)["near"]
        found = [_against(of, other) for other in ("Vanilla", "Mixup")]
        verdicts += [verdict for verdict, _ in found]
        words.append(f"{label} {' and '.join(said for _, said in found)}")
    accuracy = numbers.groupby("method")["accuracy"].mean()
    shown = ", ".join(f"{name} {accuracy[name]:.1%}" for name in parameters.methods)
    verdict = verdicts[0] if len(set(verdicts)) == 1 else UNDECIDED
    shapes = by_seed(numbers, False)["shape"].mean()
    of_all = ", ".join(f"{name} {shapes[name]:.2f}" for name in parameters.methods)
    remark = (
        ""
        if verdict != UNDECIDED
        else "The four comparisons do not agree: networks at the paper's scale would tell. "
    )
    return Judgement(
        verdict,
        f"products of pixels at most {NEAR} apart, CutMix over others (mean over seeds, 95 % interval):"
        f" {'; '.join(words)}"
        f"; test accuracy {shown}",
        f"{remark}Far products are smaller as well: near over far is {of_all}. {_scale(parameters)}",
    )


def shape(numbers: pd.DataFrame, parameters: Parameters) -> Judgement:
    """Near over far products: smaller under CutMix, whose a_jk are larger for near pixels."""
    of = by_seed(numbers, False)["shape"]
    found = [_against(of, other) for other in ("Vanilla", "Mixup")]
    kinds = {verdict for verdict, _ in found}
    ratios = ", ".join(f"{name} {of[name].mean():.2f}" for name in parameters.methods)
    return Judgement(
        kinds.pop() if len(kinds) == 1 else UNDECIDED,
        f"near products over those {parameters.reach} pixels away: {ratios}; CutMix's is"
        f" {' and '.join(said for _, said in found)} (95 % intervals over seeds)",
        _scale(parameters),
    )


STUDY = Study(
    about="Products of two pixels' gradients in networks trained with each kind of mixing",
    parameters=Parameters,
    parts=lambda parameters: [str(seed) for seed in range(parameters.seeds)],
    compute=compute,
    draw=draw,
    judges={"near": near, "shape": shape},
)
