"""Zhang et al., Lemmas 3.3 and 3.4: the regularizers that Mixup is said to be, against what mixing adds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from mixbench.studies.judging import MORE, as_printed, interval, spread, values_at
from mixbench.studies.study import CONFIRMED, CORRECTED, REFUTED, UNDECIDED, Judgement

if TYPE_CHECKING:
    import pandas as pd

ALPHAS = (0.5, 1.0, 1.5, 2.0, 4.0)
DRAWS = (100, 1_000, 10_000, 100_000, 1_000_000)
FINITE = (2.0, 4.0)  # alphas for which equation 7 is compared with what mixing adds
SCALES = (1.0, 0.1, 0.01)  # of the weights at which that is done


# Settings, each with its numbers by name.
Found = Iterator[tuple[str, dict[str, float]]]


def coefficients(generator: np.random.Generator) -> Found:
    """Means of (1 - lambda)^2 / lambda^2 over more and more draws."""
    for alpha in ALPHAS:
        lam = generator.beta(alpha + 1, alpha, max(DRAWS))
        values = ((1 - lam) / lam) ** 2
        yield f"{alpha:g}", {str(n): values[:n].mean() for n in DRAWS}


def logistic(generator: np.random.Generator) -> Found:
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


def squares(mixtures: int, generator: np.random.Generator) -> Found:
    """The least-squares fit of mixtures of a hidden layer's features, projected on the plain fit."""
    from mixbench.analysis import capacity as c

    x = generator.normal(size=(200, 5))
    features = np.maximum(x @ generator.normal(size=(5, 8)), 0)
    targets = features @ generator.normal(size=8) + generator.normal(size=200)
    plain = np.linalg.lstsq(features - features.mean(0), targets - targets.mean(), rcond=None)[0]
    centred = features - features.mean(0)
    for alpha in ALPHAS:
        fitted = c.least_squares(features, targets, generator.beta(alpha, alpha, mixtures), generator)
        shrunk = (centred @ fitted) @ (centred @ plain) / ((centred @ plain) ** 2).sum()
        yield f"{alpha:g}", {"mixup": shrunk, "printed": 1 / (1 + c.coefficient(alpha))}


def coefficient(numbers: pd.DataFrame, parameters: object) -> Judgement:
    """Means over draws go to (alpha + 1) / (alpha - 1), within a tenth in the median of a million draws, or, where that
    is no number, grow without end, to more than twice those of a hundred draws: a correction, for alpha above 1 alone.
    """
    from mixbench.analysis.capacity import coefficient as exact

    words, right = [], []
    for alpha in ALPHAS:
        few, many = (values_at(numbers, "coefficient", f"{alpha:g}", str(n)) for n in (DRAWS[0], DRAWS[-1]))
        finite = bool(np.isfinite(exact(alpha)))
        far = np.median(many) / (exact(alpha) if finite else np.median(few))
        right.append(bool(abs(far - 1) < 0.1 if finite else far > 2))
        value = f"{exact(alpha):.2f}" if finite else "infinite"
        words.append(
            f"alpha {alpha:g}: {value}, mean of a hundred draws {np.median(few):.3g}, of a million {spread(many)}"
        )
    verdict = CORRECTED if all(right) else REFUTED
    return Judgement(
        verdict,
        "; ".join(words),
        "Only for alpha > 1, where it is (alpha + 1) / (alpha - 1); it diverges for alpha <= 1, with the common alpha ="
        " 1 among them: equation 7 is infinite there, and Mixup's loss is not."
        if verdict == CORRECTED
        else "",
    )


def lemma_3_3(numbers: pd.DataFrame, parameters: object) -> Judgement:
    """What mixing adds to the logistic loss, over equation 7: 1 where the weights are small."""
    words, near = [], dict[str, list[bool]]()
    for alpha in FINITE:
        for name in ("mixup", "rescaled"):
            ratios = [values_at(numbers, "glm", f"{alpha:g}, {scale:g}", name) for scale in SCALES]
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


def lemma_3_4(numbers: pd.DataFrame, parameters: object) -> Judgement:
    """By how much the fit shrinks."""
    words, off = [], []
    for alpha in ALPHAS:
        mixup, printed = (
            values_at(numbers, "squares", f"{alpha:g}", "mixup"),
            values_at(numbers, "squares", f"{alpha:g}", "printed"),
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
        " E[lambda^2 + (1 - lambda)^2] under D-tilde, for every alpha." if all(off) else MORE if any(off) else "",
    )  # fmt: skip
