"""Zhang et al., Theorems 3.4 and 3.5, and Zou et al., Theorem 2: complexities of the classes that Mixup bounds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mixbench.studies.judging import as_printed, interval, spread, values_at
from mixbench.studies.regularizers import Found
from mixbench.studies.study import CONFIRMED, CORRECTED, REFUTED, Judgement

if TYPE_CHECKING:
    import pandas as pd

RANKS = (1, 3, 10, 30, 100)
SIZES = (30, 100, 300, 1000)
GAMMAS = (0.01, 0.1, 1.0)
WIDTH = 100  # numbers of an example in Remark 3.2, Theorem 3.5 and Theorem 2
HIDDEN = (1, 5, 20)
SHAPES = {"ball": "examples on a sphere", "cube": "corners of a cube", "axes": "one number each, +-1"}
WIDTHS = (10, 100, 1000)
OUTPUT = ((0.1, 0.1), (0.1, 10.0), (1.0, 1.0), (10.0, 0.1), (10.0, 10.0))  # gamma, and scale of Sigma


def linear(draws: int, generator: np.random.Generator) -> Found:
    """Theorem 3.4: complexities of W_gamma for Gaussian examples of a rank, beside the bound."""
    from mixbench.analysis import capacity as c

    for gamma in GAMMAS:
        scale = c.largest_scale(gamma)
        rho = c.retentiveness(scale)
        for rank in RANKS[:-1]:
            for n in SIZES:
                white = generator.normal(size=(n, rank))
                found = scale * np.linalg.norm(c.signed_sums(white, draws, generator), axis=1)
                yield (
                    f"{gamma:g}, {rank}, {n}",
                    {"complexity": found.mean(), "bound": c.bound(gamma, rho, rank, n), "rho": rho},
                )
    yield "everywhere", {"rho": c.retentiveness(300.0)}


def ranks(draws: int, generator: np.random.Generator) -> Found:
    """Remark 3.2: Mixup's class and the ridge's, gamma = 1, for examples of a rank in a hundred dimensions."""
    from mixbench.analysis import capacity as c

    scale, n = c.largest_scale(1.0), 300
    for rank in RANKS:
        white = generator.normal(size=(n, rank))
        length = np.linalg.norm(c.signed_sums(white, draws, generator), axis=1).mean()
        spread_out = (WIDTH / rank) ** 0.5
        yield str(rank), {"mixup": scale * length, "ridge": length, "ridge, equal trace": length * spread_out}


def hidden(draws: int, generator: np.random.Generator) -> Found:
    """Theorem A.1 with W fixed; and with one hidden unit whose W is free, which the class allows."""
    from mixbench.analysis import capacity as c

    n = 100
    for units in HIDDEN:
        w = generator.normal(size=(WIDTH, units)) / WIDTH**0.5
        many = np.maximum(generator.normal(size=(20_000, WIDTH)) @ w, 0)
        mean, covariance = many.mean(0), np.atleast_2d(np.cov(many.T))
        root = np.linalg.inv(np.linalg.cholesky(covariance))
        white = np.maximum(generator.normal(size=(n, WIDTH)) @ w, 0) @ root.T
        found = np.linalg.norm(c.signed_sums(white, draws, generator), axis=1).mean()
        bound = c.hidden_bound(1.0, units, float(((root @ mean) ** 2).sum()), n)
        yield f"fixed, {units}", {"complexity": found, "bound": bound}
    deviation = (0.5 - 1 / (2 * np.pi)) ** 0.5  # of ReLU(w . x), |w| = 1
    bound = c.hidden_bound(1.0, 1, 1 / (2 * np.pi) / deviation**2, n)
    for d in (10, WIDTH, 3 * WIDTH):
        x, signs = generator.normal(size=(n, d)), generator.integers(0, 2, n) * 2.0 - 1
        yield (
            f"free, {d}",
            {"complexity": c.best_direction(x, signs, 4, 60, generator) / deviation, "bound": bound},
        )


def bounded(draws: int, generator: np.random.Generator) -> Found:
    """Theorem 2: the class of linear functions within 1 on all possible examples, for three shapes of their set."""
    from mixbench.analysis import capacity as c

    n = 100
    for d in WIDTHS:
        sphere = generator.normal(size=(n, d))
        sums = {
            "ball": c.signed_sums(sphere / np.linalg.norm(sphere, axis=1, keepdims=True), draws, generator),
            "cube": c.signed_sums(generator.integers(0, 2, (n, d)) * 2.0 - 1, draws, generator),
            "axes": c.signed_sums(np.eye(d)[generator.integers(d, size=n)], draws, generator),
        }
        for shape, order in {"ball": 2, "cube": np.inf, "axes": 1}.items():  # the dual norm of theta's
            found = np.linalg.norm(sums[shape], ord=order, axis=1).mean()
            yield f"{shape}, {d}", {"complexity": found, "bound": n**-0.5, "corrected": (d / n) ** 0.5}
    for gamma, scale in OUTPUT:
        step = (1 + (gamma * scale) ** 0.5) / scale
        yield f"output, {gamma:g}, {scale:g}", {"step": c.largest_output(gamma, scale) / step}


def theorem_3_4(numbers: pd.DataFrame, parameters: object) -> Judgement:
    """Complexities against the bound, with rho of the class itself."""
    of = numbers[numbers["part"] == "linear"]
    wide = of.pivot_table(index=["setting", "sample"], columns="quantity", values="value")
    rho = float(wide.loc["everywhere"]["rho"].iloc[0])
    wide = wide.drop("everywhere")
    holds, share = wide["complexity"] <= wide["bound"], wide["complexity"] / wide["bound"]
    verdict = CORRECTED if holds.all() and rho < 1e-3 else CONFIRMED if holds.all() else REFUTED
    return Judgement(
        verdict,
        f"holds for {holds.mean():.1%} of {len(holds)} samples; the complexity is {spread(share)} of the bound. rho is"
        f" {wide['rho'].min():.2g} to {wide['rho'].max():.2g} for the weights of the class, and {rho:.1g} for those"
        " up to 300",
        "The distribution is to be rho-retentive for weights of bounded length alone: for all, as it is defined, a"
        " logistic regression's rho is 0, and the bound infinite." if verdict == CORRECTED else "",
    )  # fmt: skip


def remark_3_2(numbers: pd.DataFrame, parameters: object) -> Judgement:
    """How complexities grow with the rank, as powers of it."""
    powers = {}
    for name in ("mixup", "ridge", "ridge, equal trace"):
        values = np.array([values_at(numbers, "ranks", str(rank), name) for rank in RANKS])
        powers[name] = np.polyfit(np.log(RANKS), np.log(values), 1)[0]
    ends = {name: interval(values, np.mean) for name, values in powers.items()}
    adapts, same = ends["mixup"][0] > 0.4, ends["ridge"][0] > 0.4
    not_trace = abs(np.mean(powers["ridge, equal trace"])) < 0.1
    told = ", ".join(
        f"{name.replace('mixup', 'Mixup')} {np.mean(values):.2f} ({ends[name][0]:.2f} to {ends[name][1]:.2f})"
        for name, values in powers.items()
    )
    verdict = CORRECTED if adapts and same and not_trace else CONFIRMED if adapts and not same else REFUTED
    return Judgement(
        verdict,
        f"complexity ~ rank^a in {WIDTH} dimensions with a: {told}",
        "Mixup's class adapts. The ridge's bound with the dimension in it is loose: its complexity goes with the total"
        " variance, and falls with the rank as well where each direction has the same." if verdict == CORRECTED else "",
    )  # fmt: skip


def _within(numbers: pd.DataFrame, part: str, bound: str, kinds: str) -> tuple[np.ndarray, np.ndarray]:
    of = numbers[(numbers["part"] == part) & numbers["setting"].str.startswith(kinds)]
    wide = of.pivot_table(index=["setting", "sample"], columns="quantity", values="value")
    return (wide["complexity"] <= wide[bound] * 1.02).to_numpy(), (
        wide["complexity"] / wide[bound]
    ).to_numpy()


def theorem_3_5(numbers: pd.DataFrame, parameters: object) -> Judgement:
    """The complexity of the class of networks, with W fixed and free."""
    fixed, share = _within(numbers, "hidden", "bound", "fixed")
    free, _ = _within(numbers, "hidden", "bound", "free")
    d = 3 * WIDTH
    far = _within(numbers, "hidden", "bound", f"free, {d}")[1]
    verdict = as_printed(np.concatenate([fixed, free]), fixed)
    return Judgement(
        verdict,
        f"W fixed: holds for {fixed.mean():.0%} of {len(fixed)} samples, the complexity is {spread(share)} of the"
        f" bound; W free, one hidden unit: for {free.mean():.0%} of {len(free)}, at {d} numbers an example at"
        f" least {spread(far)} times the bound",
        "For one W: the proof takes no supremum over W, which the class leaves free."
        if verdict == CORRECTED
        else "",
    )


def theorem_2(numbers: pd.DataFrame, parameters: object) -> Judgement:
    """Zou's Theorem 2: outputs within t give a complexity of t / sqrt(n) for examples in a ball only."""
    words, printed, corrected = [], [], []
    for shape, label in SHAPES.items():
        holds, share = _within(numbers, "bounded", "bound", shape)
        printed.append(holds)
        corrected.append(_within(numbers, "bounded", "corrected", shape)[0])
        words.append(
            f"{label}: holds for {holds.mean():.0%} of {len(holds)}, {spread(share)} times 1 / sqrt(n)"
        )
    of = numbers[(numbers["part"] == "bounded") & (numbers["quantity"] == "step")]
    verdict = as_printed(np.concatenate(printed), np.concatenate(corrected))
    return Judgement(
        verdict,
        "; ".join(words)
        + f"; outputs are within {of['value'].max():.2f} of (L_A + sqrt(gamma sigma)) / sigma or less",
        "A bound of the outputs gives sqrt(rank / n), not 1 / sqrt(n); the constant L, which is not given, may hide the"
        " root of the rank. The term vanishes with eta, and the complexity of Mixup's own class does not."
        if verdict == CORRECTED
        else "",
    )
