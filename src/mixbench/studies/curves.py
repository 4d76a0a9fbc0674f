"""Losses and gaps between train and test in the course of training, by method.

Zhang et al., Figures 5 and 6, and Zou et al., Figure 1, at a scale that several seeds allow.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from mixbench.schema.knob import knob
from mixbench.studies.judging import paired, sided
from mixbench.studies.study import CONFIRMED, CORRECTED, REFUTED, UNDECIDED, Judgement, Study

if TYPE_CHECKING:
    import pandas as pd

    from mixbench.summarize.plots import Plot

MIXUP = ("augment=mixup", "augment.alpha=1")
METHODS = {
    "ERM": ("augment=none",),
    "Mixup": MIXUP,
    # The ends of the range in which the paper searches eta.
    "MixupE, eta 0.0001": (*MIXUP, "regularizer=mixupe", "regularizer.alpha=1", "regularizer.eta=1e-4"),
    "MixupE, eta 0.1": (*MIXUP, "regularizer=mixupe", "regularizer.alpha=1", "regularizer.eta=0.1"),
}
PLAIN, AUGMENTED = "dataset.base_augment=false", "dataset.base_augment=true"
PLACES = {
    "CIFAR-10": ("cifar10", PLAIN),
    "CIFAR-10, crop and flip": ("cifar10", AUGMENTED),
    "CIFAR-100": ("cifar100", PLAIN),
    "CIFAR-100, crop and flip": ("cifar100", AUGMENTED),
}


@dataclass
class Parameters:
    """small_cnn on few small images, by the papers' optimiser: SGD at 0.1, momentum 0.9, divided by 10 after half and
    three quarters of the epochs.
    """

    methods: list[str] = knob("what is trained", default=["ERM", "Mixup"], choices=list(METHODS))
    places: list[str] = knob("images, and how they are changed", default=list(PLACES), choices=list(PLACES))
    seeds: int = knob("networks of each method at each place", default=5, at_least=2)
    images: int = knob("images that are trained on", default=500, at_least=100)
    test_images: int = knob("images that are tested on", default=500, at_least=10)
    side: int = knob("pixels of a side", default=16, choices=[16, 32])
    epochs: int = knob("epochs", default=24, at_least=2)
    every: int = knob("epochs between two looks", default=4, at_least=1)
    batch_size: int = knob("images of a step", default=64, at_least=2)


def compute(parameters: Parameters, part: str) -> pd.DataFrame:
    """Of one place and seed, each method and epoch: error in percent and cross-entropy in nats on the test images, and
    on those that are trained on, neither mixed nor augmented (NaN between two looks); and the loss that was trained
    with.
    """
    import pandas as pd

    from mixbench.analysis import small
    from mixbench.config.compose import compose
    from mixbench.training.unrecorded import epochs

    p, rows = parameters, []
    place, seed = part.split(" seed ")
    dataset, augmented = PLACES[place]
    with TemporaryDirectory() as folder:
        path = small.saved(Path(folder), dataset, p.side, p.images, p.test_images)
        for method in p.methods:
            config = compose(
                [
                    *("dataset=arrays", f"dataset.path={path}", augmented, "dataset.flip=true"),
                    *(f"dataset.crop_padding={p.side // 8}", "model=small_cnn", "model.stem_stride=2"),
                    *(f"batch_size={p.batch_size}", f"epochs={p.epochs}", "opt=sgd", "opt.lr=0.1"),
                    *("opt.momentum=0.9", "opt.nesterov=false", "opt.weight_decay=1e-4", "schedule=step"),
                    *("schedule.milestones=[0.5,0.75]", "schedule.factor=0.1", "precision=float32"),
                    *(f"train_clean_every={p.every}", "train_mixed_every=0", f"seed={seed}"),
                    *METHODS[method],
                ]
            )
            for _, row in epochs(config):
                look = {"method": method, "epoch": row["epoch"], "trained_loss": row["train_loss"]}
                look |= {"train_error": 100 - row["train_acc_clean"], "train_loss": row["train_loss_clean"]}
                rows.append(look | {"test_error": 100 - row["test_acc"], "test_loss": row["test_loss"]})
    return pd.DataFrame(rows)


def parts(parameters: Parameters) -> list[str]:
    """Each place with each seed."""
    return [f"{place} seed {seed}" for place in parameters.places for seed in range(parameters.seeds)]


def by_place(numbers: pd.DataFrame, place: str) -> pd.DataFrame:
    """Those of a place, with gaps: test less train."""
    of = numbers[numbers["part"].str.partition(" seed ")[0] == place]
    return of.assign(
        error_gap=of["test_error"] - of["train_error"], loss_gap=of["test_loss"] - of["train_loss"]
    )


def draw(numbers: pd.DataFrame, parameters: Parameters) -> list[Plot]:
    """A row for each place: train loss, test loss, and their gap; means and deviations over seeds."""
    from mixbench.summarize.plots import Line, Panel

    plots: list[Plot] = []
    for place in parameters.places:
        for column in ("train_loss", "test_loss", "loss_gap"):
            lines = []
            for style, method in enumerate(parameters.methods):
                of = by_place(numbers, place).query("method == @method").dropna(subset=column)
                by = of.groupby("epoch")[column]
                lines.append(Line(method, style, list(by.mean().index), list(by.mean()), list(by.std())))
            plots.append(Panel(place, "epoch", f"{column.replace('_', ' ')} (nats)", lines))
    return plots


def last(numbers: pd.DataFrame, place: str, column: str) -> pd.DataFrame:
    """After the last epoch: seeds in rows, methods in columns."""
    of = by_place(numbers, place)
    return of[of["epoch"] == of["epoch"].max()].pivot_table(index="part", columns="method", values=column)


def _scale(parameters: Parameters) -> str:
    p = parameters
    return (
        f"Tried with {p.seeds} small networks of each method on {p.images:,} images of {p.side}x{p.side} pixels,"
        f" {p.epochs} epochs."
    )


def gaps(numbers: pd.DataFrame, parameters: Parameters) -> Judgement:
    """Mixup's gap is smaller than ERM's, in error and in loss: at each place the interval of the difference, paired by
    seed, after the last epoch. All must be smaller to confirm, all larger to refute; some smaller and all others larger
    is a correction.
    """
    words, ends = [], []
    for place in parameters.places:
        told = []
        for column, unit in (("error_gap", " points"), ("loss_gap", "")):
            of = last(numbers, place, column)
            ends.append(paired(of["ERM"], of["Mixup"]))
            told.append(
                f"{column.replace('_', ' ')} {of['ERM'].mean():.2f} and {of['Mixup'].mean():.2f}{unit}, smaller by"
                f" {(of['ERM'] - of['Mixup']).mean():.2f} ({ends[-1][0]:.2f} to {ends[-1][1]:.2f})"
            )
        error = last(numbers, place, "test_error").mean()
        told.append(f"test error {error['ERM']:.1f} and {error['Mixup']:.1f} %")
        words.append(f"{place}: {'; '.join(told)}")
    verdict = sided(ends)
    remark = {
        CONFIRMED: "Whether that is by a lower test error is another claim. ",
        CORRECTED: "Not at every place. ",
        UNDECIDED: f"{sum(low > 0 for low, _ in ends)} of {len(ends)} gaps are smaller, and"
        f" {sum(high < 0 for _, high in ends)} larger. More seeds would tell. ",
    }.get(verdict, "")
    return Judgement(
        verdict,
        f"ERM and Mixup, on images that are neither mixed nor augmented, means over seeds: {'. '.join(words)}",
        f"{remark}{_scale(parameters)}",
    )


STATISTICS = (
    "MixupE passes the un-mixed batch through the network too, which moves BatchNorm's running statistics: with eta 0"
    " its weights are Mixup's, its test loss is not."
)


def mixupe(numbers: pd.DataFrame, parameters: Parameters) -> Judgement:
    """MixupE has a higher train loss and a lower test loss than Mixup and than ERM, all cross-entropies on un-mixed
    images after the last epoch: four differences at each place, paired by seed. Confirmed if for one eta all of them
    are so, refuted if for each eta one of them is the other way round; with two eta, each interval is one of
    1 - 0.05 / 2.
    """
    kinds = [name for name in parameters.methods if name.startswith("MixupE")]
    words, right, wrong = [], [], []
    for kind in kinds:
        ends = []
        for place in parameters.places:
            for column, sign in (("train_loss", 1), ("test_loss", -1)):
                of = last(numbers, place, column)
                told = []
                for other in ("Mixup", "ERM"):
                    low, high = paired(of[kind], of[other], 1 - 0.05 / len(kinds))
                    ends.append((low, high) if sign > 0 else (-high, -low))
                    told.append(
                        f"{(of[kind] - of[other]).mean():+.3f} ({low:+.3f} to {high:+.3f}) against {other}"
                    )
                words.append(
                    f"{kind}, {place}, {column.replace('_', ' ')} {of[kind].mean():.3f}: {', '.join(told)}"
                )
            of = last(numbers, place, "trained_loss")
            apart = (of[kind] - of["Mixup"]).abs().max()
            words[-1] += f", while the loss that it trains with is within {apart:.4f} of Mixup's"
        right.append(all(low > 0 for low, _ in ends))
        wrong.append(any(high < 0 for _, high in ends))
    return Judgement(
        CONFIRMED if any(right) else REFUTED if all(wrong) else UNDECIDED,
        f"cross-entropy on un-mixed images, means over seeds: {'; '.join(words)}",
        f"{STATISTICS} {_scale(parameters)}",
    )


STUDY = Study(
    about="Train and test losses and errors in the course of training, of ERM, Mixup and MixupE",
    parameters=Parameters,
    parts=parts,
    compute=compute,
    draw=draw,
    judges={"gaps": gaps, "mixupe": mixupe},
)
