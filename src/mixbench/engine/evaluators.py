"""Accuracy and loss of a model on a data set, in evaluation mode, with one read of the device at the end."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mixbench.engine.metrics import accumulator_dtype
from mixbench.machine.ranks import ALONE, Ranks

Batches = Iterable[tuple[Tensor, Tensor]]


def evaluate(
    model: nn.Module, batches: Batches, autocast: torch.autocast, ranks: Ranks = ALONE
) -> dict[str, float]:
    """The `scores` of a model. `batches` yields inputs (B, ...) and labels (B,), on all ranks the same ones, of which
    each takes its share.
    """
    return scores(predicted(model, ranks.share(batches), autocast), ranks)


@torch.no_grad()
def predicted(
    model: nn.Module, batches: Batches, autocast: torch.autocast
) -> Iterator[tuple[Tensor, Tensor]]:
    """Logits (B, K) float32 and labels (B,) of each batch of inputs and labels."""
    model.eval()
    for inputs, labels in batches:
        with autocast:
            logits = model(inputs)
        yield logits.float(), labels


@torch.no_grad()
def scores(outputs: Batches, ranks: Ranks = ALONE) -> dict[str, float]:
    """Top-1 (`acc`) and top-5 (`top5`) in percent and mean cross-entropy in nats (`loss`).

    `outputs` yields logits (B, K) and labels (B,), this rank's share of them. Below five classes top-5 is 100.
    """
    sums: list[Tensor] = []
    for logits, labels in outputs:
        ranked = logits.topk(min(5, logits.shape[1]), dim=1).indices == labels[:, None]
        batch = torch.stack(
            [
                ranked[:, 0].sum(),
                ranked.sum(),
                F.cross_entropy(logits, labels, reduction="sum"),
                torch.full_like(labels[0], len(labels)),
            ]
        )
        sums.append(batch.to(accumulator_dtype(batch.device)))
    top1, top5, loss, count = _total(sums, 4, ranks)
    return {"acc": 100 * top1 / count, "top5": 100 * top5 / count, "loss": loss / count}


@torch.no_grad()
def mixed_accuracy(
    model: nn.Module, batches: Batches, autocast: torch.autocast, ranks: Ranks = ALONE, together: int = 1
) -> float:
    """Percent of soft-target weight on the predicted class, in evaluation mode.

    `batches` yields mixed images (B,C,H,W) and soft targets (B,K), on all ranks the same ones, of which `together` go
    through the model at once: that is faster for small ones and gives the same. It is the reading of "train accuracy"
    that Li & Tang's published Gaps point to, also for methods that do not mix (`mixbench figure li2023/gap`).
    """
    model.eval()
    sums: list[Tensor] = []
    for group in ranks.share(_groups(batches, together)):
        with autocast:
            predicted = model(torch.cat([x for x, _ in group])).argmax(1, keepdim=True)
        targets = [y for _, y in group]
        for y, own in zip(targets, predicted.split([len(y) for y in targets]), strict=True):
            weight = y.gather(1, own).sum()
            batch = torch.stack([weight, torch.full_like(weight, len(y))])
            sums.append(batch.to(accumulator_dtype(batch.device)))
    correct, count = _total(sums, 2, ranks)
    return 100 * correct / count


def _groups(batches: Batches, n: int) -> Iterator[list[tuple[Tensor, Tensor]]]:
    """Every n batches, the last fewer."""
    rest = iter(batches)
    while group := list(itertools.islice(rest, n)):
        yield group


def _total(sums: list[Tensor], n: int, ranks: Ranks) -> list[float]:
    """The total over all batches of all ranks of `n` numbers, the last of which counts the examples.

    Raises ValueError where there were none.
    """
    total = functools.reduce(torch.add, sums).cpu() if sums else torch.zeros(n, dtype=torch.float64)
    ranks.add(total)  # on the CPU, where a rank that hangs is noticed
    if not total[-1]:
        raise ValueError("no batches to evaluate")
    return total.tolist()
