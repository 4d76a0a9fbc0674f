"""Li & Tang: which train accuracy is behind their Gap, by networks that know their images by heart, as Vanilla's do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mixbench.papers.library import load
from mixbench.papers.spec import Table
from mixbench.schema.knob import knob
from mixbench.studies.judging import interval
from mixbench.studies.printed import METRICS, TABLES
from mixbench.studies.study import REFUTED, UNDECIDED, Judgement, Study

if TYPE_CHECKING:
    import pandas as pd

    from mixbench.summarize.plots import Plot


@dataclass
class Parameters:
    """Networks without crop and flip, trained until they know their images, at several levels of test accuracy."""

    networks: int = knob("networks at each place", default=3, at_least=2)
    datasets: list[str] = knob("data sets", default=["cifar10", "cifar100"], choices=["cifar10", "cifar100"])
    sizes: list[int] = knob("images that are trained on", default=[250, 500, 1000], at_least=100)
    epochs: int = knob("epochs", default=60, at_least=2)


def compute(parameters: Parameters, part: str) -> pd.DataFrame:
    """Test accuracy and the train accuracies after the last epoch."""
    import pandas as pd

    from mixbench.config.compose import compose
    from mixbench.training.unrecorded import epochs

    p, rows = parameters, []
    dataset, seed = part.split(" seed")
    for size in p.sizes:
        config = compose(
            [
                *(f"dataset={dataset}", f"dataset.train_size={size}", "dataset.test_size=1000"),
                *("dataset.base_augment=false", "batch_size=64", "model=wrn16_4", "model.depth=10"),
                *("model.width=2", "model.stem_stride=2"),
                *(f"epochs={p.epochs}", "opt=sgd", "opt.lr=0.1", "precision=float32", f"seed={seed}"),
                *(f"train_clean_every={p.epochs}", f"train_mixed_every={p.epochs}"),
            ]
        )
        *_, (_, row) = epochs(config)
        rows.append(
            {"size": size} | {key: row[key] for key in ("test_acc", "train_acc_clean", "train_acc_mixed")}
        )
    return pd.DataFrame(rows)


def printed() -> list[tuple[float, float]]:
    """Test_Acc and Gap of the Vanilla cells of Tables I and II, in the order of Test_Acc."""
    points = list[tuple[float, float]]()
    for key in TABLES:
        table = load(key)
        assert isinstance(table, Table)
        test, gap = (table.printed[metric]["Vanilla"] for metric in METRICS)
        points += [(t.value, g.value) for t, g in zip(test, gap, strict=True)]
    return sorted(points)


def draw(numbers: pd.DataFrame, parameters: Parameters) -> list[Plot]:
    """Gap against Test_Acc: the paper's Vanilla cells, and ours by two train accuracies."""
    from mixbench.summarize.plots import Line, Panel

    paper = printed()
    lines = [
        Line(
            "Li & Tang, Vanilla",
            0,
            [x for x, _ in paper],
            [y for _, y in paper],
            [np.nan] * len(paper),
            points=True,
        )
    ]
    for style, (kind, label) in enumerate({"mixed": "ours, mixed", "clean": "ours, clean"}.items(), 1):
        of = numbers.assign(gap=numbers["test_acc"] - numbers[f"train_acc_{kind}"]).sort_values("test_acc")
        lines.append(
            Line(label, style, list(of["test_acc"]), list(of["gap"]), [np.nan] * len(of), points=True)
        )
    return [Panel("networks without crop, flip and Mixup", "Test_Acc (%)", "Gap (points)", lines)]


def line(points: np.ndarray) -> tuple[float, float]:
    """Slope and correlation of the straight line through points (n, 2)."""
    slope = np.polyfit(points[:, 0], points[:, 1], 1)[0]
    return float(slope), float(np.corrcoef(points.T)[0, 1])


def straight(numbers: pd.DataFrame, parameters: Parameters) -> Judgement:
    """Whether ours lie on a line like theirs, by the train accuracy on mixed batches."""
    slope, r = line(np.array(printed()))
    seeds = numbers["part"].str.extract(r"seed(\d+)")[0]
    ours = {}
    for kind in ("mixed", "clean"):
        gap = numbers["test_acc"] - numbers[f"train_acc_{kind}"]
        points = np.stack([numbers["test_acc"], gap], axis=1)
        ours[kind] = [line(points[(seeds == seed).to_numpy()])[0] for seed in sorted(seeds.unique())]
    implied = np.array([test - gap for test, gap in printed()])
    mixed, clean = numbers["train_acc_mixed"], numbers["train_acc_clean"]
    low, high = interval(ours["mixed"], np.mean)
    sets = numbers["part"].str.split().str[0]
    points = np.stack([numbers["test_acc"], numbers["test_acc"] - mixed], axis=1)
    within = [f"{line(points[(sets == name).to_numpy()])[0]:.2f} on {name}" for name in sorted(sets.unique())]
    by_heart = clean.min() > 98
    near = implied.min() - 3 < mixed.min() and mixed.max() < implied.max() + 3
    return Judgement(
        REFUTED if by_heart and near else UNDECIDED,
        f"the seven Vanilla cells lie on a line of slope {slope:.2f} (r = {r:.3f}): train accuracies of"
        f" {implied.min():.1f} to {implied.max():.1f} % whatever the test accuracy. Ours, {len(numbers)} networks with"
        f" {numbers['test_acc'].min():.0f} to {numbers['test_acc'].max():.0f} % test accuracy:"
        f" {clean.min():.1f} to {clean.max():.1f} % on their images, {mixed.min():.1f} to {mixed.max():.1f} % on"
        f" Mixup batches, slope {np.mean(ours['mixed']):.2f} ({low:.2f} to {high:.2f}, over the seeds),"
        f" {' and '.join(within)} alone",
        "The printed Gaps are those to an accuracy on Mixup batches, also of methods that do not mix."
        if by_heart and near
        else "Neither train accuracy of ours is that of the cells. It would take the published networks, 200 epochs"
        " without augmentation.",
    )


STUDY = Study(
    about="Gap against test accuracy, by two train accuracies, of networks that know their images by heart",
    parameters=Parameters,
    parts=lambda p: [f"{dataset} seed{seed}" for dataset in p.datasets for seed in range(p.networks)],
    compute=compute,
    draw=draw,
    judges={"straight": straight},
)
