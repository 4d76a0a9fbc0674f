"""GIN, one network and many in stacks, against its equations on dense matrices."""

from __future__ import annotations

import copy
import sys

import numpy as np
import pytest
import torch
from torch import Tensor

from mixbench.errors import ConfigError
from mixbench.models.gin import GIN
from mixbench.models.stacked_gin import GraphStore, StackedBatch, StackedGIN

D, K = 5, 3


def random_graphs(count: int, seed: int) -> list[tuple[Tensor, Tensor]]:
    """Adjacency (n, n) and one-hot features (n, D) of random undirected graphs of 1 to 9 nodes."""
    rng = np.random.default_rng(seed)
    graphs = []
    for _ in range(count):
        n = rng.integers(1, 10)
        upper = np.triu(rng.random((n, n)) < 0.4, 1)
        graphs.append(
            (torch.tensor(upper | upper.T, dtype=torch.float32), torch.eye(D)[rng.integers(0, D, n)])
        )
    return graphs


def store_of(graphs: list[tuple[Tensor, Tensor]]) -> GraphStore:
    ends = [adjacency.nonzero().T for adjacency, _ in graphs]  # sorted by the first: the target
    starts = [
        np.concatenate([[0], np.cumsum(sizes)])
        for sizes in ([len(x) for _, x in graphs], [e.shape[1] for e in ends])
    ]
    return GraphStore(
        features=torch.cat([x.argmax(1) for _, x in graphs]), nodes=starts[0], edges=starts[1],
        source=torch.cat([e[1] for e in ends]), target=torch.cat([e[0] for e in ends]),
        labels=torch.arange(len(graphs)) % K, count=D,
    )  # fmt: skip


def together(graphs: list[tuple[Tensor, Tensor]], chosen: list[int]) -> tuple[Tensor, Tensor, Tensor]:
    """Node features, edge_index and the graph of each node, as torch_geometric's Batch has them."""
    parts = [graphs[i] for i in chosen if i >= 0]
    adjacency = torch.block_diag(*(a for a, _ in parts))
    batch = torch.repeat_interleave(torch.tensor([len(x) for _, x in parts]))
    return torch.cat([x for _, x in parts]), adjacency.nonzero().T, batch


def scrambled(seed: int) -> GIN:
    """A network whose normalisations are not those of the beginning."""
    torch.manual_seed(seed)
    net = GIN(D, K, width=7, layers=4, dropout=0.0)
    with torch.no_grad():
        for name, value in net.named_parameters():
            if value.dim() == 1 and "heads" not in name:
                value.add_(0.3 * torch.randn_like(value))
    return net


def dense(net: GIN, x: Tensor, adjacency: Tensor, batch: Tensor) -> Tensor:
    """The equations by hand: h' = relu(BN(W2 relu(BN(W1 (A + I) h)))), and the sum over layers of W (sum of h) + b."""

    def normalised(z: Tensor, norm: torch.nn.BatchNorm1d) -> Tensor:
        z = (z - z.mean(0)) / (z.var(0, unbiased=False) + norm.eps).sqrt()
        return (z * norm.weight + norm.bias).clamp_min(0)

    member = torch.nn.functional.one_hot(batch).float().T
    logits = net.heads[0](member @ x)
    for conv, norm, head in zip(net.convs, net.norms, net.heads[1:], strict=True):
        first, inner, _, second = conv.nn
        x = normalised((adjacency + torch.eye(len(x))) @ x @ first.weight.T, inner)
        x = normalised(x @ second.weight.T, norm)
        logits = logits + head(member @ x)
    return logits


def test_gin_is_its_equations() -> None:
    """Oracle: brute force on dense adjacency matrices, in training, where BatchNorm is over the nodes of the batch."""
    pytest.importorskip("torch_geometric")
    graphs = random_graphs(6, 0)
    x, edges, batch = together(graphs, list(range(6)))
    adjacency = torch.block_diag(*(a for a, _ in graphs))
    net = scrambled(1)
    torch.testing.assert_close(net(x, edges, batch), dense(net, x, adjacency, batch), rtol=1e-4, atol=1e-4)


def stacked_loss(net: StackedGIN, batch: StackedBatch) -> Tensor:
    return (net.read(net.encode(batch)).square().sum(2) * batch.weight).sum()


def test_a_stack_is_its_networks() -> None:
    """Oracle: PyTorch Geometric's GINConv with torch's BatchNorm, one network after another: outputs, gradients and
    running statistics in training, and the outputs in evaluation, for batches of other sizes with and without gaps."""
    pytest.importorskip("torch_geometric")
    graphs = random_graphs(9, 2)
    chosen = [[0, 3, 4, 8], [7, 2, 5, -1], [6, 1, -1, -1]]
    nets = [scrambled(seed) for seed in range(3)]
    stack = StackedGIN([copy.deepcopy(net).parameters_of_one() for net in nets])
    batch = store_of(graphs).batch(torch.tensor(chosen))
    stacked_loss(stack, batch).backward()
    for m, (net, rows) in enumerate(zip(nets, chosen, strict=True)):
        given = sum(i >= 0 for i in rows)
        out = net(*together(graphs, rows))
        net.zero_grad()
        out.square().sum().backward()
        with torch.no_grad():
            torch.testing.assert_close(stack.read(stack.encode(batch))[m, :given], out, rtol=1e-3, atol=1e-4)
        for name, weight in net.named_parameters():
            ours = stack.weights[name].grad[m]
            torch.testing.assert_close(
                ours.T if weight.dim() == 2 else ours[0], weight.grad, rtol=5e-3, atol=5e-4
            )
        assert batch.labels[m, :given].tolist() == [i % K for i in rows if i >= 0]
    fresh = StackedGIN([net.parameters_of_one() for net in nets])
    fresh.training = False
    logits = fresh.read(fresh.encode(batch))
    for m, (net, rows) in enumerate(zip(nets, chosen, strict=True)):
        net.eval()
        torch.testing.assert_close(
            logits[m, : sum(i >= 0 for i in rows)], net(*together(graphs, rows)), rtol=1e-3, atol=1e-4
        )


def test_without_pytorch_geometric_the_message_says_what_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    """By definition: the command that installs it, and no traceback's words."""
    monkeypatch.setitem(sys.modules, "torch_geometric.nn", None)
    with pytest.raises(ConfigError, match=r"pip install 'mixbench\[graphs\]'"):
        GIN(D, K)


def test_running_statistics_are_torchs() -> None:
    """Oracle: BatchNorm1d after one forward in training, momentum 0.1 and the unbiased variance."""
    pytest.importorskip("torch_geometric")
    graphs = random_graphs(4, 3)
    net = scrambled(5)
    stack = StackedGIN([copy.deepcopy(net).parameters_of_one()])
    stack.encode(store_of(graphs).batch(torch.tensor([[0, 1, 2, 3, -1]])))
    net(*together(graphs, [0, 1, 2, 3]))
    for name, value in stack.running.items():
        torch.testing.assert_close(value[0, 0], net.state_dict()[name], rtol=1e-4, atol=1e-5)
