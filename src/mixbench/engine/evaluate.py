"""Accuracy and loss of a model on a data set, in evaluation mode, with one read of the device at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mixbench.engine.metrics import accumulator_dtype

Batches = Iterable[tuple[Tensor, Tensor]]
Mix = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


@torch.no_grad()
def evaluate(model: nn.Module, batches: Batches, autocast: torch.autocast) -> dict[str, float]:
    """Top-1 (`acc`) and top-5 (`top5`) in percent and mean cross-entropy in nats (`loss`).

    `batches` yields images (B,C,H,W) and labels (B,). With fewer than five classes top-5 is 100.
    """
    model.eval()
    total: Tensor | None = None
    for images, labels in batches:
        with autocast:
            logits = model(images)
        logits = logits.float()
        ranked = logits.topk(min(5, logits.shape[1]), dim=1).indices == labels[:, None]
        sums = torch.stack(
            [
                ranked[:, 0].sum(),
                ranked.sum(),
                F.cross_entropy(logits, labels, reduction="sum"),
                torch.full_like(labels[0], len(labels)),
            ]
        ).to(accumulator_dtype(logits.device))
        total = sums if total is None else total + sums
    if total is None:
        raise ValueError("evaluate: no batches")
    top1, top5, loss, count = total.tolist()
    return {"acc": 100 * top1 / count, "top5": 100 * top5 / count, "loss": loss / count}


@torch.no_grad()
def mixed_accuracy(model: nn.Module, batches: Batches, mix: Mix, autocast: torch.autocast) -> float:
    """Percent of soft-target weight on the predicted class, on mixed batches, in evaluation mode.

    The reading of "train accuracy" that fits every Gap published by Li & Tang, also for methods that do not mix.
    """
    model.eval()
    total: Tensor | None = None
    for images, labels in batches:
        x, y = mix(images, labels)
        with autocast:
            predicted = model(x).argmax(1, keepdim=True)
        weight = y.gather(1, predicted).sum()
        sums = torch.stack([weight, torch.full_like(weight, len(labels))]).to(accumulator_dtype(y.device))
        total = sums if total is None else total + sums
    if total is None:
        raise ValueError("mixed_accuracy: no batches")
    correct, count = total.tolist()
    return 100 * correct / count
