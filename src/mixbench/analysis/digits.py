"""The 8x8 digits of scikit-learn as numbers, and Mixup on them: networks for analyses, in float64, within a second."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor
from torch.nn import functional as F


def digits(components: int | None = None) -> tuple[Tensor, Tensor]:
    """Centred pixels, or their first principal components, and labels."""
    pixels, labels = load_digits(return_X_y=True)
    inputs = torch.from_numpy(pixels / 16)
    inputs = inputs - inputs.mean(0)
    if components is not None:
        inputs = inputs @ torch.linalg.svd(inputs, full_matrices=False).Vh[:components].T
    return inputs, torch.from_numpy(labels)


def train(
    model: Callable[[Tensor], Tensor],
    weights: list[Tensor],
    seed: int,
    inputs: Tensor,
    labels: Tensor,
    *,
    steps: int,
    lr: float,
    alpha: float,
) -> None:
    """`steps` of stochastic gradient descent, with momentum 0.9, on Mixup's loss of batches of 128; `weights` are
    changed in place. lambda ~ Beta(alpha, alpha), one for each batch.
    """
    generator, ratio = torch.Generator().manual_seed(seed), np.random.default_rng(seed)
    targets = F.one_hot(labels, 10).double()
    optimizer = torch.optim.SGD([w.requires_grad_() for w in weights], lr=lr, momentum=0.9)
    for _ in range(steps):
        one, two = torch.randint(len(inputs), (2, 128), generator=generator)
        lam = ratio.beta(alpha, alpha)
        output = model(lam * inputs[one] + (1 - lam) * inputs[two])
        loss = F.cross_entropy(output, lam * targets[one] + (1 - lam) * targets[two])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    for w in weights:
        w.requires_grad_(False)
