"""Which mixtures are sensitive to a perturbation of the weights, and which lie among examples of a third class.

Li & Tang (IEEE TAI 2025), section IV: B+ holds the mixtures whose loss a SAM perturbation raises most, B- the others,
which are said to be those that intrude on another class ("manifold intrusion").
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mixbench.losses import cross_entropy
from mixbench.optim.base import frozen_statistics
from mixbench.optim.sam import SAM


def losses_around(rule: SAM, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """l(w) and l(w + delta) of each example, with the delta of a training step of `rule`; the model is left as it was.

    BatchNorm normalises as the model's mode says. `x` (B, ...) and soft targets `y` (B, K); both results (B,).
    """
    model = rule.model
    with frozen_statistics(model):
        rule.base.zero_grad()
        before = cross_entropy(model(x), y)
        before.mean().backward()
        with rule.perturbed(), torch.no_grad():
            after = cross_entropy(model(x), y)
        rule.base.zero_grad()
    return before.detach(), after


@torch.no_grad()
def features(model: nn.Module, x: Tensor, together: int = 1000) -> Tensor:
    """What the last linear layer sees, (N, d). The network's last child is its head, which that layer ends."""
    trunk = nn.Sequential(*list(model.children())[:-1], *list(list(model.children())[-1].children())[:-1])
    return torch.cat([trunk(part) for part in x.split(together)])


def intruding(mixtures: Tensor, known: Tensor, labels: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """(B,) bool: the nearest known example of a mixture, other than its own two, is of neither one's class.

    Args:
        mixtures: (B, d) features of the mixtures.
        known, labels: (N, d) features of the training examples, and their classes (N,).
        first, second: (B,) indices of the two examples that were mixed.
    """
    distances = torch.cdist(mixtures, known)
    rows = torch.arange(len(mixtures))
    distances[rows, first] = distances[rows, second] = torch.inf
    nearest = labels[distances.argmin(1)]
    return (nearest != labels[first]) & (nearest != labels[second])
