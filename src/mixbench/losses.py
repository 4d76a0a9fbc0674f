"""Targets of (B, K) class weights, and per-example classification losses against them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import log_softmax


def one_hot(labels: Tensor, num_classes: int) -> Tensor:
    """(B, K) float32 targets of integer labels (B,), without the host-side check of `F.one_hot`."""
    return torch.zeros(len(labels), num_classes, device=labels.device).scatter_(1, labels[:, None], 1.0)


def cross_entropy(logits: Tensor, targets: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Cross-entropy -sum_k y_k log p_k of each example, (B,) float32.

    `logits` (B, K) of any floating dtype, computed in at least float32; `targets` (B, K) with rows that sum
    to 1; `label_smoothing` in [0, 1) moves that share of every target to the uniform distribution. Raises ValueError
    where they have not the same shape: one class would be broadcast to all, and the loss be 0.
    """
    _check_same_shape(logits, targets)
    log_p = log_softmax(_wide(logits), dim=1)
    return -(_smooth(targets, label_smoothing) * log_p).sum(1)


def bce_softmax(logits: Tensor, targets: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Binary cross-entropy of the softmax probabilities, averaged over the K classes; (B,) float32.

    -1/K sum_k [y_k log p_k + (1 - y_k) log(1 - p_k)], with which the published code of Manifold Mixup, Puzzle
    Mix and MixupE's baselines train. The average over classes makes its gradient about K times smaller than
    that of `cross_entropy`, at the same learning rate and weight decay. log(1 - p) is exact for p near 1,
    where `torch.nn.BCELoss` clamps it at -100. Arguments and errors: see `cross_entropy`.
    """
    _check_same_shape(logits, targets)
    logits, targets = _wide(logits), _smooth(targets, label_smoothing)
    log_p = log_softmax(logits, dim=1)
    top = torch.zeros_like(logits, dtype=torch.bool).scatter_(1, logits.argmax(1, keepdim=True), True)
    # For the largest logit, 1 - p is the sum of the other probabilities; for all others p <= 1/2.
    others = log_p.masked_fill(top, -torch.inf).logsumexp(1, keepdim=True)
    log_not_p = torch.where(top, others, torch.log1p(-log_p.exp().masked_fill(top, 0.0)))
    return -(targets * log_p + (1 - targets) * log_not_p).mean(1)


def _check_same_shape(logits: Tensor, targets: Tensor) -> None:
    if logits.shape != targets.shape:
        raise ValueError(
            f"logits {tuple(logits.shape)} for targets {tuple(targets.shape)}: need the same shape."
        )


def _wide(logits: Tensor) -> Tensor:
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def _smooth(targets: Tensor, label_smoothing: float) -> Tensor:
    if not label_smoothing:  # two operations a pass less, of the same result
        return targets
    return targets * (1 - label_smoothing) + label_smoothing / targets.shape[1]


LOSSES: dict[str, Callable[..., Tensor]] = {"cross_entropy": cross_entropy, "bce_softmax": bce_softmax}
