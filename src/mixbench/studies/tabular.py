"""Zou et al. (2023), Table 4: ERM, Mixup and MixupE on tables, over the paper's grid, seeds and two splits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mixbench.schema.knob import knob
from mixbench.studies.study import CONFIRMED, REFUTED, UNDECIDED, Cells, Judgement, Study

if TYPE_CHECKING:
    import pandas as pd

    from mixbench.engine.loop import Loop
    from mixbench.summarize.plots import Plot

METHODS = ("ERM", "Mixup", "MixupE")
# Data set options by the paper's names; those that are computed fastest first.
SETS = {
    "Iris": "iris",
    "Balance-scale": "balance_scale",
    "Arrhythmia": "arrhythmia",
    "CMC": "cmc",
    "Mfeat-karhunen": "mfeat_karhunen",
    "Mfeat-fourier": "mfeat_fourier",
    "Mfeat-factors": "mfeat_factors",
    "Abalone": "abalone",
    "Optdigits": "optdigits",
    "Pendigits": "pendigits",
    "Letter": "letter",
    "Mfeat-morph": "mfeat_morphological",
    "Mfeat-zernike": "mfeat_zernike",
    "Mnist_784": "mnist_784",
    "Volkert": "volkert",
}


@dataclass
class Parameters:
    """The grid of Zou et al. (2023), section 4.2; the split is not stated there."""

    splits: list[str] = knob(
        "per cent of training, validation and test rows",
        default=["60/20/20", "80/10/10"],
        choices=["60/20/20", "80/10/10"],
    )
    alphas: list[float] = knob(
        "Mixup's alpha", default=[0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0], above=0
    )
    etas: list[float] = knob("weights of MixupE's extra loss", default=[1e-4, 1e-3, 1e-2, 0.1, 1.0], above=0)
    seeds: int = knob("seeds, each with its own split", default=5, at_least=2)
    epochs: int = knob("epochs of a network", default=25, at_least=1)


def parts(parameters: Parameters) -> list[str]:
    """A set and a split each, "Iris 60/20/20"."""
    return [f"{name} {split}" for name in SETS for split in parameters.splits]


def column(part: str) -> str:
    """The set of a part."""
    return part.split()[0]


def compute(parameters: Parameters, part: str) -> pd.DataFrame:
    """A row for each network: method, alpha, eta, seed, and its accuracies after the last epoch, in per cent.

    Raises DataError where the set is not on this machine and cannot be fetched.
    """
    import pandas as pd
    import torch

    from mixbench.config.compose import compose
    from mixbench.training.build import build_loop, load_splits
    from mixbench.training.together import train_together

    name, split = part.split()
    rows = []
    for seed in range(parameters.seeds):
        config = compose(
            [
                *(
                    f"dataset={SETS[name]}",
                    f"dataset.split={split}",
                    "model=mlp",
                    "opt=adam",
                    "schedule=constant",
                ),
                *("batch_size=100", "drop_last=false", f"epochs={parameters.epochs}", f"seed={seed}"),
            ]
        )
        device = torch.device("cpu")
        splits = load_splits(config, device)
        plain = build_loop(config, device, splits)
        methods, loops = zip(*_variants(plain, splits.spec.num_classes, parameters), strict=True)
        for method, (val, test) in zip(methods, train_together(loops), strict=True):
            rows.append({"seed": seed, **method, "val_acc": val, "test_acc": test})
    return pd.DataFrame(rows)


def _variants(plain: Loop, num_classes: int, p: Parameters) -> Iterator[tuple[dict[str, object], Loop]]:
    """The loops of all methods: another augment or regularizer than the plain one, from the same initial weights."""
    import dataclasses

    from mixbench.augment.mixup import Mixup
    from mixbench.regularize.mixupe import MixupE

    yield {"method": "ERM", "alpha": np.nan, "eta": np.nan}, plain
    for alpha in p.alphas:
        mixed = dataclasses.replace(plain, augment=Mixup(num_classes, alpha))
        yield {"method": "Mixup", "alpha": alpha, "eta": np.nan}, mixed
        for eta in p.etas:
            extended = dataclasses.replace(mixed, objective=MixupE(eta, alpha))
            yield {"method": "MixupE", "alpha": alpha, "eta": eta}, extended


def chosen(numbers: pd.DataFrame) -> pd.DataFrame:
    """Of each part and method the networks with the (alpha, eta) of the highest mean validation accuracy over seeds.

    Of several equal ones those that come first in the grid. Test errors are in the column `error`.
    """
    import pandas as pd

    found = []
    keys = ["alpha", "eta"]
    for (part, _), of in numbers.groupby(["part", "method"], sort=False):
        mean = of.groupby(keys, dropna=False, sort=False)["val_acc"].mean().round(8)
        best = pd.Series(dict(zip(keys, mean.index[int(np.argmax(mean.to_numpy()))], strict=True)))
        same = (of[keys].eq(best) | (of[keys].isna() & best.isna())).all(axis=1)
        named = ", ".join(f"{key} {value:g}" for key, value in best.items() if not np.isnan(value))
        table, split = str(part).split()
        taken = of[same].assign(table=table, split=split, chosen=named, error=100 - of.loc[same, "test_acc"])
        found.append(taken)
    return pd.concat(found, ignore_index=True)


def cells(numbers: pd.DataFrame, parameters: Parameters) -> pd.DataFrame:
    """The cells of the table."""
    of = chosen(numbers).rename(columns={"split": "protocol", "method": "row", "table": "column"})
    return of.assign(**{"test error": of["error"]})[
        ["protocol", "row", "column", "seed", "test error", "chosen"]
    ]


def errors(numbers: pd.DataFrame) -> pd.DataFrame:
    """Test errors with a row for each split, set and seed, a column for each method."""
    return chosen(numbers).pivot(index=["split", "table", "seed"], columns="method", values="error")


def to_mixup(of: pd.DataFrame, method: str) -> pd.DataFrame:
    """Of each set the mean difference of a method's test error to Mixup's over seeds, and its 95 % interval (Student's
    t, paired).
    """
    from scipy import stats

    difference = of[method] - of["Mixup"]
    grouped = difference.groupby(level="table", sort=False)
    mean, deviation, count = grouped.mean(), grouped.std(), grouped.count()
    half = deviation / np.sqrt(count) * stats.t.ppf(0.975, count - 1)
    return mean.to_frame("mean").assign(low=mean - half, high=mean + half)


def draw(numbers: pd.DataFrame, parameters: Parameters) -> list[Plot]:
    """Of each set the mean difference to Mixup's test error against that error, in each split."""
    from mixbench.summarize.plots import Line, Panel, Plot

    of, panels = errors(numbers), list[Plot]()
    for split in dict.fromkeys(of.index.get_level_values("split")):
        ours = of.loc[split]
        mixup = ours["Mixup"].groupby(level="table", sort=False).mean()
        lines = []
        for style, method in enumerate(("ERM", "MixupE")):
            apart = to_mixup(ours, method)["mean"].reindex(mixup.index)
            lines.append(Line(method, style, list(mixup), list(apart), [np.nan] * len(apart), points=True))
        lines.append(Line("no difference", 2, [min(mixup), max(mixup)], [0, 0], [np.nan] * 2, flat=True))
        title = f"{split}: {len(mixup)} sets, {parameters.seeds} seeds"
        panels.append(Panel(title, "test error of Mixup (%)", "difference to it (points)", lines, log=True))
    return panels


def best_of(numbers: pd.DataFrame, parameters: Parameters) -> Judgement:
    """On how many sets MixupE has the lowest mean test error, in each split.

    The paper says nine of fifteen: confirmed where that many are found in both splits, refuted where in neither the
    sets that are missing could still make it nine. A tie for the lowest counts as lowest.
    """
    words, verdicts, missing = [], [], dict[str, None]()
    of = errors(numbers)
    for split in parameters.splits:
        ours = of.loc[[split]].droplevel("split") if split in of.index.get_level_values("split") else of[:0]
        there = list(dict.fromkeys(ours.index.get_level_values("table")))
        open_ = [name for name in SETS if name not in there]
        missing |= dict.fromkeys(f"{name} at {split}" for name in open_)
        if not there:
            verdicts.append(UNDECIDED)
            continue
        mean = ours.groupby(level="table").mean().round(8)
        lowest = int((mean["MixupE"] <= mean.min(axis=1)).sum())
        tied = int((mean["MixupE"] == mean[["ERM", "Mixup"]].min(axis=1)).sum())
        apart = to_mixup(ours, "MixupE")
        words.append(
            f"{split}: the lowest mean error on {lowest} of {len(there)} sets, {tied} of them as low as"
            f" another's; below Mixup's on"
            f" {int((apart['mean'] < 0).sum())}, with a paired 95 % interval below zero on"
            f" {int((apart['high'] < 0).sum())} and above zero on {int((apart['low'] > 0).sum())}; mean difference"
            f" {apart['mean'].mean():+.2f} points"
        )
        verdicts.append(CONFIRMED if lowest >= 9 else REFUTED if lowest + len(open_) < 9 else UNDECIDED)
    return Judgement(
        verdicts[0] if len(set(verdicts)) == 1 else UNDECIDED,
        "; ".join(words),
        (f"Not computed: {', '.join(missing)}. " if missing else "")
        + "MixupE is the best of 45 on the validation rows, Mixup of 9, ERM the only one.",
    )


STUDY = Study(
    about="ERM, Mixup and MixupE on tables: a perceptron over the paper's grid, chosen on validation accuracy",
    parameters=Parameters,
    parts=parts,
    compute=compute,
    draw=draw,
    judges={"best_of": best_of},
    table=Cells(cells, column),
    partial=True,
)
