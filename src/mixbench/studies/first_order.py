"""Zou et al., section 2.2 and 2.3: the first-order term, by equation 5 without derivatives, and its weight."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from mixbench.studies.judging import spread, values_of
from mixbench.studies.study import CONFIRMED, CORRECTED, REFUTED, Judgement

if TYPE_CHECKING:
    import pandas as pd

RELU = {"without biases": False, "with biases": True}
ALPHAS = (0.1, 0.2, 0.5, 1.0, 2.0, 8.0)


def relu(
    networks: int, width: int, biases: bool, steps: int, lr: float, alpha: float
) -> Iterator[dict[str, float]]:
    """q of equation 4 and its approximation of equation 5, on centred pixels."""
    import torch
    from torch import nn
    from torch.nn import functional as F

    from mixbench.analysis.digits import digits, train
    from mixbench.analysis.directions import coefficients

    inputs, labels = digits()
    for seed in range(networks):
        torch.manual_seed(seed)
        layers = [nn.Linear(i, o, bias=biases) for i, o in ((64, width), (width, width), (width, 10))]
        model = nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2]).double()
        train(
            model,
            [w.detach() for w in model.parameters()],
            seed,
            inputs,
            labels,
            steps=steps,
            lr=lr,
            alpha=alpha,
        )
        model.requires_grad_(False)
        _, q = coefficients(model, inputs, labels, torch.zeros_like(inputs[0]))
        output = model(inputs)
        cheap = ((F.one_hot(labels, 10) - output.softmax(1)) * output).sum(1)
        yield {
            "far": float(((cheap - q).abs() / q.abs().clamp(min=1e-30)).median()),
            "correlation": float(torch.corrcoef(torch.stack([q, cheap]))[0, 1]),
            "sum": float(cheap.abs().sum() / q.abs().sum()),
        }


def weights() -> Iterator[dict[str, float]]:
    """E[1 - lambda] by a million draws of D-tilde, and as the text has it."""
    generator = np.random.default_rng(0)
    for alpha in ALPHAS:
        drawn = 1 - generator.beta(alpha + 1, alpha, 1_000_000)
        yield {
            "drawn": drawn.mean(),
            "error": drawn.std() / 1000,
            "printed": 1 - (alpha + 1) / (2 * alpha + 1),
        }


def equation_5(numbers: pd.DataFrame, parameters: object) -> Judgement:
    """The approximation of q without derivatives, on ReLU networks with and without biases."""
    words = []
    for part in RELU:
        far, correlation = values_of(numbers, part, "far"), values_of(numbers, part, "correlation")
        words.append(
            f"{part}: median relative difference {spread(far)}, correlation {spread(correlation)}, sum of the sizes"
            f" {spread(values_of(numbers, part, 'sum'))} times that of q"
        )
    exact, near = (
        values_of(numbers, "without biases", "far").max() < 1e-6,
        values_of(numbers, "with biases", "far").max() < 1e-6,
    )
    verdict = CONFIRMED if exact and near else CORRECTED if exact else REFUTED
    return Judgement(
        verdict,
        "; ".join(words),
        "Exact without biases and with centred examples alone; BatchNorm's shifts are biases too."
        if verdict == CORRECTED
        else "",
    )


def mean_weight(numbers: pd.DataFrame, parameters: object) -> Judgement:
    """E[1 - lambda] of D-tilde against draws."""
    drawn, error, printed = (values_of(numbers, "weights", name) for name in ("drawn", "error", "printed"))
    off = np.abs(drawn - printed) / error
    told = ", ".join(f"{d:.4f} for alpha {a:g}" for a, d in zip(ALPHAS, drawn, strict=True))
    return Judgement(
        CONFIRMED if off.max() < 5 else REFUTED,
        f"{told}; within {off.max():.1f} standard errors of a million draws",
    )
