"""Cross-validation of GIN with mixing at the readout: all folds and settings of a set of graphs trained together.

What is trained is a `Candidate`: a fold, a seed and a method. Candidates of the same fold and seed begin with the same
weights and see the same batches, partners and dropout, so that they differ by the method alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mixbench.augment.draws import Draws
from mixbench.data.graphs import Graphs
from mixbench.data.order import derived_seed
from mixbench.models.gin import GIN
from mixbench.models.stacked_gin import GraphStore, StackedBatch, StackedGIN

EPOCHS = ("pass", "50 batches")


@dataclass(frozen=True)
class Candidate:
    """One network to train. `fold` counts from 0; `alpha` None: nothing is mixed; `eta` weighs MixupE's extra loss."""

    fold: int
    seed: int = 0
    alpha: float | None = None
    eta: float = 0.0


@dataclass(frozen=True)
class Curves:
    """By epoch and candidate, float64 (E, M): the error on the fold's test graphs, in percent, and the mean training
    loss, that of the mixed batches."""

    test_error: NDArray[np.float64]
    train_loss: NDArray[np.float64]


@dataclass(frozen=True)
class Drawn:
    """What chance gives M candidates for the T steps of an epoch.

    `chosen` int64 (M, T, B): the graphs of each batch, first those that are given, then -1. `partners` int64 (M, T, B):
    with which graph of the batch each is mixed, `ratio` (M, T): how much of it is its own. `keep` (M, 2, T, B, layers,
    K): what dropout multiplies the scores with, of the mixed batch and of the one that is not.
    """

    chosen: Tensor
    partners: Tensor
    ratio: Tensor
    keep: Tensor


def train_folds(
    graphs: Graphs,
    candidates: Sequence[Candidate],
    *,
    epochs: int = 350,
    epoch: str = "50 batches",
    batch_size: int = 32,
    width: int = 32,
    dropout: float = 0.5,
    lr: float = 0.01,
    halve_every: int = 50,
    device: torch.device | str = "cpu",
) -> Curves:
    """Train the candidates with Adam, and test each after every epoch on the test graphs of its fold.

    `epoch` is "50 batches", each a fresh random choice of `batch_size` graphs, as in GIN's code; or a "pass" over the
    training graphs, whose last batch may be smaller. As in GIN's code the learning rate is halved at the beginning of
    epochs number 50, 100, ..., counted from 1. Mixup and MixupE act on the readout, the sums of all layers: what is
    fed is mixed there, and MixupE's q is that of the readout that is not mixed, so that the convolutions run once.

    Raises ValueError where folds differ in their number of batches, ConfigError without PyTorch Geometric.
    """
    labels = int(graphs.labels.max()) + 1
    store = GraphStore(
        features=graphs.features, nodes=graphs.nodes, edges=graphs.edges, source=graphs.source,
        target=graphs.target, labels=graphs.labels, count=graphs.spec.features, device=device,
    )  # fmt: skip
    net = StackedGIN([initial(graphs, c, width, dropout) for c in candidates], device)
    optimizer = torch.optim.Adam(net.parameters(), lr=lr, fused=True)
    generators = [torch.Generator().manual_seed(derived_seed("graphs", c.seed, c.fold)) for c in candidates]
    tested = _padded([torch.from_numpy(graphs.folds[c.fold].test) for c in candidates]).to(device)
    test_batch = store.batch(tested)
    weights = torch.tensor([_weight(c) for c in candidates], device=device)
    errors, losses = [], []
    for number in range(1, epochs + 1):
        for group in optimizer.param_groups:
            group["lr"] = lr * 0.5 ** (number // halve_every)
        drawn = [
            draw(g, graphs.folds[c.fold].train, c.alpha, epoch, batch_size, (net.layers, labels), dropout)
            for c, g in zip(candidates, generators, strict=True)
        ]
        chosen, partners, ratio, keep = (
            torch.stack([getattr(d, name) for d in drawn]).to(device)
            for name in ("chosen", "partners", "ratio", "keep")
        )
        total = torch.zeros(len(candidates), dtype=torch.float64, device=device)
        for step in range(chosen.shape[1]):
            batch = store.batch(chosen[:, step])
            loss, minimised = objective(
                net, batch, partners[:, step], ratio[:, step], keep[:, :, step].unbind(1), weights
            )
            minimised.sum().backward()
            optimizer.step()
            optimizer.zero_grad()
            total += loss.detach()
        losses.append((total / chosen.shape[1]).cpu().numpy())
        errors.append(_error(net, test_batch).cpu().numpy())
    return Curves(np.stack(errors), np.stack(losses))


def objective(
    net: StackedGIN,
    batch: StackedBatch,
    partners: Tensor,
    ratio: Tensor,
    keep: Sequence[Tensor],
    weights: Tensor,
) -> tuple[Tensor, Tensor]:
    """The loss (M,) of each network on its mixed batch, and what it minimises: MixupE's, where its weight is not 0.

    `weights` (M,): eta E[1 - lambda]. See `regularize.MixupE` for the formula.
    """
    readout = net.encode(batch)
    hot = torch.zeros(*batch.labels.shape, keep[0].shape[-1], device=readout.device)
    hot.scatter_(2, batch.labels[..., None], 1.0)
    own = ratio[:, None, None]
    x, y = (torch.lerp(_taken(given, partners), given, own) for given in (readout, hot))
    count = batch.weight.sum(1)
    losses = -(y * net.read(x, keep[0]).log_softmax(2)).sum(2)
    loss = (losses * batch.weight).sum(1) / count
    if not weights.any():
        return loss, loss
    outputs = net.read(readout, keep[1])
    q = ((hot - outputs.softmax(2)) * outputs).sum(2)
    whole = loss + weights * (q.abs() * batch.weight).sum(1) / count
    return loss, whole * torch.where(whole > 0, loss / whole, 1.0).detach()


def draw(
    generator: torch.Generator,
    train: NDArray[np.int64],
    alpha: float | None,
    epoch: str,
    batch_size: int,
    scores: tuple[int, int],
    dropout: float,
) -> Drawn:
    """What chance gives one candidate in an epoch: `Drawn` without M. `scores`: how many layers and classes."""
    graphs = torch.from_numpy(train)
    if epoch == "pass":
        order = torch.randperm(len(graphs), generator=generator)
        steps = -(-len(graphs) // batch_size)
        chosen = torch.full((steps * batch_size,), -1)
        chosen[: len(graphs)] = graphs[order]
        chosen = chosen.view(steps, batch_size)
    else:
        steps = 50
        ranks = torch.rand(steps, len(graphs), generator=generator)
        chosen = graphs[ranks.argsort(1)[:, :batch_size]]
    shuffled = torch.rand(chosen.shape, generator=generator)
    partners = shuffled.masked_fill(chosen < 0, 2).argsort(dim=1, stable=True)
    kept = torch.rand(2, *chosen.shape, *scores, generator=generator) >= dropout
    ratio = torch.ones(steps) if alpha is None else Draws(generator, "cpu").beta(alpha, steps).float()
    return Drawn(chosen, partners, ratio, kept / (1 - dropout))


def initial(graphs: Graphs, candidate: Candidate, width: int, dropout: float) -> dict[str, Tensor]:
    """The weights that a candidate begins with: torch's own, the same for all methods of a fold and seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed("initial weights", candidate.seed, candidate.fold))
        net = GIN(graphs.spec.features, graphs.spec.num_classes, width=width, dropout=dropout)
    return net.parameters_of_one()


def _weight(candidate: Candidate) -> float:
    """eta E[1 - lambda], where lambda is Mixup's under the measure of equation 2: alpha / (2 alpha + 1)."""
    return candidate.eta * (candidate.alpha / (2 * candidate.alpha + 1) if candidate.alpha else 0.0)


def _error(net: StackedGIN, batch: StackedBatch) -> Tensor:
    """The error (M,) on a batch in percent, float64, with running statistics and without dropout."""
    net.training = False
    with torch.no_grad():
        wrong = net.read(net.encode(batch)).argmax(2) != batch.labels
    net.training = True
    return 100 * (wrong * batch.weight).sum(1).double() / batch.weight.sum(1)


def _taken(values: Tensor, index: Tensor) -> Tensor:
    """values (M, B, ...) at index (M, B) of each M."""
    return values.gather(1, index[..., None].expand(-1, -1, values.shape[2]))


def _padded(rows: Sequence[Tensor]) -> Tensor:
    longest = max(map(len, rows))
    return torch.stack([torch.nn.functional.pad(row, (0, longest - len(row)), value=-1) for row in rows])
