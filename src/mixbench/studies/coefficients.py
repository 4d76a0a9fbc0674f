"""Park et al., Figure 4: the coefficients a_jk of the masks that train, and what the text gives for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mixbench.schema.knob import knob
from mixbench.studies.study import CONFIRMED, CORRECTED, REFUTED, Judgement, Study

if TYPE_CHECKING:
    import pandas as pd

    from mixbench.summarize.plots import Plot

SHOWN = 0.5  # lambda of the paper's figure
PARTS = 20  # of the masks of a sampler; their spread is the error of the mean
CLOSE = (
    5.0  # standard errors: of 40,000 comparisons of equal numbers, one in fifty such tables has one beyond
)
SAMPLERS = {
    "Mixup": ("Mixup", {}),
    "CutMix": ("CutMix", {}),
    "Stochastic": ("MixupCutMix", {}),
    "HMix": ("HMix", {"variant": "official"}),
    "HMix, paper": ("HMix", {"variant": "paper"}),
    "GMix": ("GMix", {"variant": "official"}),
    "GMix, paper": ("GMix", {"variant": "paper"}),
}
HYBRIDS = ("Stochastic", "HMix", "HMix, paper", "GMix", "GMix, paper")


@dataclass
class Parameters:
    """What the paper states for its Figure 4, at more lambdas."""

    n: int = knob("pixels of a side", default=64, at_least=4, at_most=256)
    masks: int = knob("masks that are drawn of each sampler and lambda", default=10_000, at_least=PARTS)
    every: int = knob("pixels between two offsets that are kept", default=7, at_least=1)
    r: float = knob("share of HMix's partner that comes from the box", default=0.5, at_least=0, at_most=1)
    lambdas: list[float] = knob("lambda of the masks", default=[0.1, 0.3, SHOWN, 0.7, 0.9], above=0, below=1)
    seed: int = knob("seed of the masks", default=0, at_least=0)


def compute(parameters: Parameters, part: str) -> pd.DataFrame:
    """Of one lambda, per sampler and offset: the mean over masks and its error, the text's value, and the corrected."""
    import pandas as pd
    import torch

    from mixbench.analysis import coefficients
    from mixbench.augment.draws import Draws

    p, lam = parameters, float(part)
    middle = p.n - 1
    kept = torch.arange(middle % p.every, 2 * p.n - 1, p.every)
    generator = torch.Generator().manual_seed(p.seed)
    tables = []
    for name in SAMPLERS:
        sampler, means, corner = _sampler(name, p.r), [], []
        for masks in np.array_split(np.arange(p.masks), PARTS):
            ratios = torch.full((len(masks),), lam, dtype=torch.float64)
            drawn, _ = sampler.sample(len(masks), p.n, p.n, Draws(generator, "cpu"), ratios)
            drawn = drawn.expand(-1, 1, p.n, p.n)
            means.append(coefficients.over_offsets(1 - drawn[:, 0]))
            corner.append(torch.stack([drawn[:, 0, 0, 0].mean(), drawn[:, 0, p.n // 2, p.n // 2].mean()]))
        found, places = torch.stack(means), torch.stack(corner)
        text, corrected = forms(name, lam, p.n, p.r)
        columns: dict[str, Any] = {"sampled": found.mean(0), "error": found.std(0) / PARTS**0.5}
        columns |= {"text": text, "corrected": corrected}
        down, right = torch.meshgrid(kept, kept, indexing="ij")
        table = {key: value[down, right].flatten().numpy() for key, value in columns.items()}
        table |= {"down": (down - middle).flatten().numpy(), "right": (right - middle).flatten().numpy()}
        table |= {"method": name, "lam": lam, "corner": places[:, 0].mean().item()}
        tables.append(pd.DataFrame(table | {"centre": places[:, 1].mean().item()}))
    return pd.concat(tables, ignore_index=True)


def _sampler(name: str, r: float) -> Any:
    from mixbench import augment

    method, given = SAMPLERS[name]
    return getattr(augment, method)(2, per_sample=True, **given, **({"r": r} if method == "HMix" else {}))


def forms(name: str, lam: float, n: int, r: float) -> tuple[Any, Any]:
    """The maps (2n - 1, 2n - 1) that the text gives, and those that know how boxes and bumps are clipped."""
    import math

    import torch

    from mixbench.analysis import coefficients as c

    mixup = torch.full((2 * n - 1, 2 * n - 1), (1 - lam) ** 2, dtype=torch.float64)
    box, clipped = c.separable(c.box_inside(lam, n)), c.separable(c.box_clipped(1 - lam, n))
    if name == "Mixup":
        return mixup, mixup
    if name == "CutMix":
        return box, clipped
    if name == "Stochastic":
        return (mixup + box) / 2, (mixup + clipped) / 2
    if name.startswith("HMix"):
        inside = c.hmix(lam, r, n, lambda share, n: c.box_inside(1 - share, n))
        if name == "HMix, paper":
            return inside, c.hmix(lam, r, n, c.box_clipped)
        half = int(n * math.sqrt((1 - lam) * r)) // 2

        def partner(row: int, column: int) -> Any:
            pixel = torch.arange(n)
            rows, columns = ((pixel >= at - half) & (pixel < at + half) for at in (row, column))
            covered = (rows[:, None] & columns).double()
            return torch.where(covered > 0, 1.0, 1 - lam / (1 - covered.mean()))

        return inside, c.by_enumeration(partner, n)
    plane = c.separable(c.bump_in_plane(2 * (1 - lam) * n * n, n))
    if name == "GMix, paper":
        return plane, c.separable(c.bump_clipped(2 * (1 - lam) * n * n, n))
    # The published code's bump is half as large, and is the own image for lambda < 1/2.
    bump = c.bump_clipped(min(lam, 1 - lam) * n * n, n)
    if lam >= 0.5:
        return plane, c.separable(bump)
    pixel = torch.arange(n, dtype=torch.float64)
    alone = torch.exp(-math.pi * (pixel[:, None] - pixel) ** 2 / (lam * n * n)).mean(1)
    chance = c.single(torch.diag(alone))
    return plane, 1 - chance - chance.flip(0, 1) + c.separable(bump)


def draw(numbers: pd.DataFrame, parameters: Parameters) -> list[Plot]:
    """The maps of all samplers at lambda = 0.5 on one scale, and their values along a row."""
    from mixbench.summarize.charts import HeatMap
    from mixbench.summarize.plots import Line, Panel

    shown = min(parameters.lambdas, key=lambda lam: abs(lam - SHOWN))
    of = numbers[np.isclose(numbers["lam"], shown)]
    top = of["sampled"].max()
    plots: list[Plot] = []
    for name in SAMPLERS:
        grid = of[of["method"] == name].pivot(index="down", columns="right", values="sampled")
        plots.append(
            HeatMap(
                name,
                "offset",
                "offset",
                [float(s) for s in grid.columns],
                [float(s) for s in grid.index],
                grid.to_numpy(),
                0,
                top,
            )
        )
    lines = []
    for style, name in enumerate(SAMPLERS):
        row = of[(of["method"] == name) & (of["down"] == 0)]
        lines.append(Line(name, style, list(row["right"]), list(row["sampled"]), list(row["error"])))
    plots.append(Panel(f"along a row, lambda = {shown:g}", "offset", "a_jk", lines))
    return plots


def apart(of: pd.DataFrame, form: str) -> tuple[float, float]:
    """The largest distance of the sampled coefficients from a form, and in standard errors (at least 1e-9)."""
    distance = (of["sampled"] - of[form]).abs()
    return float(distance.max()), float((distance / of["error"].clip(lower=1e-9)).max())


def against_text(numbers: pd.DataFrame, name: str, correction: str) -> Judgement:
    """A form of the text against a sampler, and the corrected one."""
    of = numbers[numbers["method"] == name]
    far, errors = apart(of, "text")
    _, left = apart(of, "corrected")
    relative = (of["sampled"] / of["text"]).where(of["text"] > 1e-12)
    ours = (
        f"{len(of)} coefficients at lambda {', '.join(f'{lam:g}' for lam in sorted(of['lam'].unique()))}: up to"
        f" {far:.3g} from the text ({errors:.3g} standard errors; {relative.min():.2f} to {relative.max():.2f} times"
        f" it), within {left:.1f} standard errors of the corrected form"
    )
    if errors <= CLOSE:
        return Judgement(CONFIRMED, ours)
    return Judgement(CORRECTED if left <= CLOSE else REFUTED, ours, correction)


def mixup(numbers: pd.DataFrame, parameters: Parameters) -> Judgement:
    """a_jk = (1 - lambda)^2."""
    return against_text(numbers, "Mixup", "")


def cutmix(numbers: pd.DataFrame, parameters: Parameters) -> Judgement:
    """Equation 10."""
    return against_text(
        numbers, "CutMix",
        "Equation 10 is exact for a box that is never clipped. The box that is drawn, around a uniform pixel, has even"
        " sides and is clipped: per axis, the share of the n centres whose box holds both pixels.",
    )  # fmt: skip


def gmix(numbers: pd.DataFrame, parameters: Parameters) -> Judgement:
    """Equation 11."""
    return against_text(
        numbers, "GMix, paper",
        "Equation 11 takes the integral over all of the plane, where the centre is a pixel of the image: the mean over"
        " the n pixels of each axis instead. Its first line has one minus sign too many. The published code's bump is"
        " half as large and has coefficients of its own.",
    )  # fmt: skip


def stochastic(numbers: pd.DataFrame, parameters: Parameters) -> Judgement:
    """The mean of Mixup's and CutMix's: as the text has CutMix's, else as clipped boxes have it."""
    return against_text(
        numbers, "Stochastic", "Of the two methods' coefficients, with those of clipped boxes."
    )


def intermediate(numbers: pd.DataFrame, parameters: Parameters) -> Judgement:
    """The share of offsets where a hybrid's coefficient lies between those of Mixup and CutMix."""
    place = ["lam", "down", "right"]
    of = {name: numbers[numbers["method"] == name].set_index(place).sort_index() for name in SAMPLERS}

    def inside(name: str, form: str) -> pd.Series[bool]:
        ends = of["Mixup"][form], of["CutMix"][form]
        value, room = of[name][form], 1e-12
        return (value >= np.minimum(*ends) - room) & (value <= np.maximum(*ends) + room)

    words, whole, drawn = [], True, True
    for name in HYBRIDS:
        ours, text = inside(name, "corrected"), inside(name, "text")
        whole = whole and bool(ours.all())
        if not name.startswith("GMix") or name == "GMix, paper":  # the text has one form of each
            drawn = drawn and bool(text[np.isclose(text.index.get_level_values("lam"), SHOWN)].all())
        by = ", ".join(f"{lam:g}: {share:.0%}" for lam, share in ours.groupby("lam").mean().items())
        words.append(f"{name} {by}")
    verdict = CONFIRMED if whole else CORRECTED if drawn else REFUTED
    remark = (
        f"Of the equations themselves at lambda = {SHOWN:g} it {'holds' if drawn else 'does not hold either'}; of the"
        " masks that are drawn it holds everywhere for the alternation of both alone, whose coefficient is their mean."
    )
    return Judgement(
        verdict,
        "offsets at which the coefficient lies between those of Mixup and CutMix, by lambda: "
        + "; ".join(words),
        "" if whole else remark,
    )


def mean_is_lambda(numbers: pd.DataFrame, parameters: Parameters) -> Judgement:
    """E[M] in a corner and in the centre, against lambda."""
    words, worst = [], 0.0
    for name in ("HMix", "HMix, paper", "CutMix", "GMix, paper"):
        of = numbers[numbers["method"] == name].groupby("lam")[["corner", "centre"]].first()
        away = of.sub(of.index.to_numpy(), axis=0)
        worst = max(worst, float(away.abs().to_numpy().max())) if name.startswith("HMix") else worst
        low, high = away.min(), away.max()
        words.append(
            f"{name}: corner {low['corner']:+.2f} to {high['corner']:+.2f}, centre {low['centre']:+.2f} to"
            f" {high['centre']:+.2f}"
        )
    return Judgement(
        CONFIRMED if worst < 0.01 else REFUTED,
        "E[M] - lambda over the lambdas: " + "; ".join(words),
        "A clipped box is smaller, and lies in a corner less often than in the centre."
        if worst >= 0.01
        else "",
    )


STUDY = Study(
    about="Coefficients a_jk = E[(1 - M_j)(1 - M_k)] of the masks that train",
    parameters=Parameters,
    parts=lambda parameters: [f"{lam:g}" for lam in parameters.lambdas],
    compute=compute,
    draw=draw,
    judges={
        "mixup": mixup,
        "cutmix": cutmix,
        "stochastic": stochastic,
        "gmix": gmix,
        "intermediate": intermediate,
        "mean_is_lambda": mean_is_lambda,
    },
)
