"""Zhang et al., section 3.3, and Zou et al., Theorem 2: regularizers of Mixup, and complexities of what they bound."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from mixbench.schema.knob import knob
from mixbench.studies.judging import as_printed, interval, spread
from mixbench.studies.study import CONFIRMED, CORRECTED, REFUTED, UNDECIDED, Judgement, Study

if TYPE_CHECKING:
    import pandas as pd

    from mixbench.summarize.plots import Line, Plot

ALPHAS = (0.5, 1.0, 1.5, 2.0, 4.0)
DRAWS = (100, 1_000, 10_000, 100_000, 1_000_000)
FINITE = (2.0, 4.0)  # alphas for which equation 7 is compared with what mixing adds
SCALES = (1.0, 0.1, 0.01)  # of the weights at which that is done
RANKS = (1, 3, 10, 30, 100)
SIZES = (30, 100, 300, 1000)
GAMMAS = (0.01, 0.1, 1.0)
WIDTH = 100  # numbers of an example in Remark 3.2, Theorem 3.5 and Theorem 2
HIDDEN = (1, 5, 20)
SHAPES = {"ball": "examples on a sphere", "cube": "corners of a cube", "axes": "one number each, +-1"}
WIDTHS = (10, 100, 1000)
OUTPUT = ((0.1, 0.1), (0.1, 10.0), (1.0, 1.0), (10.0, 0.1), (10.0, 10.0))  # gamma, and scale of Sigma


@dataclass
class Parameters:
    """Gaussian examples, logistic regression, least squares and one hidden layer."""

    of: list[str] = field(
        default_factory=lambda: ["coefficient", "glm", "squares", "linear", "ranks", "hidden", "bounded"]
    )
    samples: int = knob("samples of each kind", default=20, at_least=2)
    draws: int = knob("vectors of signs for a complexity", default=500, at_least=50)
    mixtures: int = knob("mixtures of a least-squares fit", default=100_000, at_least=1000)


def compute(parameters: Parameters, part: str) -> pd.DataFrame:
    """One row for each number: of which setting and sample, what it is, and its value."""
    import pandas as pd

    of = {
        "coefficient": _coefficient, "glm": _glm, "squares": _squares, "linear": _linear, "ranks": _ranks,
        "hidden": _hidden, "bounded": _bounded,
    }[part]  # fmt: skip
    rows = []
    for sample in range(parameters.samples):
        generator = np.random.default_rng([sample, len(part)])
        for setting, numbers in of(parameters, generator):
            rows += [
                {"setting": setting, "sample": sample, "quantity": name, "value": float(value)}
                for name, value in numbers.items()
            ]
    return pd.DataFrame(rows)


Found = Iterator[tuple[str, dict[str, float]]]


def _coefficient(p: Parameters, generator: np.random.Generator) -> Found:
    """Means of (1 - lambda)^2 / lambda^2 over more and more draws."""
    for alpha in ALPHAS:
        lam = generator.beta(alpha + 1, alpha, max(DRAWS))
        values = ((1 - lam) / lam) ** 2
        yield f"{alpha:g}", {str(n): values[:n].mean() for n in DRAWS}


def _glm(p: Parameters, generator: np.random.Generator) -> Found:
    """Equation 7 against what mixing adds to the logistic loss, for weights from large to small."""
    from mixbench.analysis import capacity as c

    x = generator.normal(size=(50, 10))
    x, y = x - x.mean(0), (x[:, 0] > 0).astype(float)
    theta = generator.normal(size=10) / 10**0.5
    for alpha in FINITE:
        for scale in SCALES:
            equation = c.regularizer(scale * theta, x, alpha)
            yield (
                f"{alpha:g}, {scale:g}",
                {
                    "mixup": c.mixing_adds(scale * theta, x, y, alpha, False) / equation,
                    "rescaled": c.mixing_adds(scale * theta, x, y, alpha, True) / equation,
                },
            )


def _squares(p: Parameters, generator: np.random.Generator) -> Found:
    """The least-squares fit of mixtures of a hidden layer's features, projected on the plain fit."""
    from mixbench.analysis import capacity as c

    x = generator.normal(size=(200, 5))
    features = np.maximum(x @ generator.normal(size=(5, 8)), 0)
    targets = features @ generator.normal(size=8) + generator.normal(size=200)
    plain = np.linalg.lstsq(features - features.mean(0), targets - targets.mean(), rcond=None)[0]
    centred = features - features.mean(0)
    for alpha in ALPHAS:
        fitted = c.least_squares(features, targets, generator.beta(alpha, alpha, p.mixtures), generator)
        shrunk = (centred @ fitted) @ (centred @ plain) / ((centred @ plain) ** 2).sum()
        yield f"{alpha:g}", {"mixup": shrunk, "printed": 1 / (1 + c.coefficient(alpha))}


def _linear(p: Parameters, generator: np.random.Generator) -> Found:
    """Theorem 3.4: complexities of W_gamma for Gaussian examples of a rank, beside the bound."""
    from mixbench.analysis import capacity as c

    for gamma in GAMMAS:
        scale = c.largest_scale(gamma)
        rho = c.retentiveness(scale)
        for rank in RANKS[:-1]:
            for n in SIZES:
                white = generator.normal(size=(n, rank))
                found = scale * np.linalg.norm(c.signed_sums(white, p.draws, generator), axis=1)
                yield (
                    f"{gamma:g}, {rank}, {n}",
                    {"complexity": found.mean(), "bound": c.bound(gamma, rho, rank, n), "rho": rho},
                )
    yield "everywhere", {"rho": c.retentiveness(300.0)}


def _ranks(p: Parameters, generator: np.random.Generator) -> Found:
    """Remark 3.2: Mixup's class and the ridge's, gamma = 1, for examples of a rank in a hundred dimensions."""
    from mixbench.analysis import capacity as c

    scale, n = c.largest_scale(1.0), 300
    for rank in RANKS:
        white = generator.normal(size=(n, rank))
        length = np.linalg.norm(c.signed_sums(white, p.draws, generator), axis=1).mean()
        spread_out = (WIDTH / rank) ** 0.5
        yield str(rank), {"mixup": scale * length, "ridge": length, "ridge, equal trace": length * spread_out}


def _hidden(p: Parameters, generator: np.random.Generator) -> Found:
    """Theorem A.1 with W fixed; and with one hidden unit whose W is free, which the class allows."""
    from mixbench.analysis import capacity as c

    n = 100
    for units in HIDDEN:
        w = generator.normal(size=(WIDTH, units)) / WIDTH**0.5
        many = np.maximum(generator.normal(size=(20_000, WIDTH)) @ w, 0)
        mean, covariance = many.mean(0), np.atleast_2d(np.cov(many.T))
        root = np.linalg.inv(np.linalg.cholesky(covariance))
        white = np.maximum(generator.normal(size=(n, WIDTH)) @ w, 0) @ root.T
        found = np.linalg.norm(c.signed_sums(white, p.draws, generator), axis=1).mean()
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


def _bounded(p: Parameters, generator: np.random.Generator) -> Found:
    """Theorem 2: the class of linear functions within 1 on all possible examples, for three shapes of their set."""
    from mixbench.analysis import capacity as c

    n = 100
    for d in WIDTHS:
        sphere = generator.normal(size=(n, d))
        sums = {
            "ball": c.signed_sums(sphere / np.linalg.norm(sphere, axis=1, keepdims=True), p.draws, generator),
            "cube": c.signed_sums(generator.integers(0, 2, (n, d)) * 2.0 - 1, p.draws, generator),
            "axes": c.signed_sums(np.eye(d)[generator.integers(d, size=n)], p.draws, generator),
        }
        for shape, order in {"ball": 2, "cube": np.inf, "axes": 1}.items():  # the dual norm of theta's
            found = np.linalg.norm(sums[shape], ord=order, axis=1).mean()
            yield f"{shape}, {d}", {"complexity": found, "bound": n**-0.5, "corrected": (d / n) ** 0.5}
    for gamma, scale in OUTPUT:
        step = (1 + (gamma * scale) ** 0.5) / scale
        yield f"output, {gamma:g}, {scale:g}", {"step": c.largest_output(gamma, scale) / step}


def _of(numbers: pd.DataFrame, part: str, setting: str, quantity: str) -> np.ndarray:
    of = numbers[(numbers["part"] == part) & (numbers["setting"] == setting)]
    return of[of["quantity"] == quantity].sort_values("sample")["value"].to_numpy()


def draw(numbers: pd.DataFrame, parameters: Parameters) -> list[Plot]:
    """Those of the parts that were asked for: medians and quartiles over samples."""
    from mixbench.summarize.plots import Panel

    wanted = {
        "coefficient": (
            ("Lemma 3.3's coefficient", "draws of lambda", "mean over the draws"), DRAWS, True,
            {f"alpha {alpha:g}": (f"{alpha:g}", "") for alpha in ALPHAS},
        ),
        "squares": (
            ("Lemma 3.4: least squares", "alpha", "fit of mixtures / plain fit"), ALPHAS, False,
            {"with Mixup": ("{}", "mixup"), "by Lemma 3.4": ("{}", "printed")},
        ),
        "ranks": (
            ("Remark 3.2", "rank of the examples", "Rademacher complexity"), RANKS, True,
            {
                "Mixup's class": ("{}", "mixup"),
                "ridge, unit variances": ("{}", "ridge"),
                "ridge, total variance fixed": ("{}", "ridge, equal trace"),
            },
        ),
        "bounded": (
            ("Theorem 2: linear functions within 1", "numbers of an example", "Rademacher complexity"), WIDTHS, True,
            {label: (f"{shape}, {{}}", "complexity") for shape, label in SHAPES.items()}
            | {"1 / sqrt(n), as printed": ("ball, {}", "bound")},
        ),
    }  # fmt: skip
    plots: list[Plot] = []
    styles = 0  # the panels have different lines, and one legend
    for part, (titles, at, log, names) in wanted.items():
        if part in parameters.of:
            lines = [
                _line(numbers, part, at, label, style, *of)
                for style, (label, of) in enumerate(names.items(), start=styles)
            ]
            styles += len(lines)
            plots.append(
                Panel(*titles, lines, log=log, log_y=log, ticks=at[::2] if part == "coefficient" else at)
            )
    return plots


def _line(
    numbers: pd.DataFrame, part: str, at: Sequence[float], label: str, style: int, setting: str, quantity: str
) -> Line:
    """`setting` has a place for x; where `quantity` is empty, x is its name."""
    from mixbench.summarize.plots import Line

    ends = (0.25, 0.5, 0.75)
    of = np.array(
        [np.quantile(_of(numbers, part, setting.format(f"{x:g}"), quantity or str(x)), ends) for x in at]
    )
    nothing = [np.nan] * len(of)
    return Line(label, style, list(at), list(of[:, 1]), nothing, low=list(of[:, 0]), high=list(of[:, 2]))


def coefficient(numbers: pd.DataFrame, parameters: Parameters) -> Judgement:
    """Means over draws go to (alpha + 1) / (alpha - 1), or grow without end."""
    from mixbench.analysis.capacity import coefficient as exact

    words, finite = [], []
    for alpha in ALPHAS:
        few, many = (_of(numbers, "coefficient", f"{alpha:g}", str(n)) for n in (DRAWS[0], DRAWS[-1]))
        finite.append(bool(np.isfinite(exact(alpha))))
        value = f"{exact(alpha):.2f}" if finite[-1] else "infinite"
        words.append(
            f"alpha {alpha:g}: {value}, mean of a hundred draws {np.median(few):.3g}, of a million {spread(many)}"
        )
    verdict = CONFIRMED if all(finite) else CORRECTED if any(finite) else REFUTED
    return Judgement(
        verdict,
        "; ".join(words),
        "Only for alpha > 1, where it is (alpha + 1) / (alpha - 1); it diverges for alpha <= 1, with the common alpha ="
        " 1 among them: equation 7 is infinite there, and Mixup's loss is not."
        if verdict == CORRECTED
        else "",
    )


def lemma_3_3(numbers: pd.DataFrame, parameters: Parameters) -> Judgement:
    """What mixing adds to the logistic loss, over equation 7: 1 where the weights are small."""
    words, near = [], dict[str, list[bool]]()
    for alpha in FINITE:
        for name in ("mixup", "rescaled"):
            ratios = [_of(numbers, "glm", f"{alpha:g}, {scale:g}", name) for scale in SCALES]
            near.setdefault(name, []).append(bool(np.all(np.abs(ratios[-1] - 1) < 0.05)))
            told = ", ".join(f"{spread(r)} at {s:g} theta" for r, s in zip(ratios, SCALES, strict=True))
            what = "Mixup adds" if name == "mixup" else "with mixtures divided by lambda,"
            words.append(f"alpha {alpha:g}, {what} {told} times equation 7")
    verdict = as_printed(near["mixup"], near["rescaled"])
    return Judgement(
        verdict,
        "; ".join(words),
        "It is the regularizer of another loss, of mixtures divided by their own lambda: the proof takes a logistic"
        " regression not to notice, which holds for one scale of all examples and not for one of each."
        if verdict == CORRECTED
        else "",
    )


def lemma_3_4(numbers: pd.DataFrame, parameters: Parameters) -> Judgement:
    """By how much the fit shrinks."""
    words, off = [], []
    for alpha in ALPHAS:
        mixup, printed = (
            _of(numbers, "squares", f"{alpha:g}", "mixup"),
            _of(numbers, "squares", f"{alpha:g}", "printed"),
        )
        low, high = interval(mixup, np.mean)
        off.append(not low <= printed[0] <= high)
        words.append(
            f"alpha {alpha:g}: {np.mean(mixup):.3f} ({low:.3f} to {high:.3f}) of the plain fit, by the lemma"
            f" {printed[0]:.3f}"
        )
    return Judgement(
        REFUTED if all(off) else UNDECIDED if any(off) else CONFIRMED,
        "; ".join(words),
        "With least squares Mixup of features and targets does not shrink the fit at all: E[lambda] is"
        " E[lambda^2 + (1 - lambda)^2] under D-tilde, for every alpha." if all(off) else "",
    )  # fmt: skip


def theorem_3_4(numbers: pd.DataFrame, parameters: Parameters) -> Judgement:
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


def remark_3_2(numbers: pd.DataFrame, parameters: Parameters) -> Judgement:
    """How complexities grow with the rank, as powers of it."""
    powers = {}
    for name in ("mixup", "ridge", "ridge, equal trace"):
        values = np.array([_of(numbers, "ranks", str(rank), name) for rank in RANKS])
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


def theorem_3_5(numbers: pd.DataFrame, parameters: Parameters) -> Judgement:
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


def theorem_2(numbers: pd.DataFrame, parameters: Parameters) -> Judgement:
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


STUDY = Study(
    about="Regularizers that Mixup is said to be, and Rademacher complexities of the classes that they bound",
    parameters=Parameters,
    parts=lambda parameters: list(parameters.of),
    compute=compute,
    draw=draw,
    judges={
        "coefficient": coefficient,
        "lemma_3_3": lemma_3_3,
        "lemma_3_4": lemma_3_4,
        "theorem_3_4": theorem_3_4,
        "remark_3_2": remark_3_2,
        "theorem_3_5": theorem_3_5,
        "theorem_2": theorem_2,
    },
)
