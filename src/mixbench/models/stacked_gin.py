"""Many GINs as one: the weights of M networks in stacks, each with a batch of its own (see `models.gin` for one).

On sets of a few hundred small graphs a step of one network is all overhead: 11 to 18 ms of a busy core for 32 graphs of
MUTAG through PyTorch Geometric, 15 ms for a stack of one. Here M networks make one step together, in batched matrix
products: 1.5 to 2 ms for each of 30. What costs most besides them, normalising over the nodes of a batch, is folded
into the linear map before it: the mean and the variance of x W over the nodes are those of x, mean(x) W and
diag(W' cov(x) W).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

EPSILON, MOMENTUM = 1e-5, 0.1  # of torch's BatchNorm


@dataclass(frozen=True)
class Rows:
    """For each row of a result, the rows of a matrix that it is the sum of: `index` from `start` on, as in CSR."""

    index: Tensor
    start: Tensor


@dataclass(frozen=True)
class StackedBatch:
    """M batches of B graphs on a device, their nodes padded to the same number P.

    `first` (M, P, D): the one-hot features of each node and its neighbours together, zero for padding. `real`
    (M, P, 1) and `nodes` (M, 1, 1): which nodes are no padding, and how many. `near`: each node with its neighbours, as
    rows of (M P, H); `inside` the nodes of each graph, `of` the graph of each node. `pooled` (M, B, D): the summed
    one-hot features of each graph. `weight` (M, B): 1 for a graph, 0 where the batch has fewer. `labels` (M, B).
    """

    first: Tensor
    real: Tensor
    nodes: Tensor
    near: Rows
    inside: Rows
    of: Rows
    pooled: Tensor
    weight: Tensor
    labels: Tensor


class GraphStore:
    """A whole set of graphs on a device, from which batches are gathered by index arithmetic.

    `features`, `nodes`, `edges`, `source`, `target` and `labels` as in `data.graphs.Graphs`, D = `count` features.
    """

    def __init__(
        self, *, features: Any, nodes: Any, edges: Any, source: Any, target: Any, labels: Any, count: int,
        device: torch.device | str = "cpu",
    ) -> None:  # fmt: skip
        def put(array: Any) -> Tensor:
            return torch.as_tensor(array, device=device)

        self.labels, self.nodes = put(labels), put(nodes)
        sizes = self.nodes.diff()
        offset = self.nodes[:-1].repeat_interleave(put(edges).diff())
        source, target = put(source) + offset, put(target) + offset
        total = int(self.nodes[-1])
        own = torch.arange(total, device=self.nodes.device)
        # A node is its own neighbour: epsilon is 0. Sorted by target.
        order = torch.cat([target, own]).argsort(stable=True)
        self.near = torch.cat([source, own])[order]
        self.degree = torch.bincount(target, minlength=total) + 1
        self.near_start = self.degree.cumsum(0) - self.degree
        one_hot = torch.zeros(total, count, device=self.nodes.device)
        one_hot[own, put(features)] = 1
        self.first = embedding_bag(self.near, one_hot, self.near_start, mode="sum")
        graph = torch.arange(len(sizes), device=self.nodes.device).repeat_interleave(sizes)
        self.pooled = torch.zeros(len(sizes), count, device=self.nodes.device).index_add_(0, graph, one_hot)

    def batch(self, chosen: Tensor) -> StackedBatch:
        """The graphs `chosen`, int64 (M, B), as a batch; -1 where there is none."""
        models = len(chosen)
        given = chosen >= 0
        graph = chosen.clamp_min(0)
        counts = torch.where(given, self.nodes.diff()[graph], 0)
        padded = int(counts.sum(1).max())
        # Of each node: the graph of the batch that it is in, its number in the set, and its row in (M P).
        slot, place = _ranges(counts.flatten())
        node = self.nodes[graph.flatten()[slot]] + place
        begin = (counts.cumsum(1) - counts) + padded * torch.arange(models, device=chosen.device)[:, None]
        row = begin.flatten()[slot] + place
        rows = models * padded
        degree = torch.zeros(rows, dtype=torch.int64, device=chosen.device).index_copy_(
            0, row, self.degree[node]
        )
        edge_of, edge = _ranges(self.degree[node])
        near = self.near[self.near_start[node][edge_of] + edge] - node[edge_of] + row[edge_of]
        one = torch.zeros(rows, dtype=torch.int64, device=chosen.device).index_fill_(0, row, 1)
        first = torch.zeros(rows, self.first.shape[1], device=chosen.device).index_copy_(
            0, row, self.first[node]
        )
        weight = given.to(first.dtype)
        return StackedBatch(
            first=first.view(models, padded, -1),
            real=one.to(first.dtype).view(models, padded, 1),
            nodes=counts.sum(1).to(first.dtype)[:, None, None],
            near=Rows(near, degree.cumsum(0) - degree),
            inside=Rows(row, counts.flatten().cumsum(0) - counts.flatten()),
            of=Rows(slot, one.cumsum(0) - one),
            pooled=self.pooled[graph] * weight[..., None],
            weight=weight,
            labels=self.labels[graph],
        )


def _ranges(counts: Tensor) -> tuple[Tensor, Tensor]:
    """Of counts (n,): for 0..c-1 of each of them in turn, which count it belongs to, and the number in it."""
    which = torch.arange(len(counts), device=counts.device).repeat_interleave(counts)
    return which, torch.arange(len(which), device=counts.device) - (counts.cumsum(0) - counts)[which]


class _Sum(torch.autograd.Function):
    """Sums of rows. The gradient sums rows too: for each row, those of the results that it is in."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, rows: Rows, back: Rows) -> Tensor:
        ctx.back = back
        return embedding_bag(rows.index, x, rows.start, mode="sum")

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        return embedding_bag(ctx.back.index, grad.contiguous(), ctx.back.start, mode="sum"), None, None


class _Moments(torch.autograd.Function):
    """The sum of the rows of x (M, P, H) that are real, and x'x; padding is zero."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(x, real)
        return torch.bmm(real.mT, x), torch.bmm(x.mT, x)

    @staticmethod
    def backward(ctx: Any, total: Tensor, square: Tensor) -> Any:
        x, real = ctx.saved_tensors
        return torch.baddbmm(torch.bmm(real, total), x, square + square.mT), None


class _LinearReLU(torch.autograd.Function):
    """relu(x W + b) for real rows, zero for padding."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, real: Tensor) -> Tensor:
        y = torch.baddbmm(torch.bmm(real, bias), x, weight).relu_()
        ctx.save_for_backward(x, weight, real, y)
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        x, weight, real, y = ctx.saved_tensors
        grad = torch.ops.aten.threshold_backward(grad, y, 0)
        back = torch.bmm(grad, weight.mT) if ctx.needs_input_grad[0] else None
        return back, torch.bmm(x.mT, grad), torch.bmm(real.mT, grad), None


class StackedGIN:
    """M GINs of four convolutions of width H for K classes, and D features of a node; `models.gin.GIN` M times.

    `weights` maps the names of the parameters of one network, as in its state_dict with linear maps transposed, to
    stacks with M in front; `running` its running means and variances.
    """

    def __init__(self, states: Sequence[dict[str, Tensor]], device: torch.device | str = "cpu") -> None:
        self.weights, self.running = dict[str, Tensor](), dict[str, Tensor]()
        for name in states[0]:
            values = torch.stack([state[name] for state in states]).to(device)
            if name.endswith("num_batches_tracked"):
                continue
            values = values[:, None] if values.dim() == 2 else values.mT.contiguous()
            if "running" in name:
                self.running[name] = values
            else:
                self.weights[name] = values.requires_grad_()
        self.layers = sum(name.startswith("heads") and name.endswith("weight") for name in self.weights)
        self.training = True

    def parameters(self) -> list[Tensor]:
        return list(self.weights.values())

    def encode(self, batch: StackedBatch) -> Tensor:
        """The readout (M, B, D + (layers - 1) H): the sums over the nodes of each graph, of all layers side by side."""
        models, size = batch.labels.shape
        pooled, x = [batch.pooled], batch.first
        for layer in range(self.layers - 1):
            if layer:
                x = _Sum.apply(x.flatten(0, 1), batch.near, batch.near).view_as(x)
            x = self._unit(x, f"convs.{layer}.nn.0.weight", f"convs.{layer}.nn.1", batch)
            x = self._unit(x, f"convs.{layer}.nn.3.weight", f"norms.{layer}", batch)
            pooled.append(_Sum.apply(x.flatten(0, 1), batch.inside, batch.of).view(models, size, -1))
        return torch.cat(pooled, dim=2)

    def _unit(self, x: Tensor, linear: str, norm: str, batch: StackedBatch) -> Tensor:
        """A linear map without bias, BatchNorm over the real nodes, ReLU."""
        weight, gain, shift = (
            self.weights[linear],
            self.weights[f"{norm}.weight"],
            self.weights[f"{norm}.bias"],
        )
        running = self.running[f"{norm}.running_mean"], self.running[f"{norm}.running_var"]
        if self.training:
            if x.requires_grad:
                total, square = _Moments.apply(x, batch.real)
            else:
                total, square = torch.bmm(batch.real.mT, x), torch.bmm(x.mT, x)
            n = batch.nodes.clamp_min(1)
            mean = torch.bmm(total / n, weight)
            var = ((torch.bmm(square / n, weight) * weight).sum(1, keepdim=True) - mean * mean).clamp_min(0)
            with torch.no_grad():
                running[0].lerp_(mean, MOMENTUM)
                running[1].lerp_(var * (n / (n - 1).clamp_min(1)), MOMENTUM)
        else:
            mean, var = running
        scale = gain * (var + EPSILON).rsqrt()
        return _LinearReLU.apply(x, weight * scale, shift - mean * scale, batch.real)

    def read(self, readout: Tensor, keep: Tensor | None = None) -> Tensor:
        """Logits (M, B, K) of a readout: the sum over layers of a linear map of its part.

        `keep` (M, B, layers, K): what the dropout of each layer's scores multiplies them with.
        """
        heads = [self.weights[f"heads.{layer}.weight"] for layer in range(self.layers)]
        parts = readout.split([head.shape[1] for head in heads], dim=2)
        scores = torch.stack(
            [
                torch.baddbmm(self.weights[f"heads.{layer}.bias"], part, head)
                for layer, (part, head) in enumerate(zip(parts, heads, strict=True))
            ],
            dim=2,
        )
        return (scores if keep is None else scores * keep).sum(2)
