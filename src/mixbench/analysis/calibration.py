"""Whether a network is right as often as it is sure (Guo, Pleiss, Sun, Weinberger, ICML 2017)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from mixbench.seams import Examples, Network


def calibration(network: Network, examples: Examples, *, bins: int) -> dict[str, Any]:
    """How far confidence, the largest probability, is from accuracy; and two proper scores.

    `ece`: the expected calibration error in percent, the mean over the examples of |accuracy - confidence| of their
    bin, in `bins` bins of equal width. `adaptive_ece`: the same in bins of equal count (Nixon et al., CVPR workshops
    2019). `nll`: the mean negative log-likelihood in nats. `brier`: the mean over the examples of the squared distance
    of the probabilities from the one-hot label, from 0 to 2 (Brier, 1950). `confidence` and `acc` in percent: their
    means. `equal_width` and `equal_count`: the bins of a reliability diagram.
    """
    outputs = network.logits(examples)
    logits = torch.cat([batch.cpu() for batch, _ in outputs]).double()
    labels = torch.cat([batch.cpu() for _, batch in outputs])
    probabilities = logits.softmax(1)
    confidence, predicted = probabilities.max(1)
    right = (predicted == labels).double()
    confidence, order = confidence.sort()
    right = right[order]
    width = torch.linspace(0, 1, bins + 1, dtype=torch.float64)
    # Bins are [low, high), the last one with its end; equal confidences may lie in two bins of equal count.
    equal_width = (torch.bucketize(confidence, width, right=True) - 1).clamp(max=bins - 1)
    equal_count = torch.arange(len(right)) * bins // len(right)
    found = {
        "equal_width": _reliability(confidence, right, equal_width, bins),
        "equal_count": _reliability(confidence, right, equal_count, bins),
    }
    one_hot = F.one_hot(labels, logits.shape[1])
    return {
        "ece": _error(found["equal_width"]),
        "adaptive_ece": _error(found["equal_count"]),
        "nll": F.cross_entropy(logits, labels).item(),
        "brier": (probabilities - one_hot).square().sum(1).mean().item(),
        "confidence": 100 * confidence.mean().item(),
        "acc": 100 * right.mean().item(),
        **found,
    }


def _reliability(confidence: Tensor, right: Tensor, place: Tensor, bins: int) -> list[dict[str, float]]:
    """Of each bin that has examples: how many (`n`), and their mean confidence and accuracy in percent.

    `confidence` and `right` float64 (N,), `place` int64 (N,).
    """
    n, sure, hit = (
        torch.zeros(bins, dtype=torch.float64).index_add_(0, place, values)
        for values in (torch.ones_like(right), confidence, right)
    )
    return [
        {
            "bin": i,
            "n": int(n[i]),
            "confidence": 100 * (sure[i] / n[i]).item(),
            "acc": 100 * (hit[i] / n[i]).item(),
        }
        for i in range(bins)
        if n[i]
    ]


def _error(reliability: list[dict[str, float]]) -> float:
    total = sum(entry["n"] for entry in reliability)
    return sum(entry["n"] * abs(entry["acc"] - entry["confidence"]) for entry in reliability) / total
