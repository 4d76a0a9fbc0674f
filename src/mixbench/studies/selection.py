"""Li & Tang: what is in B+ and what in B-, on networks that G-Mix trains."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mixbench.errors import ConfigError
from mixbench.schema.knob import knob
from mixbench.studies.judging import MORE, agreed, interval
from mixbench.studies.study import CONFIRMED, CORRECTED, REFUTED, UNDECIDED, Judgement, Study

if TYPE_CHECKING:
    import pandas as pd
    from torch import nn

    from mixbench.engine.loop import Loop
    from mixbench.summarize.plots import Plot

GAMMAS = (0.3, 0.5, 0.8)  # the paper's default, and the two that its figure 6 singles out
BATCH = 128
DIFFER = "The sign differs between rho and epochs, or is not clear: the paper's own networks would tell."
SPACES = {"own": "the network's own features", "plain": "those of a network trained without Mixup and SAM"}


@dataclass
class Parameters:
    """Networks trained by G-Mix, looked at while they train."""

    networks: int = knob("networks for each rho", default=6, at_least=2)
    rhos: list[float] = knob("rho of G-Mix", default=[0.05, 0.5], above=0)
    train_size: int = knob("CIFAR-10 images that they train on", default=3000, at_least=500)
    epochs: int = knob("epochs", default=15, at_least=3)
    looks: list[int] = knob("epochs after which they are looked at", default=[1, 5, 15], at_least=1)
    batches: int = knob("batches of 128 mixtures at each look", default=20, at_least=2)

    def __post_init__(self) -> None:
        if late := [look for look in self.looks if look > self.epochs]:
            raise ConfigError(f"looks={late[0]}: must be <= epochs={self.epochs}.")


def compute(parameters: Parameters, part: str) -> pd.DataFrame:
    """One row for each batch of mixtures: its ratio, and what B- has beyond B+."""
    import pandas as pd

    seed, rows = int(part.removeprefix("seed")), []
    (_, plain) = list(_trained(parameters, seed, ["opt=sgd"], [parameters.epochs]))[-1]
    reference = plain.model.eval()
    for rho in parameters.rhos:
        for epoch, loop in _trained(
            parameters, seed, ["augment=mixup", "opt=sam", f"opt.rho={rho}"], parameters.looks
        ):
            for batch, numbers in enumerate(_looked(loop, reference, parameters.batches, (seed, epoch))):
                rows.append({"rho": rho, "epoch": epoch, "batch": batch, **numbers})
    return pd.DataFrame(rows)


def _trained(p: Parameters, seed: int, method: list[str], looks: list[int]) -> Iterator[tuple[int, Loop]]:
    """The training loop of a run after each of the epochs in `looks`."""
    from mixbench.config.compose import compose
    from mixbench.training.unrecorded import epochs

    config = compose(
        [
            *("dataset=cifar10", f"dataset.train_size={p.train_size}", "dataset.test_size=100"),
            *("model=small_cnn", "model.stem_stride=2", "precision=float32", f"batch_size={BATCH}"),
            *(f"epochs={p.epochs}", "schedule=step", "train_clean_every=0", f"seed={seed}", *method),
        ]
    )
    for loop, row in epochs(config):
        if row["epoch"] in looks:
            yield row["epoch"], loop


def _looked(
    loop: Loop, reference: nn.Module, batches: int, seed: tuple[int, int]
) -> Iterator[dict[str, float]]:
    """What B- and B+ hold, for so many batches of mixtures as the network trains on them."""
    import torch
    from scipy.stats import spearmanr

    from mixbench.analysis.intrusion import features, intruding, losses_around
    from mixbench.data.order import derived_seed
    from mixbench.losses import one_hot
    from mixbench.optim.sam import SAM
    from mixbench.optim.selective import kept, sensitive

    assert isinstance(loop.rule, SAM)
    generator = torch.Generator().manual_seed(derived_seed("selection", *seed))
    everything = [
        loop.train.batch(fed, None) for fed in loop.train.feed(torch.arange(len(loop.train)).split(1000))
    ]
    images, labels = (torch.cat(parts) for parts in zip(*everything, strict=True))
    spaces = {"own": loop.model, "plain": reference}
    known = {}
    for name, model in spaces.items():
        known[name] = features(model.eval(), images)
    ratio = np.random.default_rng(derived_seed("ratio", *seed))
    for _ in range(batches):
        first = torch.randperm(len(images), generator=generator)[:BATCH]
        second = first[torch.randperm(BATCH, generator=generator)]
        lam = float(ratio.beta(1, 1))
        x = lam * images[first] + (1 - lam) * images[second]
        y = lam * one_hot(labels[first], 10) + (1 - lam) * one_hot(labels[second], 10)
        loop.model.train()
        before, after = losses_around(loop.rule, x, y)
        rise = after - before
        found = {"lam": lam, "loss": before.mean().item(), "rise": rise.mean().item()}
        found["rank_correlation"] = float(spearmanr(rise, before).statistic)
        chosen = {gamma: sensitive(rise, kept(gamma, BATCH)) for gamma in GAMMAS}
        for gamma, plus in chosen.items():
            found[f"loss_minus_less_plus_{gamma}"] = (after[~plus].mean() - after[plus].mean()).item()
        plus = chosen[0.5]
        for name, model in spaces.items():
            inside = intruding(features(model.eval(), x), known[name], labels, first, second).double()
            found[f"intruding_minus_{name}"] = inside[~plus].mean().item()
            found[f"intruding_plus_{name}"] = inside[plus].mean().item()
        yield found


def draw(numbers: pd.DataFrame, parameters: Parameters) -> list[Plot]:
    """The correlation of rise and loss, and what B- has beyond B+: loss, and intruding mixtures."""
    from mixbench.summarize.plots import Line, Panel

    def panel(title: str, y: str, value: pd.Series) -> Panel:
        cells, lines = _cells(numbers, value), []
        for style, rho in enumerate(parameters.rhos):
            of = [cells[rho, epoch] for epoch in parameters.looks]
            mean, std = [values.mean() for values in of], [values.std(ddof=1) for values in of]
            lines.append(Line(f"rho {rho:g}", style, parameters.looks, mean, std))
        return Panel(title, "epoch", y, lines, ticks=parameters.looks)

    titles = {"own": "intrusion, the network's features", "plain": "intrusion, a plain network's features"}
    return [
        panel("do hard mixtures rise most?", "rank correlation", numbers["rank_correlation"]),
        panel("equation 14, at w + delta", "loss, B- less B+", numbers["loss_minus_less_plus_0.5"]),
        *(
            panel(
                title,
                "B- less B+ (points)",
                100 * (numbers[f"intruding_minus_{name}"] - numbers[f"intruding_plus_{name}"]),
            )
            for name, title in titles.items()
        ),
    ]


def _cells(numbers: pd.DataFrame, value: pd.Series) -> dict[tuple[float, int], np.ndarray]:
    """The mean over batches of each network, by rho and epoch."""
    of = numbers[["rho", "epoch", "part"]].assign(value=value)
    means = of.groupby(["rho", "epoch", "part"])["value"].mean()
    return {key: group.to_numpy() for key, group in means.groupby(level=["rho", "epoch"])}  # type: ignore[misc]


def _range(cells: dict[tuple[float, int], np.ndarray], form: str) -> str:
    """Mean over networks with its interval, the lowest and the highest cell, in words."""

    def words(key: tuple[float, int]) -> str:
        low, high = interval(cells[key], np.mean)
        where = f"rho {key[0]:g}, epoch {key[1]}"
        return f"{cells[key].mean():{form}} ({low:{form}} to {high:{form}}; {where})"

    ordered = sorted(cells, key=lambda key: cells[key].mean())
    return f"from {words(ordered[0])} to {words(ordered[-1])}"


def _above(values: np.ndarray, bound: float) -> str:
    """The verdict on "the mean over networks is above the bound"."""
    low, high = interval(values, np.mean)
    return CONFIRMED if low > bound else REFUTED if high < bound else UNDECIDED


def equation_14(numbers: pd.DataFrame, parameters: Parameters) -> Judgement:
    """At w + delta the mixtures of B- have the smaller mean loss: in 95 % of the batches, or on average."""
    verdicts, words = [], []
    for gamma in GAMMAS:
        difference = numbers[f"loss_minus_less_plus_{gamma}"]
        holds, mean = _cells(numbers, (difference <= 0).astype(float)), _cells(numbers, -difference)
        always = agreed([_above(values, 0.95) for values in holds.values()])
        average = agreed([_above(values, 0) for values in mean.values()])
        verdicts.append(CONFIRMED if always == CONFIRMED else CORRECTED if average == CONFIRMED else average)
        words.append(f"gamma {gamma:g}: in {(difference <= 0).mean():.1%} of {len(difference)} batches")
    told = _range(_cells(numbers, numbers["loss_minus_less_plus_0.5"]), ".3f")
    verdict = agreed(verdicts)
    if verdict == UNDECIDED and set(verdicts) == {CONFIRMED, CORRECTED}:
        verdict = CORRECTED
    return Judgement(
        verdict,
        f"{'; '.join(words)}; difference at gamma 0.5 {told}",
        {CORRECTED: "On average over batches, not in each.", UNDECIDED: MORE}.get(verdict, ""),
    )


def correlation(numbers: pd.DataFrame, parameters: Parameters) -> Judgement:
    """Sorted by rise, the mixtures are likely to be sorted by loss."""
    cells = _cells(numbers, numbers["rank_correlation"])
    verdict = agreed([_above(values, 0) for values in cells.values()])
    return Judgement(
        verdict,
        f"rank correlation of rise and loss within a batch {_range(cells, '.2f')}",
        DIFFER if verdict == UNDECIDED else "",
    )


def _intrusion(space: str) -> Callable[[pd.DataFrame, Parameters], Judgement]:
    def judged(numbers: pd.DataFrame, parameters: Parameters) -> Judgement:
        minus, plus = numbers[f"intruding_minus_{space}"], numbers[f"intruding_plus_{space}"]
        cells = _cells(numbers, 100 * (minus - plus))
        verdict = agreed([_above(values, 0) for values in cells.values()])
        return Judgement(
            verdict,
            f"in {SPACES[space]}, {minus.mean():.1%} of B- and {plus.mean():.1%} of B+ intrude; difference in points"
            f" {_range(cells, '+.1f')}",
            DIFFER if verdict == UNDECIDED else "",
        )

    return judged


STUDY = Study(
    about="What the mixtures that a SAM perturbation hardly touches are, on networks trained by G-Mix",
    parameters=Parameters,
    parts=lambda parameters: [f"seed{seed}" for seed in range(parameters.networks)],
    compute=compute,
    draw=draw,
    judges={
        "equation_14": equation_14,
        "correlation": correlation,
        "intrusion_own": _intrusion("own"),
        "intrusion_plain": _intrusion("plain"),
    },
)
